"""`manage.py changepassword`, where Django looks for it."""

from orgs.auth.changepassword import Command

__all__ = ["Command"]
