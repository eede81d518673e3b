"""Rows of what limits calls, as calls are checked against them."""
