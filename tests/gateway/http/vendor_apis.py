"""The two APIs of vendors' own clients: their requests and errors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.request import Request, urlopen

import pytest

from tests.fake_provider import FakeProvider
from tests.gateway.wire import Reply

PROMPT: Final = "Say hello to «ü» and \u2028 \\ them"
SONNET: Final = "claude-3-5-sonnet-20241022"
FLASH: Final = "gemini-2.0-flash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One of the two APIs: its requests and its errors."""

    vendor: str
    model: str
    key_header: str
    plain: str
    streamed: str
    counted: str
    body: dict[str, Any]

    def asking(self, *, stream: bool = False, **changes: Any) -> dict[str, Any]:
        """Return the path and the body of a request."""
        more = {"stream": True} if stream and self.vendor == "anthropic" else {}
        path = self.streamed if stream else self.plain
        return {"path": path, "body": self.body | more | changes}


MESSAGES: Final = Api(
    vendor="anthropic",
    model=SONNET,
    key_header="x-api-key",
    plain="/v1/messages",
    streamed="/v1/messages",
    counted="/v1/messages/count_tokens",
    body={
        "model": SONNET,
        "max_tokens": 50,
        "system": "Be brief",
        "messages": [{"role": "user", "content": PROMPT}],
    },
)
GENERATE: Final = Api(
    vendor="google",
    model=FLASH,
    key_header="x-goog-api-key",
    plain=f"/v1beta/models/{FLASH}:generateContent",
    streamed=f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse",
    counted=f"/v1beta/models/{FLASH}:countTokens",
    body={
        "systemInstruction": {"parts": [{"text": "Be brief"}]},
        "contents": [{"role": "user", "parts": [{"text": PROMPT}]}],
        "generationConfig": {"maxOutputTokens": 50},
    },
)
every_api = pytest.mark.parametrize("api", [MESSAGES, GENERATE], ids=["messages", "generate"])
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def error_in(api: Api, reply: Reply) -> tuple[str, str]:
    """Return the type and message of an error in the client's format."""
    body = reply.json
    if api.vendor == "anthropic":
        assert body.keys() == {"type", "error"}
        assert (body["type"], body["error"].keys()) == ("error", {"type", "message"})
        return body["error"]["type"], body["error"]["message"]
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "status"}
    assert body["error"]["code"] == reply.status
    return body["error"]["status"], body["error"]["message"]


def directly(vendors: FakeProvider, api: Api, *, stream: bool) -> bytes:
    """Return the vendor's own answer."""
    asked = api.asking(stream=stream)
    request = Request(  # noqa: S310  loopback
        vendors.base_url(api.vendor) + asked["path"],
        data=json.dumps(asked["body"]).encode(),
        headers={"content-type": "application/json", "x-api-key": "k"},
    )
    with urlopen(request, timeout=120) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content
