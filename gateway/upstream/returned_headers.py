"""A provider's response headers that the client may see."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

# The provider's own request id. Under the vendors' names clients find the gateway's.
UPSTREAM_ID_HEADER: Final = "x-pulse-upstream-request-id"
_UPSTREAM_IDS: Final = ("x-request-id", "request-id", "mistral-correlation-id", "x-kong-request-id")
# The provider's headers that the client may see; none of them identifies the account. Its quotas
# are not among them: all organizations share them, and agents that read them slow down or stop.
HEADERS_RETURNED: Final = frozenset(
    {
        "openai-processing-ms",
        "openai-version",
        "retry-after",
        "retry-after-ms",
        "server-timing",
        "x-should-retry",
    }
)
# Anything else is not passed on: no server needs a control character or an essay in a header.
HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?")
# The vendors' forms only: ids are kept in rows, where nothing of a prompt may be.
_ID: Final = re.compile(
    r"req_\w{4,64}|[0-9a-f]{16,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII
)


def returned(headers: Mapping[str, str], hidden: Callable[[str], str]) -> dict[str, str]:
    """Return the headers that the client may see; not those in which something is `hidden`."""
    names = {name: name for name in headers.keys() & HEADERS_RETURNED}
    own_id = next((name for name in _UPSTREAM_IDS if _ID.fullmatch(headers.get(name, ""))), None)
    if own_id is not None:
        names[own_id] = UPSTREAM_ID_HEADER
    return {
        shown: value
        for name, shown in names.items()
        if HEADER_VALUE.fullmatch(value := headers[name]) and hidden(value) == value
    }
