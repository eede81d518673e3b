"""Lists of names in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

NAMES_IN_A_SENTENCE: Final = 4


def listed(
    names: Sequence[str], most: int = NAMES_IN_A_SENTENCE, *, before_last: str = "and"
) -> str:
    """Return the names as a sentence has them, the first few of many."""
    shown, more = names[:most], len(names) - most
    if more > 0:
        return f"{', '.join(shown)} {before_last} {more} more"
    *first, last = shown
    return f"{', '.join(first)} {before_last} {last}" if first else last
