"""`manage.py prices`, where Django looks for it."""

from costs.prices.commands.prices import Command

__all__ = ["Command"]
