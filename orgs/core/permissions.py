"""What an API key may do: send requests, read what happened, ask for quotes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import combinations
from typing import Final


class Permission(StrEnum):
    """One kind of request that a key may make."""

    SEND = "send"
    READ = "read"
    QUOTE = "quote"


def as_text(permissions: Iterable[str]) -> str:
    """Return permissions as they are stored: comma-separated, in the order of Permission."""
    given = set(permissions)
    return ",".join(each for each in Permission if each in given)


ALL: Final = as_text(Permission)
# Every set that a key may have; none has no use.
STORED: Final = tuple(
    as_text(chosen)
    for count in range(1, len(Permission) + 1)
    for chosen in combinations(Permission, count)
)


def permissions_in(text: str) -> frozenset[str]:
    """Return stored permissions as a set."""
    return frozenset(text.split(","))
