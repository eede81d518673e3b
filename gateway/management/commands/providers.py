"""`manage.py providers`, where Django looks for it."""

from gateway.providers.command import Command

__all__ = ["Command"]
