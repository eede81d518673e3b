"""Where the client of a key's calls is taken from: a field of the body, or a header.

Applications that serve many people name each in a field of the vendor's API or in a header (Open
WebUI: `x-openwebui-user-id`). The value is the caller's word.
"""

from __future__ import annotations

import re
from typing import Final

FIELDS: Final = ("user", "safety_identifier", "metadata.user_id")
HEADER_PREFIX: Final = "header:"
SOURCE_MAX_CHARS: Final = 80
_HEADER: Final = re.compile(r"header:[a-z0-9][a-z0-9-]{0,63}")
# Values that must not be kept: credentials, and who relays a request.
_SECRET: Final = frozenset(
    {
        *("authorization", "proxy-authorization", "cookie"),
        *("x-api-key", "x-goog-api-key", "x-pulse-key", "api-key", "x-csrftoken"),
    }
)
SOURCE_FAULT: Final = f"The client source must be {', '.join(FIELDS)} or header:NAME, no credential"


def checked_source(text: str) -> str | None:
    """Return a source as it is stored, empty for none; None if it is not one."""
    source = text.strip().lower()
    if source in ("", *FIELDS):
        return source
    if _HEADER.fullmatch(source) and source.removeprefix(HEADER_PREFIX) not in _SECRET:
        return source
    return None
