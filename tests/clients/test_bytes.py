"""Relayed answers arrive byte for byte and chunk by chunk, as without the gateway."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx2
import pytest

from tests.clients.questions import (
    ANTHROPIC_TOOL,
    CHAT_TOOL,
    RESPONSES_TOOL,
    TWO_CALLS,
    WORDS,
)
from tests.clients.raw import CASES, CHAT, STREAMED, Case, ask, headers
from tests.clients.targets import Target
from tests.system.upstream import Upstream

TOOLS: dict[str, dict[str, Any]] = {
    "/chat/completions": {"tools": [CHAT_TOOL]},
    "/v1/chat/completions": {"tools": [CHAT_TOOL]},
    "/responses": {"tools": [RESPONSES_TOOL]},
    "/v1/messages": {"tools": [ANTHROPIC_TOOL]},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answer_is_relayed_byte_for_byte(
    case: Case, target: Target, http: httpx2.Client, upstream: Upstream
) -> None:
    answer = ask(http, target, case)
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
    case: Case, target: Target, http: httpx2.Client, upstream: Upstream
) -> None:
    upstream.answers({"tool_calls": TWO_CALLS})
    asked = Case(
        name=case.name,
        vendor=case.vendor,
        path=case.path,
        body=case.body | TOOLS[case.path],
    )
    answer = ask(http, target, asked)
    [call] = upstream.calls()
    assert hashlib.sha256(answer.content).hexdigest() == call["sent_sha256"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_request_arrives_with_all_fields(
    case: Case, target: Target, http: httpx2.Client, upstream: Upstream
) -> None:
    more = {"option_of_tomorrow": {"ü": [1, 2.5, None, True]}}
    body = case.body | more
    asked = Case(name=case.name, vendor=case.vendor, path=case.path, body=body)
    assert ask(http, target, asked).status_code == 200
    [call] = upstream.calls()
    # What the gateway may add: an output cap, where none was given.
    assert {name: call["body"][name] for name in body} == body


def test_stream_chunks_lose_only_unrequested_usage(target: Target, http: httpx2.Client) -> None:
    case = Case(name="chat", vendor="openai", path="/chat/completions", body=CHAT | STREAMED)
    events = ask(http, target, case).text.removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert len(chunks) == WORDS + 2
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in chunks)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if "streamed" in case.name or "Google's" in case.name],
    ids=lambda case: case.name,
)
def test_chunks_are_relayed_as_they_arrive(
    case: Case, target: Target, http: httpx2.Client, upstream: Upstream
) -> None:
    upstream.answers({"drip_s": 0.01, "stall": "body", "stall_after_events": 4})
    url = target.base_url(case.vendor) + case.path
    credential = headers(target, case.vendor)
    arrived_bytes = 0
    with http.stream("POST", url, json=case.body, headers=credential) as answer:
        pieces = answer.iter_raw()
        sent = upstream.wait_for(lambda call: call["sent_pieces"] == 4)
        while arrived_bytes < sent["sent_bytes"]:
            arrived_bytes += len(next(pieces))
        assert upstream.calls()[0]["disconnected_at"] is None  # though it is not complete
