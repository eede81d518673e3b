"""`manage.py keys`, where Django looks for it."""

from orgs.keys.command import Command

__all__ = ["Command"]
