"""Errors of operations on organizations, members and keys.

OrgsError
├── Invalid     400  a value is invalid
├── Missing     404  the organization, member or key does not exist
└── Conflict    409  the current state does not allow the operation
"""

from __future__ import annotations

from typing import ClassVar


class OrgsError(Exception):
    """Base class: `message` is a sentence; `field` names the invalid value."""

    status: ClassVar[int]
    code: ClassVar[str]

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Invalid(OrgsError):
    """A value is invalid."""

    status = 400
    code = "invalid"


class Missing(OrgsError):
    """The organization, member or key does not exist."""

    status = 404
    code = "missing"


class Conflict(OrgsError):
    """The current state does not allow the operation."""

    status = 409
    code = "conflict"
