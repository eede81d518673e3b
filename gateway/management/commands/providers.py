"""`manage.py providers`, where Django looks for it."""

from gateway.provider_rows.command import Command

__all__ = ["Command"]
