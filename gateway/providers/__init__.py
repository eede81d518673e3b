"""Providers: the registry, the SDK adapters, the sandbox, the model catalog, tokenizers."""
