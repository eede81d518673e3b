"""All vendors as a plain function: from a request's address and body to its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

from gateway.core.providers import USUAL, Reach, TimeLimits
from gateway.providers.registry import Providers
from gateway.upstream.http_client import HttpClient, UpstreamResponse
from tests.fake_provider.behaviour import VENDORS
from tests.fake_provider.vendors import settings_at

JSON_TYPE: Final = "application/json"
CHAT_USAGE: Final = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CHAT: Final = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
    "usage": CHAT_USAGE,
}
CHAT_CHUNK: Final = {
    "id": "c",
    "object": "chat.completion.chunk",
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": CHAT_USAGE,
}
RESPONSE: Final = {
    "id": "r",
    "object": "response",
    "status": "completed",
    "model": "m",
    "output": [],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}
MESSAGE: Final = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
CANDIDATE: Final = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    ],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
}


class Answer(UpstreamResponse):
    """An answer that is already there."""

    __slots__ = ("_body",)

    def __init__(self, content_type: str, body: bytes) -> None:
        self.status = 200
        self.raw_headers = [(b"content-type", content_type.encode())]
        self._headers = None
        self._body = body

    async def next(self) -> bytes:
        """Return the whole body, then its end."""
        body, self._body = self._body, b""
        return body

    def release(self) -> None:
        """Return no connection: there is none."""


class PlainHttp(HttpClient):
    """The HTTP client of an event loop, without a network."""

    async def send(  # noqa: PLR0913  as the client's
        self,
        url: URL,
        *,
        headers: Mapping[str, str],
        body: bytes,
        method: str = "POST",
        limits: TimeLimits = USUAL,
        reach: Reach | None = None,
    ) -> Answer:
        """Answer every request as its vendor does."""
        return answer(url, json.loads(body))


class PlainProviders(Providers):
    """The providers of an installation with every vendor's key."""

    def __init__(self) -> None:
        known = settings_at({vendor: f"https://{vendor}.example/v1" for vendor in VENDORS})
        super().__init__(known, sandbox=True)

    def _client(self) -> HttpClient:
        return PlainHttp()


PLAIN: Final[dict[str, Any]] = {
    "/count_tokens": {"input_tokens": 3},
    "/input_tokens": {"object": "response.input_tokens", "input_tokens": 3},
    "/compact": {**RESPONSE, "object": "response.compaction"},
    "/conversations": {"id": "conv_1", "object": "conversation", "metadata": {}},
    ":countTokens": {"totalTokens": 3},
}


def answer(url: URL, body: Any) -> Answer:
    """Return the vendor's answer, a stream if one is requested."""
    path, is_stream = url.path, body.get("stream") is True
    for end, plain in PLAIN.items():
        if path.endswith(end):
            return _plain(plain)
    if path.endswith((":embedContent", ":batchEmbedContents")):
        vectors = [{"values": [0.5, 1.5]} for _ in body.get("requests", [body])]
        return _plain({"embedding": vectors[0], "embeddings": vectors})
    if path.endswith("/embeddings"):
        vector = {"object": "embedding", "index": 0, "embedding": [0.5, 1.5]}
        return _plain({"object": "list", "data": [vector], "model": "m", "usage": CHAT_USAGE})
    if path.endswith(":streamGenerateContent"):
        if url.query.get("alt") == "sse":
            return _events(CANDIDATE)
        return Answer(JSON_TYPE, b"[%b]" % json.dumps(CANDIDATE).encode())
    if path.endswith(":generateContent"):
        return _plain(CANDIDATE)
    if path.endswith("/messages"):
        return _message_events() if is_stream else _plain(MESSAGE)
    if path.endswith("/responses"):
        ended = {"type": "response.completed", "response": RESPONSE}
        return _events(ended) if is_stream else _plain(RESPONSE)
    assert path.endswith("/chat/completions"), path
    return _events(CHAT_CHUNK, done=b"data: [DONE]\n\n") if is_stream else _plain(CHAT)


def _plain(value: Any) -> Answer:
    return Answer(JSON_TYPE, json.dumps(value).encode())


def _message_events() -> Answer:
    return _events(
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    )


def _events(*values: Any, done: bytes = b"") -> Answer:
    return Answer("text/event-stream", b"".join(map(_event, values)) + done)


def _event(value: Any) -> bytes:
    named = f"event: {value['type']}\n" if "type" in value else ""
    return f"{named}data: {json.dumps(value)}\n\n".encode()
