"""Streams whose hold grows with their output, where the limits of money choose it."""
