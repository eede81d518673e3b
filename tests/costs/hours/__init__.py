"""Prices by the hour, and the hours that are divided over their calls."""
