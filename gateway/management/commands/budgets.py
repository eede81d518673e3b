"""`manage.py budgets`, where Django looks for it."""

from gateway.budgets.command import Command

__all__ = ["Command"]
