"""Aliases: an organization's own names for models, with fallbacks."""
