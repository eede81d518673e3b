"""Settle an admitted call: what its end means, and what it costs."""
