"""Node clients: OpenAI's, Anthropic's, and the Vercel AI SDK."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.node_clients import installed, run
from tests.clients.questions import (
    ANTHROPIC_TOOL,
    CHAT_TOOL,
    PARAMETERS,
    PARIS,
    PROMPT,
    TWO_CALLS,
    WORDS,
    chat_turns,
)
from tests.clients.targets import MODELS, Target
from tests.system.upstream import Upstream

WELL = {"times": 1}
CALLS = {"tool_calls": TWO_CALLS}
INPUTS = [{"name": call["name"], "input": call["arguments"]} for call in TWO_CALLS]


@pytest.fixture(scope="session")
def scripts() -> Path:
    return installed()


def test_openais_client(scripts: Path, target: Target, upstream: Upstream) -> None:
    upstream.answers(*[WELL] * 3, *[CALLS] * 2)
    seen = run(
        scripts,
        "openai.mjs",
        baseURL=target.base_url("openai"),
        apiKey=target.key,
        model=MODELS["openai"],
        messages=chat_turns(),
        tool=CHAT_TOOL,
    )
    assert (seen["content"], seen["finishReason"], seen["outputTokens"]) == (PROMPT, "stop", WORDS)
    for way in ("streamed", "unasked"):
        assert (seen[way]["content"], seen[way]["finishReason"]) == (PROMPT, "stop")
    assert seen["streamed"]["usage"]["completion_tokens"] == WORDS
    assert (seen["streamed"]["chunks"], seen["unasked"]["chunks"]) == (WORDS + 3, WORDS + 2)
    assert seen["unasked"]["usage"] is None
    for way in ("calls", "callsInPieces"):
        assert [json.loads(call["arguments"]) for call in seen[way]] == [
            call["arguments"] for call in TWO_CALLS
        ]
    assert seen["response"] == "Hello"
    assert seen["refusal"] == {"kind": "NotFoundError", "status": 404}


def test_anthropics_client(scripts: Path, target: Target, upstream: Upstream) -> None:
    upstream.answers(*[WELL] * 3, *[CALLS] * 2)
    seen = run(
        scripts,
        "anthropic.mjs",
        baseURL=target.base_url("anthropic"),
        apiKey=target.key,
        model=MODELS["anthropic"],
        messages=[{"role": "user", "content": PROMPT}],
        tool=ANTHROPIC_TOOL,
    )
    assert (seen["content"], seen["stopReason"], seen["outputTokens"]) == (
        PROMPT,
        "end_turn",
        WORDS,
    )
    assert seen["streamed"] == PROMPT
    assert seen["kinds"].count("content_block_delta") == WORDS
    assert (seen["calls"], seen["callsInPieces"]) == (INPUTS, INPUTS)
    assert seen["counted"] == WORDS


def test_vercel_ai_sdk(scripts: Path, target: Target, upstream: Upstream) -> None:
    upstream.answers(*[WELL] * 2, *[CALLS] * 2, {"content": json.dumps(PARIS)})
    seen = run(
        scripts,
        "vercel.mjs",
        baseURL=target.base_url("openai"),
        apiKey=target.key,
        model=MODELS["openai"],
        prompt=PROMPT,
        parameters=PARAMETERS,
    )
    assert (seen["content"], seen["finishReason"]) == (PROMPT, "stop")
    assert (seen["inputTokens"], seen["outputTokens"]) == (WORDS + 2, WORDS)
    assert (seen["streamed"], seen["pieces"], seen["streamedTokens"]) == (PROMPT, WORDS, WORDS)
    assert (seen["calls"], seen["callsInPieces"]) == (INPUTS, INPUTS)
    assert seen["shaped"] == PARIS
    assert upstream.calls()[-1]["body"]["response_format"]["type"] == "json_schema"


def test_vercel_ai_sdk_goes_on_by_ids(scripts: Path, target: Target, upstream: Upstream) -> None:
    thinks = {"thinking": "The weather, then"}
    upstream.answers({**CALLS, **thinks}, thinks, thinks)
    turns = ["What is the weather in Paris?", "And tomorrow?", "And then?"]
    seen = run(
        scripts,
        "responses.mjs",
        baseURL=target.base_url("openai"),
        apiKey=target.key,
        model="gpt-5",
        parameters=PARAMETERS,
        turns=turns,
    )
    assert seen == {"steps": 2, "texts": turns}
    _, loop, second, third = (call["body"] for call in upstream.calls())
    assert "item_reference" in [item.get("type") for item in loop["input"]]
    assert len(second["input"]) > len(loop["input"])
    assert third["previous_response_id"].startswith("resp_")
