"""Ids of daily and monthly cost lines: charges with the same attributes share one line."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

# Neither is printable, so no value can contain one: different lines never get the same text.
_SEPARATOR: Final = "\x1f"
_ABSENT: Final = "\x00"
# Number of recent lines whose id is cached: a few hundred bytes each.
_KNOWN_MAX: Final = 4096


@lru_cache(_KNOWN_MAX)
def line_id(of: UUID | str, named: tuple[str | None, ...]) -> UUID:
    """Return the id of the line of a period, or of an organization's month, for the attributes of
    its charges; None is absent.

    Derived from the values, so that a process can add to a line without looking it up.
    """
    values = [_ABSENT if value is None else value for value in named]
    text = _SEPARATOR.join((str(of), *values))
    return UUID(bytes=blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
