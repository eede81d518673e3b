"""A tool call's arguments as values: clients keep them as the text that a model once wrote."""

from __future__ import annotations

from typing import Any

from gateway.core import strict_json


def arguments_of(text: str) -> dict[str, Any]:
    """Return the arguments. Text that is no object stands under a name of its own, to be seen.

    The other APIs take texts, which may be anything that a model wrote; these two want objects.
    """
    try:
        value = strict_json.loads(text.encode()) if text.strip() else {}
    except (strict_json.NotStrictJson, UnicodeEncodeError):
        value = None
    return value if isinstance(value, dict) else {"arguments": text}
