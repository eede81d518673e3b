"""Rows of providers: how operators and organizations add, change, check and remove them."""
