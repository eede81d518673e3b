"""`manage.py audit`, where Django looks for it."""

from gateway.requests.audit_command import Command

__all__ = ["Command"]
