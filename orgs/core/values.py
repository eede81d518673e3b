"""Rules for names and dimensions: when they are valid, and how a sentence quotes them."""

from __future__ import annotations

import re
from typing import Final

DIMENSION_MAX_CHARS: Final = 128
EMAIL_MAX_CHARS: Final = 254
SLUG_MAX_CHARS: Final = 63
QUOTED_MAX_CHARS: Final = 100

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


def fault_of_text(text: str, *, what: str, max_chars: int) -> str | None:
    """Return the validation error of a name or a dimension, or None."""
    if not text.strip():
        return f"{what} must not be empty"
    if len(text) > max_chars:
        return f"{what} must be at most {max_chars} characters (it has {len(text)})"
    if not text.isprintable():
        return f"{what} must contain only printable characters"
    return None


def fault_of_slug(slug: str) -> str | None:
    """Return the validation error of an organization's slug, or None."""
    if len(slug) > SLUG_MAX_CHARS:
        return f"The slug must be at most {SLUG_MAX_CHARS} characters (it has {len(slug)})"
    if _SLUG.fullmatch(slug) is None:
        return "The slug must consist of lowercase letters, digits, - and _, such as acme-labs"
    return None


def quoted(name: str) -> str:
    """Return a caller's text quoted for a sentence: short, printable, storable as text."""
    shown = name[:QUOTED_MAX_CHARS].encode(errors="replace").decode()
    return f'"{shown}"' if shown.isprintable() else ascii(shown)
