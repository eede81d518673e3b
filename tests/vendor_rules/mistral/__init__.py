"""The rules of Mistral."""
