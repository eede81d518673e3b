"""What is relayed comes back byte for byte and piece by piece, as it would without the gateway."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.clients.questions import (
    ANTHROPIC_TOOL,
    CHAT_TOOL,
    RESPONSES_TOOL,
    SAID,
    TWO_CALLS,
    WORDS,
    chat_turns,
)
from tests.clients.roads import EMBEDDERS, MODELS, Road
from tests.system.upstream import Upstream

CALL_MAX_S = 30.0
CHAT: dict[str, Any] = {"model": MODELS["openai"], "messages": chat_turns()}
MISTRAL: dict[str, Any] = {"model": MODELS["mistral"], "messages": chat_turns()}
RESPONSE: dict[str, Any] = {"model": MODELS["openai"], "input": SAID}
MESSAGE: dict[str, Any] = {
    "model": MODELS["anthropic"],
    "max_tokens": 100,
    "messages": [{"role": "user", "content": SAID}],
}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": SAID}]}]}
STREAMED = {"stream": True}
COUNTED = STREAMED | {"stream_options": {"include_usage": True}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request of one vendor's format; its path comes after the vendor's base URL."""

    name: str
    vendor: str
    path: str
    body: dict[str, Any]


def gemini(name: str, method: str, version: str = "v1beta", **more: Any) -> Case:
    path = f"/{version}/models/{MODELS['google']}:{method}"
    return Case(name=name, vendor="google", path=path, body=GEMINI | more)


CASES = [
    Case(name="chat", vendor="openai", path="/chat/completions", body=CHAT),
    Case(name="chat, two", vendor="openai", path="/chat/completions", body=CHAT | {"n": 2}),
    Case(name="chat, streamed", vendor="openai", path="/chat/completions", body=CHAT | COUNTED),
    Case(name="responses", vendor="openai", path="/responses", body=RESPONSE),
    Case(name="responses, streamed", vendor="openai", path="/responses", body=RESPONSE | STREAMED),
    Case(
        name="embeddings",
        vendor="openai",
        path="/embeddings",
        body={"model": EMBEDDERS["openai"], "input": [SAID, "two words"]},
    ),
    Case(name="Mistral", vendor="mistral", path="/v1/chat/completions", body=MISTRAL),
    Case(
        name="Mistral, streamed",
        vendor="mistral",
        path="/v1/chat/completions",
        body=MISTRAL | STREAMED,
    ),
    Case(
        name="Mistral's embeddings",
        vendor="mistral",
        path="/v1/embeddings",
        body={"model": EMBEDDERS["mistral"], "input": [SAID]},
    ),
    Case(name="messages", vendor="anthropic", path="/v1/messages", body=MESSAGE),
    Case(
        name="messages, streamed",
        vendor="anthropic",
        path="/v1/messages",
        body=MESSAGE | STREAMED,
    ),
    Case(
        name="a count of tokens",
        vendor="anthropic",
        path="/v1/messages/count_tokens",
        body={name: MESSAGE[name] for name in ("model", "messages")},
    ),
    gemini("generateContent", "generateContent"),
    gemini("generateContent of v1", "generateContent", "v1"),
    gemini("Google's events", "streamGenerateContent?alt=sse"),
    gemini("Google's array", "streamGenerateContent"),
    gemini("countTokens", "countTokens"),
]
TOOLS: dict[str, dict[str, Any]] = {
    "/chat/completions": {"tools": [CHAT_TOOL]},
    "/v1/chat/completions": {"tools": [CHAT_TOOL]},
    "/responses": {"tools": [RESPONSES_TOOL]},
    "/v1/messages": {"tools": [ANTHROPIC_TOOL]},
}


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=CALL_MAX_S, trust_env=False) as opened:
        yield opened


def headers(road: Road, vendor: str) -> dict[str, str]:
    """Return the credential as the vendor's own client sends it."""
    match vendor:
        case "anthropic":
            return {"x-api-key": road.key, "anthropic-version": "2023-06-01"}
        case "google":
            return {"x-goog-api-key": road.key}
        case _:
            return {"authorization": f"Bearer {road.key}"}


def ask(http: httpx2.Client, road: Road, case: Case) -> httpx2.Response:
    url = road.base_url(case.vendor) + case.path
    return http.post(url, json=case.body, headers=headers(road, case.vendor))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_answer_comes_byte_for_byte(
    case: Case, road: Road, http: httpx2.Client, upstream: Upstream
) -> None:
    answer = ask(http, road, case)
    [call] = upstream.calls()
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).hexdigest() == call["sent_sha256"]
    streams = "stream" in case.name or "events" in case.name
    expected = "text/event-stream" if streams else "application/json"
    assert answer.headers["content-type"].partition(";")[0] == expected


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.path in TOOLS], ids=lambda case: case.name
)
def test_tool_calls_come_byte_for_byte(
    case: Case, road: Road, http: httpx2.Client, upstream: Upstream
) -> None:
    upstream.answers({"tool_calls": TWO_CALLS})
    asked = Case(
        name=case.name,
        vendor=case.vendor,
        path=case.path,
        body=case.body | TOOLS[case.path],
    )
    answer = ask(http, road, asked)
    [call] = upstream.calls()
    assert hashlib.sha256(answer.content).hexdigest() == call["sent_sha256"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_arrives_with_all_its_fields(
    case: Case, road: Road, http: httpx2.Client, upstream: Upstream
) -> None:
    more = {"option_of_tomorrow": {"ü": [1, 2.5, None, True]}}
    body = case.body | more
    asked = Case(name=case.name, vendor=case.vendor, path=case.path, body=body)
    assert ask(http, road, asked).status_code == 200
    [call] = upstream.calls()
    # What the gateway may add: an output cap, where none was said.
    assert {name: call["body"][name] for name in body} == body


def test_the_chunks_of_a_stream_lose_only_the_usage_that_nobody_asked_for(
    road: Road, http: httpx2.Client
) -> None:
    case = Case(name="chat", vendor="openai", path="/chat/completions", body=CHAT | STREAMED)
    events = ask(http, road, case).text.removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert len(chunks) == WORDS + 2
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in chunks)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if "streamed" in case.name or "Google's" in case.name],
    ids=lambda case: case.name,
)
def test_pieces_are_passed_on_as_they_arrive(
    case: Case, road: Road, http: httpx2.Client, upstream: Upstream
) -> None:
    upstream.answers({"drip_s": 0.1})
    url = road.base_url(case.vendor) + case.path
    credential = headers(road, case.vendor)
    with http.stream("POST", url, json=case.body, headers=credential) as answer:
        arrivals = [time.time() for _ in answer.iter_raw()]
    call = upstream.wait_for(lambda call: call["answered_at"])
    assert len(arrivals) >= call["sent_pieces"] - 2
    assert arrivals[0] < call["answered_at"] - 0.1 * (call["sent_pieces"] // 2)
