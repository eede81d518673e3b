"""`manage.py members`, where Django looks for it."""

from orgs.members.command import Command

__all__ = ["Command"]
