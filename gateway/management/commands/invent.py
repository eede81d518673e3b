"""`manage.py invent`, where Django looks for it."""

from gateway.demo.command import Command

__all__ = ["Command"]
