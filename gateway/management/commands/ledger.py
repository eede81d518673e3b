"""`manage.py ledger`, where Django looks for it."""

from gateway.audit.ledger_command import Command

__all__ = ["Command"]
