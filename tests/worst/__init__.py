"""Measure what the worst of a stranger, a key and an admin costs another tenant."""
