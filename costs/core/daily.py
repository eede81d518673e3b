"""Which line of a day or a month a charge counts in: one for all that name the same."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

# Neither is printable, so no value can have one: two different lines never read the same.
_BETWEEN: Final = "\x1f"
_NOT_SAID: Final = "\x00"
# So many lines that were charged last are known by their id: a few hundred bytes each.
_KNOWN_MAX: Final = 4096


@lru_cache(_KNOWN_MAX)
def line_id(of: UUID | str, named: tuple[str | None, ...]) -> UUID:
    """Return the id of the line of a period, or of an organization's month, for what its charges
    name; None is not said.

    Made of the values, so that a process can add to a line without having looked for it.
    """
    values = [_NOT_SAID if value is None else value for value in named]
    text = _BETWEEN.join((str(of), *values))
    return UUID(bytes=blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
