"""Which names and dimensions are taken, as plain rules."""

from __future__ import annotations

import re
from typing import Final

DIMENSION_MAX_CHARS: Final = 128
EMAIL_MAX_CHARS: Final = 254
SLUG_MAX_CHARS: Final = 63

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


def fault_of_text(text: str, *, what: str, max_chars: int) -> str | None:
    """Return what is wrong with a name or a dimension, as a sentence, or None."""
    if not text.strip():
        return f"{what} is empty"
    if len(text) > max_chars:
        return f"{what} has {len(text)} characters; at most {max_chars} are taken"
    if not text.isprintable():
        return f"{what} has a character that cannot be printed"
    return None


def fault_of_slug(slug: str) -> str | None:
    """Return what is wrong with an organization's short name, as a sentence, or None."""
    if len(slug) > SLUG_MAX_CHARS:
        return f"The slug has {len(slug)} characters; at most {SLUG_MAX_CHARS} are taken"
    if _SLUG.fullmatch(slug) is None:
        return "The slug is made of lower-case letters, digits, - and _, such as acme-labs"
    return None
