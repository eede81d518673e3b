"""Dated prices and exchange rates: the price book, its seed and its changes."""
