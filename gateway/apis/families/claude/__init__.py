"""Requests of Anthropic: differences between its models, and how a call is fitted to them."""
