"""`manage.py prices`, where Django looks for it."""

from costs.prices.command import Command

__all__ = ["Command"]
