"""Turns over WebSocket: each one's body is that of a POST with the whole conversation."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.body_budget import CONVERSATIONS_OF_CALLER_MAX_BYTES, BodyBudget
from gateway.core.calls import Dimensions, Principal
from gateway.core.errors import Refused
from gateway.http.websocket.conversations import Conversations
from gateway.http.websocket.turns import (
    ReceivedResponse,
    Turn,
    is_whole,
    items_as_json,
    joined,
    text_of,
    turn_in,
    warm_up_events,
)

CALLER: Final = Principal(
    org_id=UUID(int=1), fixed=Dimensions(), channel="responses", key_id=UUID(int=2)
)
ITEM = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
messages = st.fixed_dictionaries({"role": st.just("user"), "content": texts})
results = st.fixed_dictionaries(
    {"type": st.just("function_call_output"), "call_id": texts, "output": texts}
)
items = st.lists(messages | results, min_size=1, max_size=3)
inputs = texts | items
outputs = st.lists(st.just(ITEM) | messages, max_size=2)


def conversations(budget: BodyBudget | None = None) -> Conversations:
    return Conversations(budget or BodyBudget(), CALLER)


def create(**fields: Any) -> Turn:
    """Parse a message."""
    turn = turn_in(json.dumps({"type": "response.create", "model": "m", **fields}).encode())
    assert turn is not None
    return turn


def answered(turn: Turn, kept: Conversations, response_id: str, output: list[Any]) -> Any:
    """Answer a turn as the provider does, and return the input that it was sent."""
    sent = json.loads(turn.body(kept))
    answer = ReceivedResponse()
    for item in output:
        event = {"type": "response.output_item.done", "item": item}
        assert not answer.take(json.dumps(event).encode())
    assert answer.take(_end("completed", response_id))
    kept.keep(turn.lane, answer.response_id, joined(items_as_json(sent), *answer.items))
    return sent["input"]


def _end(status: str, response_id: str) -> bytes:
    event = {"type": f"response.{status}", "response": {"id": response_id}}
    return json.dumps(event).encode()


def listed(given: Any) -> list[Any]:
    """Return input as items, as a client keeps it that sends all of it each time."""
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


@given(turns=st.lists(st.tuples(inputs, outputs, st.booleans()), min_size=1, max_size=5))
def test_expanded_input_is_what_http_client_would_send(
    turns: list[tuple[Any, list[Any], bool]],
) -> None:
    kept = conversations()
    history: list[Any] = []
    previous: str | None = None
    for n, (given_input, output, is_warm_up) in enumerate(turns):
        turn = create(input=given_input, store=False, previous_response_id=previous)
        history += listed(given_input)
        previous = f"resp_{n}"
        if is_warm_up:
            kept.keep(turn.lane, previous, turn.conversation(kept))
        else:
            assert listed(answered(turn, kept, previous, output)) == history
            history += output


def test_body_has_no_field_of_websocket() -> None:
    turn = create(input="a", generate=None, stream_id="lane", stream=False)
    assert json.loads(turn.body(conversations())) == {"model": "m", "input": "a", "stream": True}
    assert (turn.lane, turn.generates) == ("lane", True)
    assert create(generate=False).generates is False


def test_notice_of_processed_response_has_no_answer() -> None:
    assert turn_in(b'{"type": "response.processed", "response_id": "r"}') is None


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("{}", 'type must be "response.create", not missing'),
        ('{"type": "response.steer"}', 'type must be "response.create", not "response.steer"'),
        ('{"type": 1}', "type must be a string"),
        ('{"type": "response.create", "generate": 1}', "generate must be true or false"),
        ('{"type": "response.create", "stream_id": 1}', "stream_id must be a string"),
        (
            json.dumps({"type": "response.create", "stream_id": "a" * 129}),
            "stream_id must have at most 128 characters",
        ),
        ('{"type": "response.create", "type": "a"}', 'The body contains the key "type" twice'),
        ("[]", "The body must be a JSON object"),
    ],
)
def test_message_that_is_no_turn_is_refused(message: str, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        turn_in(message.encode())
    assert (refused.value.status, refused.value.message) == (400, sentence)


def test_response_that_may_be_stored_is_left_to_provider() -> None:
    stored = create(input="a", previous_response_id="resp_stored")
    assert json.loads(stored.body(conversations()))["previous_response_id"] == "resp_stored"
    for more in ({"store": False}, {"generate": False}):
        turn = create(input="a", previous_response_id="resp_stored", **more)
        with pytest.raises(Refused) as refused:
            (turn.body if turn.generates else turn.conversation)(conversations())
        assert refused.value.code == "previous_response_not_found"


def test_response_to_stored_conversation_is_not_whole() -> None:
    assert is_whole({"input": "a", "previous_response_id": None})
    assert not is_whole({"input": "a", "previous_response_id": "resp_stored"})
    assert not is_whole({"input": "a", "conversation": "conv_stored"})


def test_lane_remembers_its_last_response() -> None:
    budget = BodyBudget()
    kept = conversations(budget)
    kept.keep(None, "resp_1", b'{"a":1}')
    kept.keep("lane", "resp_2", b'{"a":2}')
    kept.keep(None, "resp_3", b"")
    assert [kept.items_of(f"resp_{n}") for n in (1, 2, 3)] == [None, b'{"a":2}', b""]
    kept.forget_all()
    assert kept.items_of("resp_2") is None


def test_conversations_are_counted_until_they_are_forgotten() -> None:
    budget = BodyBudget()
    first, second = conversations(budget), conversations(budget)
    most = b"a" * CONVERSATIONS_OF_CALLER_MAX_BYTES
    first.keep(None, "resp_1", most)
    first.keep(None, "resp_2", most)  # in place of the other one
    second.keep(None, "resp_3", b"a")
    assert (first.items_of("resp_2"), second.items_of("resp_3")) == (most, None)
    first.forget_all()
    second.keep(None, "resp_4", most)
    assert second.items_of("resp_4") == most


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        (_end("completed", "resp_1"), True),
        (_end("incomplete", "resp_1"), True),
        (_end("failed", "resp_1"), False),
        (_end("completed", ""), False),
        (b'{"type":"response.completed"}', False),
        (b'{"type":"response.output_text.delta","delta":"\\"response.completed\\""}', False),
        (b'"response.completed"', False),
        (b'{"response.completed":', False),
    ],
)
def test_only_response_that_ended_well_can_be_continued(event: bytes, ends: bool) -> None:
    assert ReceivedResponse().take(event) is ends


def test_events_of_lane_name_it() -> None:
    assert text_of(b'{"type":"a"}', None) == '{"type":"a"}'
    assert json.loads(text_of(b'{"type":"a"}', 'x"y')) == {"stream_id": 'x"y', "type": "a"}


def test_warm_up_is_complete_response_without_usage() -> None:
    response_id, events = warm_up_events("m")
    begun, ended = map(json.loads, events)
    assert (begun["type"], ended["type"]) == ("response.created", "response.completed")
    assert begun["response"]["id"] == ended["response"]["id"] == response_id
    assert (ended["response"]["output"], ended["response"]["usage"]["total_tokens"]) == ([], 0)
