"""`manage.py orgs`, where Django looks for it."""

from orgs.settings.command import Command

__all__ = ["Command"]
