"""Spellings of one name: how a dimension's value is stored, and when two values are the same."""

from __future__ import annotations

from typing import Final
from unicodedata import normalize

# The longest name in NFC is at most this long before: NFD makes no more than 4 characters of one.
# https://unicode.org/faq/normalization.html#12
CHARS_BEFORE_NFC_MAX: Final = 4 * 128


def normalized(text: str) -> str:
    """Return a name as it is stored: without white space around it and in NFC.

    A text that is too long for a name is only trimmed: many combining marks take long to sort.
    """
    trimmed = text.strip()
    if trimmed.isascii() or len(trimmed) > CHARS_BEFORE_NFC_MAX:
        return trimmed
    return normalize("NFC", trimmed)


def folded(name: str) -> str:
    """Return what all spellings of a name have in common: two names are one if these are equal.

    A canonical caseless match (The Unicode Standard, section 3.13, D145) of the trimmed names:
    "Straße" is "STRASSE", and é is E with an accent. Stored names of earlier versions may have
    spaces around them.
    """
    trimmed = name.strip()
    if trimmed.isascii():
        return trimmed.lower()
    return normalize("NFD", normalize("NFD", trimmed).casefold())
