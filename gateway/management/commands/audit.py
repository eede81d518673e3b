"""`manage.py audit`, where Django looks for it."""

from gateway.audit.command import Command

__all__ = ["Command"]
