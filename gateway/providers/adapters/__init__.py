"""The adapters of the vendors' SDKs and of the sandbox, which call a provider without relaying."""
