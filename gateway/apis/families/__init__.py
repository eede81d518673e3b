"""Differences between the vendors' model families."""
