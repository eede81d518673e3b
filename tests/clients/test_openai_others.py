"""OpenAI's client except chat: responses, embeddings and the list of models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients.questions import PARIS, PROMPT, RESPONSES_TOOL, WEATHER, WORDS
from tests.clients.targets import EMBEDDERS, MODELS, Target
from tests.system.upstream import Upstream

MODEL = MODELS["openai"]
EMBEDDER = EMBEDDERS["openai"]
QUESTION: dict[str, Any] = {"model": MODEL, "instructions": "Be brief", "input": PROMPT}


@pytest.fixture
def client(target: Target) -> Iterator[OpenAI]:
    with OpenAI(base_url=target.base_url("openai"), api_key=target.key, max_retries=0) as opened:
        yield opened


# --- responses ------------------------------------------------------------------------------------


def test_response_has_text_and_usage(client: OpenAI) -> None:
    response = client.responses.create(**QUESTION)
    assert (response.status, response.output_text) == ("completed", PROMPT)
    assert response.usage
    assert (response.usage.input_tokens, response.usage.output_tokens) == (WORDS + 2, WORDS)


def test_response_is_streamed_as_events(client: OpenAI, upstream: Upstream) -> None:
    events: list[Any] = list(client.responses.create(**QUESTION, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == PROMPT
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.usage.output_tokens == WORDS
    assert [event.sequence_number for event in events] == list(range(len(events)))
    [call] = upstream.calls()
    assert call["sent_pieces"] == len(events)


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_response_keeps_vendor_status(status: str, client: OpenAI, upstream: Upstream) -> None:
    upstream.answers({"finish_reason": status})
    *_, last = client.responses.create(**QUESTION, stream=True)
    assert last.type == f"response.{status}"
    assert last.response.status == status


def test_response_calls_tools(client: OpenAI, upstream: Upstream) -> None:
    upstream.answers(
        {"tool_calls": [WEATHER], "thinking": "The weather, then"}, {"tool_calls": [WEATHER]}
    )
    response = client.responses.create(**QUESTION, tools=[RESPONSES_TOOL])
    thought, called = response.output
    assert (thought.type, called.type) == ("reasoning", "function_call")
    assert json.loads(called.arguments) == PARIS
    events: list[Any] = list(
        client.responses.create(**QUESTION, tools=[RESPONSES_TOOL], stream=True)
    )
    kind = "response.function_call_arguments.delta"
    assert json.loads("".join(event.delta for event in events if event.type == kind)) == PARIS
    [_, call] = upstream.calls()
    assert call["body"]["tools"] == [RESPONSES_TOOL]


# --- embeddings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "count", "tokens"),
    [
        (PROMPT, 1, WORDS),
        ([PROMPT, "two words"], 2, WORDS + 2),
        ([1, 2, 3], 1, 3),
        ([[1, 2], [3, 4, 5]], 2, 5),
    ],
    ids=["text", "texts", "tokens", "token-lists"],
)
def test_all_input_types_are_embedded(given: Any, count: int, tokens: int, client: OpenAI) -> None:
    answer = client.embeddings.create(model=EMBEDDER, input=given)
    assert len(answer.data) == count
    assert answer.usage.prompt_tokens == tokens


def test_both_vector_encodings_are_equal(client: OpenAI, upstream: Upstream) -> None:
    # The client asks for base64 by itself and unpacks it.
    packed = client.embeddings.create(model=EMBEDDER, input=PROMPT, dimensions=16)
    plain = client.embeddings.create(
        model=EMBEDDER, input=PROMPT, dimensions=16, encoding_format="float"
    )
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)
    assert len(plain.data[0].embedding) == 16
    formats = [call["body"]["encoding_format"] for call in upstream.calls()]
    assert formats == ["base64", "float"]


# --- models ---------------------------------------------------------------------------------------


def test_models_are_listed(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert {MODEL, "gpt-4o"} <= set(listed)
    assert len(listed) == len(set(listed))


def test_known_model_is_found_and_unknown_is_not(client: OpenAI) -> None:
    found = client.models.retrieve(MODEL)
    assert (found.id, found.object) == (MODEL, "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")
