"""The body of a request, field by field: accepted values and error sentences."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from gateway.core.calls import DIMENSIONS, Call, Dimensions, Principal, ProviderCall
from gateway.core.errors import Refused
from gateway.core.messages import Message
from gateway.core.model_names import Model
from gateway.core.request_body import MESSAGES_MAX, NAME_IN_JSON, TOKENS_MAX, call_from
from gateway.core.usage_bound import OutputCap, OutputLimits
from tests.gateway.arrivals import NAMES

ANYONE = Principal(org_id=UUID(int=1), fixed=Dimensions(), channel="api", key_id=UUID(int=2))
LEAST = {"model": "gpt-4o", "prompt": "Say hello"}


def call(fields: Any, *, principal: Principal = ANYONE, key: str | None = None) -> Call:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return call_from(body, principal=principal, idempotency_key=key)


def refused(fields: Any, **context: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call(fields, **context)
    return caught.value


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in LEAST.items() if key != name}


def test_prompt_becomes_one_user_message() -> None:
    asked = call(LEAST)
    assert sent(asked).messages == (Message("user", "Say hello"),)
    assert asked.body == call(without("prompt") | {"messages": [turn("Say hello")]}).body
    assert (asked.model, asked.usage_bound.output) == ("gpt-4o", OutputLimits())
    assert sent(asked).temperature is None
    assert (asked.stream, asked.dimensions, asked.refusal) == (False, Dimensions(), None)


def sent(asked: Call) -> ProviderCall:
    model = Model(id="gpt-4o", provider="openai")
    outgoing = asked.body.outgoing(model, OutputCap(10, is_written=True), timeout_s=1, names=NAMES)
    assert isinstance(outgoing, ProviderCall)
    return outgoing


def turn(content: Any, role: Any = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def test_every_field_is_parsed() -> None:
    fields: dict[str, Any] = {
        "model": " GPT-4o\n",
        "messages": [turn("Be brief", "system"), turn("Hi"), turn("Yes?", "assistant"), turn("é")],
        "maxTokens": 1000,
        "temperature": 0.7,
        "stream": True,
        "metadata": {"teamId": "team-123"},
        "projectId": "project-456",
    }
    asked = call(fields, key="once")
    assert asked.model == " GPT-4o\n"
    roles = [message.role for message in sent(asked).messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert (asked.usage_bound.output, asked.stream) == (OutputLimits(max_tokens=1000), True)
    assert sent(asked).temperature == 0.7
    assert asked.dimensions == Dimensions(team_id="team-123", project_id="project-456")
    assert asked.idempotency_key == "once"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"models": "x"}, 'Unknown field "models"'),
        ({"max_tokens": 5}, 'Unknown field "max_tokens"'),
        ({"\x00": 5}, "Unknown field '\\x00'"),
        ({"model": ""}, "model must be a non-empty string"),
        ({"model": " \n "}, "model must be a non-empty string"),
        ({"model": None}, "model must be a non-empty string"),
        ({"model": 4}, "model must be a non-empty string"),
        ({"model": "x" * 201}, "model must have at most 200 characters"),
        ({"model": "a\x00b"}, "model must contain only printable characters"),
        ({"model": "a\ud800"}, "model must contain only printable characters"),
        ({"prompt": ""}, "prompt must be a non-empty string"),
        ({"prompt": None}, "prompt must be a non-empty string"),
        ({"prompt": ["x"]}, "prompt must be a non-empty string"),
        ({"prompt": "\udfff"}, "prompt must not contain half of a surrogate pair"),
        ({"messages": [turn("x")]}, "Exactly one of prompt and messages must be given"),
        ({"maxTokens": 0}, f"maxTokens must be an integer between 1 and {TOKENS_MAX}"),
        ({"maxTokens": TOKENS_MAX + 1}, f"maxTokens must be an integer between 1 and {TOKENS_MAX}"),
        ({"maxTokens": True}, f"maxTokens must be an integer between 1 and {TOKENS_MAX}"),
        ({"maxTokens": 1.5}, f"maxTokens must be an integer between 1 and {TOKENS_MAX}"),
        ({"maxTokens": "5"}, f"maxTokens must be an integer between 1 and {TOKENS_MAX}"),
        ({"maxTokens": None}, f"maxTokens must be an integer between 1 and {TOKENS_MAX}"),
        ({"temperature": "1"}, "temperature must be a number"),
        ({"temperature": True}, "temperature must be a number"),
        ({"temperature": -0.01}, "temperature must be between 0 and 2"),
        ({"temperature": 2.01}, "temperature must be between 0 and 2"),
        ({"temperature": 10**400}, "temperature must fit in 64 bits"),
        ({"stream": 1}, "stream must be true or false"),
        ({"stream": None}, "stream must be true or false"),
        ({"metadata": []}, "metadata must be an object"),
        ({"metadata": None}, "metadata must be an object"),
        ({"metadata": {"team": "x"}}, 'Unknown field "metadata.team"'),
        ({"metadata": {"teamId": 1}}, "metadata.teamId must be a string"),
        ({"teamId": 1}, "teamId must be a string"),
        ({"teamId": None}, "teamId must be a string"),
        ({"teamId": "x" * 129}, "teamId must have at most 128 characters"),
        ({"teamId": "a\tb"}, "teamId must contain only printable characters"),
        ({"teamId": "a\u202eb"}, "teamId must contain only printable characters"),
        ({"teamId": "\ud800"}, "teamId must contain only printable characters"),
        ({"teamId": "a", "metadata": {"teamId": "b"}}, "teamId and metadata.teamId differ"),
    ],
)
def test_invalid_field_is_named(changes: dict[str, Any], sentence: str) -> None:
    refusal = refused(LEAST | changes)
    assert (refusal.status, refusal.code, refusal.message) == (400, "invalid_request", sentence)


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "messages must be a non-empty list"),
        ({}, "messages must be a non-empty list"),
        ("hi", "messages must be a non-empty list"),
        (["hi"], "messages[0] must be an object with role and content"),
        ([turn("a"), turn("b", "tool")], "messages[1].role must be one of system, user, assistant"),
        ([turn("a", ["user"])], "messages[0].role must be one of system, user, assistant"),
        ([{"content": "a"}], "messages[0].role must be one of system, user, assistant"),
        ([turn("")], "messages[0].content must be a non-empty string"),
        ([turn([{"type": "text"}])], "messages[0].content must be a non-empty string"),
        ([turn("\ud83d")], "messages[0].content must not contain half of a surrogate pair"),
        ([turn("a") | {"name": "x"}], 'Unknown field "messages[0].name"'),
        ([turn("a")] * (MESSAGES_MAX + 1), f"messages must have at most {MESSAGES_MAX} messages"),
    ],
)
def test_invalid_message_is_named(messages: Any, sentence: str) -> None:
    assert refused(without("prompt") | {"messages": messages}).message == sentence


def test_neither_prompt_nor_messages_is_refused() -> None:
    assert refused(without("prompt")).message == "Exactly one of prompt and messages must be given"


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null", b"true"])
def test_body_must_be_object(body: bytes) -> None:
    assert refused(body).message == "The body must be a JSON object"


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("maxTokens", 1, TOKENS_MAX), ("temperature", 0, 2), ("teamId", "", "x" * 128)],
)
def test_both_ends_of_range_are_accepted(name: str, least: Any, most: Any) -> None:
    call(LEAST | {name: least})
    call(LEAST | {name: most})
    call(LEAST | {"model": "x" * 200})


def test_integer_can_be_written_as_float() -> None:
    assert call(LEAST | {"maxTokens": 1000.0}).usage_bound.output == OutputLimits(max_tokens=1000)


@pytest.mark.parametrize("name", DIMENSIONS)
def test_dimension_can_be_at_top_or_in_metadata_or_equal_in_both(name: str) -> None:
    spelled = NAME_IN_JSON[name]
    wanted = Dimensions.named({name: "é 1"})
    for fields in (
        {spelled: "é 1"},
        {"metadata": {spelled: "é 1"}},
        {spelled: "é 1", "metadata": {spelled: "é 1"}},
        {spelled: "", "metadata": {spelled: "é 1"}},
    ):
        assert call(LEAST | fields).dimensions == wanted


@pytest.mark.parametrize("name", DIMENSIONS)
def test_fixed_dimension_can_be_repeated_but_not_changed(name: str) -> None:
    spelled = NAME_IN_JSON[name]
    fixed = Principal(
        org_id=UUID(int=1), fixed=Dimensions.named({name: "a"}), channel="api", key_id=UUID(int=2)
    )
    for fields in ({}, {spelled: "a"}, {spelled: ""}, {"metadata": {spelled: "a"}}):
        assert call(LEAST | fields, principal=fixed).dimensions == fixed.fixed
    for fields in ({spelled: "b"}, {"metadata": {spelled: "c"}}):
        refusal = refused(LEAST | fields, principal=fixed)
        sentence = f"{spelled} is fixed by the key and cannot be changed"
        assert (refusal.status, refusal.code) == (403, "dimension_fixed_by_key")
        assert refusal.message == sentence


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x00", "a\tb"])
def test_idempotency_key_must_be_short_and_printable(key: str) -> None:
    sentence = "Idempotency-Key must be 1 to 255 printable characters"
    assert refused(LEAST, key=key).message == sentence
    assert call(LEAST, key="x" * 255).idempotency_key == "x" * 255
