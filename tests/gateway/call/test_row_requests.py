"""What a row's server is sent, by each API of a client and each API that the server has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from gateway.call.runtime import Gateway
from tests.factories import RateFactory
from tests.gateway.conftest import Asking
from tests.gateway.local_rows import make_row
from tests.gateway.small_vendor import SmallVendor

pytestmark = pytest.mark.django_db(transaction=True)

NAME: Final = "Org/M2.1:tag"
HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]
CONTENTS: Final[Any] = [{"role": "user", "parts": [{"text": "Hello"}]}]
CHAT: Final = {
    **{"id": "c", "object": "chat.completion", "created": 1, "model": "m"},
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
}
USED: Final = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
MESSAGE: Final = {
    **{"id": "m", "type": "message", "role": "assistant", "model": "m"},
    **{"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"},
    "usage": {"input_tokens": 5, "output_tokens": 3},
}
RESPONSE: Final = {"id": "r", "status": "completed", "output": [], "usage": USED}
CONTENT: Final = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    ],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8},
}


@dataclass(frozen=True, slots=True)
class Way:
    """A request of a client, and the path at the server with the API that it has."""

    dialect: str
    path: str
    body: dict[str, Any]
    at: str
    answer: dict[str, Any]


NATIVE, COMPLETIONS = "/api/ai/request", "/v1/chat/completions"
ASKED: Final = {"messages": HELLO, "max_tokens": 20}
GENERATE: Final = f"/v1beta/models/{NAME}:generateContent"
WAYS: Final = {
    "native": Way("chat", NATIVE, {"prompt": "Hello"}, COMPLETIONS, CHAT),
    "native at messages": Way("messages", NATIVE, {"prompt": "Hello"}, "/v1/messages", MESSAGE),
    "native at generate": Way("generate", NATIVE, {"prompt": "Hello"}, GENERATE, CONTENT),
    "chat": Way("chat", COMPLETIONS, ASKED, COMPLETIONS, CHAT),
    "chat at messages": Way("messages", COMPLETIONS, ASKED, "/v1/messages", MESSAGE),
    "chat at generate": Way("generate", COMPLETIONS, ASKED, GENERATE, CONTENT),
    "responses": Way("responses", "/v1/responses", {"input": "Hello"}, "/v1/responses", RESPONSE),
    "messages": Way("messages", "/v1/messages", ASKED, "/v1/messages", MESSAGE),
    "generate": Way(
        "generate",
        f"/v1beta/models/local/{NAME}:generateContent",
        {"contents": CONTENTS},
        GENERATE,
        CONTENT,
    ),
    "count of messages": Way(
        "messages",
        "/v1/messages/count_tokens",
        {"messages": HELLO},
        "/v1/messages/count_tokens",
        {"input_tokens": 5},
    ),
    "count of responses": Way(
        "responses",
        "/v1/responses/input_tokens",
        {"input": "Hello"},
        "/v1/responses/input_tokens",
        {"input_tokens": 5},
    ),
    "count of contents": Way(
        "generate",
        f"/v1beta/models/local/{NAME}:countTokens",
        {"contents": CONTENTS},
        f"/v1beta/models/{NAME}:countTokens",
        {"totalTokens": 5},
    ),
}


@pytest.fixture
def server(gateway: Gateway) -> Iterator[SmallVendor]:
    """A server, and a price of its model."""
    RateFactory.create(provider="local", model=NAME.lower())
    with SmallVendor() as running:
        yield running
        gateway.call_loop.call_sync(gateway.providers.aclose())


def sent(ask: Asking, server: SmallVendor, way: Way, **fields: Any) -> Any:
    """Send a request with more fields; return the body that the server got."""
    server.answers(way.at, json.dumps(way.answer).encode())
    reply = ask({"model": f"local/{NAME}", **way.body, **fields}, path=way.path)
    assert reply.status == 200, reply.body
    assert server.seen[-1].path == way.at
    return server.seen[-1].body


def row_of(server: SmallVendor, way: Way, **fields: Any) -> None:
    url = f"{server.url}/v1"
    make_row("local", base_url=url, dialects=[way.dialect], auth="none", secret="", **fields)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_server_is_sent_its_own_spelling_of_model(
    ask: Asking, server: SmallVendor, way: Way
) -> None:
    row_of(server, way)
    assert sent(ask, server, way).get("model", NAME) == NAME


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_server_is_sent_mapped_name(ask: Asking, server: SmallVendor, way: Way) -> None:
    row_of(server, way, names={NAME.lower(): NAME}, models=["m"])
    body = sent(ask, server, way)
    assert body.get("model", NAME) == NAME


@pytest.mark.parametrize("name", ["native at generate", "chat at generate", "generate"])
def test_url_of_googles_api_alone_has_its_version(
    ask: Asking, server: SmallVendor, name: str
) -> None:
    elsewhere = {"generate": f"{server.url}/v1beta1/publishers/google"}
    row_of(server, WAYS[name], base_urls=elsewhere)
    sent(
        ask,
        server,
        replace(WAYS[name], at=f"/v1beta1/publishers/google/models/{NAME}:generateContent"),
    )


# Fields that each request can have, and what is left of them.
DROPPED: Final[dict[str, tuple[str, dict[str, Any], dict[str, Any]]]] = {
    "native": ("temperature", {"temperature": 0.5}, {}),
    "native at messages": ("temperature", {"temperature": 0.5}, {}),
    "chat": ("seed", {"seed": 1}, {}),
    "chat at messages": ("stop_sequences", {"stop": ["x"]}, {}),
    "responses": ("reasoning", {"reasoning": {"effort": "low"}}, {}),
    "messages": ("thinking", {"thinking": {"type": "disabled"}}, {}),
    "generate": (
        "generationConfig.topK",
        {"generationConfig": {"top_k": 3, "topP": 0.5}},
        {"generationConfig": {"topP": 0.5}},
    ),
    "count of messages": ("system", {"system": "Be brief"}, {}),
    "count of responses": ("reasoning", {"reasoning": {"effort": "low"}}, {}),
    "count of contents": ("systemInstruction", {"systemInstruction": {"parts": []}}, {}),
}


@pytest.mark.parametrize("name", DROPPED)
def test_fields_that_server_refuses_are_not_sent(
    ask: Asking, server: SmallVendor, name: str
) -> None:
    way, (place, fields, left) = WAYS[name], DROPPED[name]
    row_of(server, way, dropped=[place])
    body = sent(ask, server, way, **fields)
    top = place.partition(".")[0]
    assert ({top: body[top]} if top in body else {}) == left
