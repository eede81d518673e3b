"""`manage.py aliases`, where Django looks for it."""

from gateway.aliases.command import Command

__all__ = ["Command"]
