"""`manage.py policies`, where Django looks for it."""

from gateway.policies.command import Command

__all__ = ["Command"]
