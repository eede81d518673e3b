"""Why an operation on organizations, members and keys was refused: one small tree.

OrgsError
├── Invalid     400  a value that cannot be
├── Missing     404  there is no such organization, member or key
└── Conflict    409  the state of things does not allow it
"""

from __future__ import annotations

from typing import ClassVar


class OrgsError(Exception):
    """Base of the tree: `message` is a sentence; `field` names the value that is to blame."""

    status: ClassVar[int]
    code: ClassVar[str]

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Invalid(OrgsError):
    """A value that cannot be."""

    status = 400
    code = "invalid"


class Missing(OrgsError):
    """There is no such organization, member or key."""

    status = 404
    code = "missing"


class Conflict(OrgsError):
    """The state of things does not allow it."""

    status = 409
    code = "conflict"
