"""Strict checkers of vendors' request rules: what each documented API accepts and rejects."""
