"""A call in each way to each vendor: relayed to the vendor of its format, or translated."""

from __future__ import annotations

from typing import Any, Final

import pytest

from gateway.models import AiRequestLog
from tests.gateway.wire import Reply

TURNS: Final = [{"role": "user", "content": "Say hello"}]
CHAT: Final = "/v1/chat/completions"
CLAUDE, GPT, FLASH, MISTRAL = (
    "claude-3-5-sonnet-20241022",
    "gpt-4o-mini",
    "gemini-2.0-flash",
    "mistral-large-latest",
)

VENDOR_OF: Final = {CLAUDE: "anthropic", GPT: "openai", FLASH: "google", MISTRAL: "mistral"}


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"path": CHAT, "body": {"model": model, "messages": TURNS, "max_tokens": 50} | more}


MESSAGES: Final[dict[str, Any]] = {
    "path": "/v1/messages",
    "body": {"model": CLAUDE, "messages": TURNS, "max_tokens": 50},
}
GENERATE: Final[dict[str, Any]] = {
    "path": f"/v1beta/models/{FLASH}:generateContent",
    "body": {
        "contents": [{"role": "user", "parts": [{"text": "Say hello"}]}],
        "generationConfig": {"maxOutputTokens": 50},
    },
}
# Each way of a call: relayed to the vendor of its own format, or translated.
RELAYED: Final = {
    "openai": chat(GPT),
    "anthropic": MESSAGES,
    "google": GENERATE,
    "mistral": chat(MISTRAL),
}
TRANSLATED: Final = {
    "anthropic": chat(CLAUDE),
    "anthropic streamed": chat(CLAUDE, stream=True),
    "google": chat(FLASH),
    "google streamed": chat(FLASH, stream=True),
}
EVERY_WAY: Final = {**{f"{name} relayed": way for name, way in RELAYED.items()}, **TRANSLATED}
every_way = pytest.mark.parametrize("way", EVERY_WAY.values(), ids=list(EVERY_WAY))


def upstream_id_in(row: AiRequestLog) -> object:
    return (row.usage or {})["upstream_request_id"]


def error_in(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = reply.json["error"]
    return found
