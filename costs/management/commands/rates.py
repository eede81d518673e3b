"""`manage.py rates`, where Django looks for it."""

from costs.prices.rates_command import Command

__all__ = ["Command"]
