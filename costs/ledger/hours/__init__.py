"""Prices by the hour: an hour that is over is counted once, then each call gets its share."""
