"""Parse a tool call's arguments, which clients store as the model's text."""

from __future__ import annotations

from typing import Any

from gateway.core import strict_json


def arguments_of(text: str) -> dict[str, Any]:
    """Return the arguments. Text that is not an object is kept under a key of its own.

    The other APIs accept any text that a model wrote; these two require objects.
    """
    try:
        value = strict_json.loads(text.encode()) if text.strip() else {}
    except (strict_json.NotStrictJson, UnicodeEncodeError):
        value = None
    return value if isinstance(value, dict) else {"arguments": text}
