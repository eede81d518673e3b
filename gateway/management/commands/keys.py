"""`manage.py keys`, where Django looks for it."""

from gateway.keys.command import Command

__all__ = ["Command"]
