"""The rules of Anthropic."""
