"""`manage.py alerts`, where Django looks for it."""

from gateway.alerts.command import Command

__all__ = ["Command"]
