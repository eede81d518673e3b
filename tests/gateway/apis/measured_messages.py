"""A request of the messages API, measured."""

from __future__ import annotations

from typing import Any

from gateway.apis.messages.messages import Messages
from gateway.core.usage_bound import UsageBound
from tests.gateway.arrivals import read, refusal

DIALECT = Messages()
HELLO = {"role": "user", "content": "Hello"}
ASKED: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": [HELLO]}
HOUR = {"type": "ephemeral", "ttl": "1h"}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def measured(**changes: Any) -> UsageBound:
    """Return the bound of the request with other fields."""
    return read(DIALECT, ASKED | changes).usage_bound


def refused(**changes: Any) -> str:
    """Return the sentence with which the request with other fields is refused."""
    return refusal(DIALECT, ASKED | changes)


def user_turn(*blocks: Any) -> dict[str, Any]:
    """Return the messages of one turn of the user."""
    return {"messages": [{"role": "user", "content": list(blocks)}]}
