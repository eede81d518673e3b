"""`manage.py rates`, where Django looks for it."""

from costs.prices.commands.rates import Command

__all__ = ["Command"]
