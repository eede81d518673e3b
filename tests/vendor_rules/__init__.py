"""Strict checkers of vendors' request rules."""
