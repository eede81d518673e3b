"""Relayed chat completions to Mistral: what it refuses of OpenAI's format is not sent."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.families.fitting import fitted
from gateway.core.calls import ProviderCall, RelayRequest
from gateway.core.errors import Refused
from gateway.core.messages import Message
from gateway.providers.adapters.mistral import _request
from gateway.providers.vendors import vendors
from tests.gateway.arrivals import TIMEOUT_S, body_of, model, read
from tests.gateway.arrivals import sent as sent_to
from tests.vendor_rules.mistral import body as mistral

LARGE = "mistral-large-latest"
SMALL = "mistral-small-latest"
USER = {"role": "user", "content": "Weather?"}
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "It"}
SCHEMA = {"type": "object", "properties": {"$id": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "time", "parameters": SCHEMA}}


def relayed(*messages: Any, name: str = LARGE, **fields: Any) -> RelayRequest:
    body = {"model": name, "messages": list(messages) or [USER], **fields}
    return sent_to(read(ChatCompletions(), body), model(name))


def sent(*messages: Any, name: str = LARGE, **fields: Any) -> dict[str, Any]:
    """Return the body that is sent, after a check that the vendor accepts it."""
    body: dict[str, Any] = body_of(relayed(*messages, name=name, **fields))
    assert mistral.faults(body) == []
    return body


def messages_sent(*messages: Any, **fields: Any) -> list[dict[str, Any]]:
    given: list[dict[str, Any]] = sent(*messages, **fields)["messages"]
    return given


def refusal(*messages: Any, **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        relayed(*messages, **fields)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    return refused.value.message


def called(*ids: str, **more: Any) -> dict[str, Any]:
    function = {"name": "weather", "arguments": "{}"}
    calls = [{"id": each, "type": "function", "function": function} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(call_id: str, content: str = "rain") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


# --- fields -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        {"user": "ann"},
        {"safety_identifier": "ann"},
        {"store": True},
        {"store": False},
        {"verbosity": "low"},
        {"prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"mode": "explicit"}},
        {"cache_control": {"type": "ephemeral"}},
    ],
)
def test_field_without_influence_on_answer_is_omitted(field: dict[str, Any]) -> None:
    """https://docs.mistral.ai/api/endpoint/chat (`additionalProperties: false`),
    https://github.com/lofcz/LLMTornado/pull/159 (verbosity)
    """
    assert not field.keys() & sent(**field).keys()
    assert relayed(**field).adjustments == (f"{next(iter(field))} is omitted",)


@pytest.mark.parametrize(
    "field",
    [
        {"logit_bias": {}},
        {"modalities": ["text"]},
        {"functions": []},
        {"function_call": "none"},
        {"best_of": 1},
        {"logprobs": False},
        *({name: None} for name in ("stream", "tool_choice", "response_format", "unheard_of")),
        *({name: None} for name in ("audio", "web_search_options", "seed", "max_tokens")),
    ],
)
def test_field_without_effect_is_omitted(field: dict[str, Any]) -> None:
    assert not field.keys() & sent(**field).keys()
    assert relayed(**field).adjustments == ()


@pytest.mark.parametrize(
    "field",
    [
        {"logit_bias": {"1": 1}},
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "alloy"}},
        {"web_search_options": {}},
        {"functions": [{"name": "a"}]},
        {"function_call": {"name": "a"}},
        {"best_of": 2},
    ],
)
def test_field_with_influence_on_answer_is_refused_by_name(field: dict[str, Any]) -> None:
    name = next(iter(field))
    whose = f'model {LARGE} of provider "mistral"'
    assert refusal(**field) == f"{name} is not supported by {whose}; remove it"


def test_tier_of_another_price_is_refused() -> None:
    assert refusal(service_tier="flex").startswith('service_tier "flex" is not supported')
    assert sent(service_tier="auto")["service_tier"] == "standard_only"


@pytest.mark.parametrize(("seed", "sent_as"), [(7, 7), (0, 0), (-1, 2**63 - 1), (-(2**63), 0)])
def test_seed_is_random_seed(seed: int, sent_as: int) -> None:
    """https://docs.mistral.ai/api/endpoint/chat (random_seed, at least 0)"""
    body = sent(seed=seed)
    assert (body["random_seed"], "seed" in body) == (sent_as, False)
    assert sent(seed=1, random_seed=2)["random_seed"] == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"temperature": 2}, {"temperature": 1.5}),
        ({"temperature": 1.5, "top_p": 0.5}, {"temperature": 1.5, "top_p": 0.5}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0}),
        ({"temperature": 0, "top_p": 1}, {"temperature": 0, "top_p": 1}),
        ({"top_p": 0}, {"top_p": 0.0001}),
    ],
)
def test_sampling_is_within_limits(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """https://github.com/SillyTavern/SillyTavern/pull/4856 (1.5),
    https://github.com/devoxx/DevoxxGenieIDEAPlugin/issues/338 (greedy sampling),
    https://github.com/mnfst/modelparams.dev/pull/231 (top_p above 0)
    """
    body = sent(**given)
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == expected
    assert bool(relayed(**given).adjustments) is (given != expected)


@pytest.mark.parametrize(
    ("name", "given", "effort"),
    [
        (SMALL, "none", "none"),
        (SMALL, "minimal", "high"),
        ("mistral-medium-3-5", "medium", "high"),
        ("magistral-medium-latest", "max", "high"),
        (LARGE, "high", None),
        (LARGE, "none", None),
        ("mistral-small-2506", "high", None),
        ("codestral-latest", "low", None),
        ("mistral-large-4-0", "minimal", "low"),
        ("mistral-large-4-0", "medium", "medium"),
    ],
)
def test_nearest_accepted_effort_is_sent(name: str, given: str, effort: str | None) -> None:
    """https://docs.mistral.ai/inference/conversations/reasoning,
    https://github.com/withceleste/celeste-python/pull/311, https://github.com/dust-tt/dust/pull/27613
    """
    assert sent(name=name, reasoning_effort=given).get("reasoning_effort") == effort


def test_effort_of_model_to_come_is_left_to_vendor() -> None:
    request = relayed(name="mistral-medium-9", reasoning_effort="low")
    assert body_of(request)["reasoning_effort"] == "low"


def test_parts_of_prediction_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = sent(prediction={"type": "content", "content": parts})
    assert body["prediction"] == {"type": "content", "content": "ab"}


# --- messages ---------------------------------------------------------------------------------


def test_developer_is_system() -> None:
    given = {"role": "developer", "content": "Be brief."}
    assert messages_sent(given, USER) == [SYSTEM, USER]
    reported = ("developer messages are sent as system messages",)
    assert relayed(given, USER).adjustments == reported


def test_fields_of_other_vendors_messages_are_omitted() -> None:
    """https://github.com/danny-avila/LibreChat/issues/4866 (name),
    https://github.com/charmbracelet/crush/issues/1590 (reasoning_content),
    https://github.com/omnimind-ai/OmniBot/issues/301 (cache_control)
    """
    mark = {"cache_control": {"type": "ephemeral"}}
    part = {"type": "text", "text": "x"}
    answer: dict[str, Any] = {
        "refusal": None,
        "annotations": [],
        "reasoning_content": "r",
        "audio": None,
    }
    request = relayed(
        USER | {"name": "ann"} | mark,
        ANSWER | answer | {"tool_calls": []},
        {"role": "user", "content": [part | mark]},
        tools=[TOOL | mark],
    )
    body = body_of(request)
    assert mistral.faults(body) == []
    assert body["messages"] == [USER, ANSWER, {"role": "user", "content": [part]}]
    assert body["tools"] == [TOOL]
    assert set(request.adjustments) == {
        "name of messages is omitted",
        "cache_control of messages is omitted",
        "reasoning_content of messages is omitted",
        "cache_control is omitted",
    }


def test_refusal_becomes_text() -> None:
    given = {"role": "assistant", "content": None, "refusal": "No."}
    parts = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    answers = [
        message["content"] for message in messages_sent(USER, given, USER, parts, USER)[1::2]
    ]
    assert answers == ["No.", [{"type": "text", "text": "No."}]]


@pytest.mark.parametrize("late", ["assistant", "tool"])
def test_system_message_after_answer_is_put_first(late: str) -> None:
    """https://github.com/swarmauri/swarmauri-sdk/issues/162"""
    before = [USER, ANSWER] if late == "assistant" else [USER, called("a" * 9), result("a" * 9)]
    inner = {"role": "system", "content": "In French."}
    messages = messages_sent(SYSTEM, *before, inner, USER)
    assert messages[:2] == [SYSTEM, inner]
    assert [message["role"] for message in messages[2:]] == [m["role"] for m in [*before, USER]]
    assert messages_sent(USER, SYSTEM, ANSWER, USER) == [USER, SYSTEM, ANSWER, USER]


def test_last_answer_goes_on_as_it_does_at_other_vendors() -> None:
    """https://github.com/huggingface/smolagents/issues/757"""
    assert messages_sent(USER, ANSWER)[-1] == ANSWER | {"prefix": True}
    assert messages_sent(ANSWER) == [{"role": "user", "content": "."}, ANSWER | {"prefix": True}]
    assert "prefix" not in messages_sent(USER, ANSWER, USER)[1]


@pytest.mark.parametrize("content", ["", None, []])
def test_empty_answer_is_omitted(content: Any) -> None:
    """https://github.com/OpenHands/OpenHands/issues/8685"""
    assert messages_sent(USER, {"role": "assistant", "content": content}, USER) == [USER, USER]


def test_old_models_get_text_and_calls_in_turns() -> None:
    """https://github.com/langchain-ai/langchain/issues/21196"""
    turn = called("a" * 9, content="Let me see.")
    messages = messages_sent(USER, turn, result("a" * 9), name="open-mistral-nemo")
    assert [message.get("content") for message in messages] == [
        "Weather?",
        "Let me see.",
        None,
        "rain",
    ]
    assert messages_sent(USER, turn, result("a" * 9))[1]["content"] == "Let me see."


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "function", "name": "a", "content": "x"}, "messages[1].role function"),
        (
            {"role": "assistant", "function_call": {"name": "a", "arguments": ""}},
            "messages[1].function_call",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]},
            "messages[1].tool_calls[0] of type custom",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"filename": "a"}}]},
            "messages[1].content[0].file without file_data",
        ),
    ],
)
def test_message_without_counterpart_is_refused_by_name(message: Any, path: str) -> None:
    assert refusal(USER, message, USER).startswith(f"{path} is not supported by model {LARGE}")


# --- parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
            },
            {
                "type": "document_url",
                "document_url": "data:application/pdf;base64,AA",
                "document_name": "a.pdf",
            },
        ),
        (
            {"type": "file", "file": {"file_data": "AA"}},
            {"type": "document_url", "document_url": "data:application/pdf;base64,AA"},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            {"type": "input_audio", "input_audio": "AA"},
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:,", "detail": "original"}},
            {"type": "image_url", "image_url": {"url": "data:,", "detail": "high"}},
        ),
        (
            {"type": "image_url", "image_url": "https://example.org/a.png"},
            {"type": "image_url", "image_url": "https://example.org/a.png"},
        ),
    ],
)
def test_part_has_form_of_mistral(given: Any, expected: Any) -> None:
    """https://github.com/BerriAI/litellm/issues/25531, https://docs.mistral.ai/capabilities/audio/"""
    assert messages_sent({"role": "user", "content": [given]})[0]["content"] == [expected]


# --- tools ------------------------------------------------------------------------------------


def test_ids_of_tool_calls_are_nine_letters_and_digits() -> None:
    """https://github.com/anomalyco/opencode/issues/1680; the second turn uses the ids again, and
    two calls of a turn have the same one, as Gemini's clients name calls by their function.
    """
    ids = ["call_abc", "call-abc", "weather", "weather", "ninechars", ""]
    results = [result(each, content=f"{at}") for at, each in enumerate(ids)]
    turn = [USER, called(*ids), *results]
    messages = messages_sent(*turn, *turn)
    named = [call["id"] for call in messages[1]["tool_calls"]]
    assert [message["tool_call_id"] for message in messages[2:8]] == named
    assert len(set(named)) == len(ids)
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", each) for each in named)
    assert named[4] == "ninechars"
    assert messages[8:] == messages[:8]
    reported = ("ids of tool calls are replaced by nine letters and digits",)
    assert relayed(*turn).adjustments == reported


def test_new_id_differs_from_all_ids_of_caller() -> None:
    made = messages_sent(USER, called("call_1"), result("call_1"))[1]["tool_calls"][0]["id"]
    both = messages_sent(USER, called("call_1", made), result(made), result("call_1"))
    first, second = (call["id"] for call in both[1]["tool_calls"])
    assert (second, both[2]["tool_call_id"], both[3]["tool_call_id"]) == (made, made, first)
    assert first != made


def test_tools_have_parameters_without_identities() -> None:
    """https://github.com/mistralai/client-python/issues/91 (parameters),
    https://github.com/BerriAI/litellm/pull/13389 ($id and $schema)
    """
    bare = {"type": "function", "function": {"name": "a", "strict": None, "description": None}}
    named = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "x", **SCHEMA}
    tool = {"type": "function", "function": {"name": "b", "parameters": named}}
    functions = [each["function"] for each in sent(tools=[bare, tool])["tools"]]
    assert functions == [
        {"name": "a", "parameters": {"type": "object", "properties": {}}},
        {"name": "b", "parameters": SCHEMA},
    ]


def test_schema_of_answer_has_no_empty_fields() -> None:
    described = {"name": "a", "strict": None, "schema": {"$id": "x", **SCHEMA}}
    given = {"type": "json_schema", "json_schema": described}
    assert sent(response_format=given)["response_format"]["json_schema"] == {
        "name": "a",
        "schema": SCHEMA,
    }


@pytest.mark.parametrize(("mode", "choice"), [("auto", "auto"), ("required", "any")])
def test_only_allowed_tools_are_sent(mode: str, choice: str) -> None:
    """https://developers.openai.com/api/reference/resources/chat (allowed_tools)"""
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "time"}}]}
    given = {"type": "allowed_tools", "allowed_tools": allowed}
    body = sent(tools=[TOOL, OTHER], tool_choice=given)
    assert (body["tools"], body["tool_choice"]) == ([OTHER], choice)


def test_tool_of_type_custom_is_refused() -> None:
    custom = {"type": "custom", "custom": {"name": "grep"}}
    assert refusal(tools=[custom]).startswith("A tool of type custom is not supported")
    assert refusal(tools=[TOOL], tool_choice=custom).startswith("tool_choice of type custom")


def test_mistrals_own_request_is_sent_as_it_is() -> None:
    own: dict[str, Any] = {
        "temperature": 0.7,
        "top_p": 1,
        "random_seed": 5,
        "safe_prompt": True,
        "stop": ["\n"] * 5,
        "metadata": {"a": 1},
        "min_tokens": 3,
        "tools": [TOOL],
        "tool_choice": "any",
    }
    turn = [SYSTEM, USER, called("D681PevKs"), result("D681PevKs") | {"name": "weather"}]
    request = relayed(*turn, **own)
    assert own.items() <= body_of(request).items()
    assert body_of(request)["messages"] == turn
    assert request.adjustments == ()


# --- the native API ---------------------------------------------------------------------------


def test_native_call_is_within_limits_and_in_order() -> None:
    given = (Message("user", "Hi"), Message("assistant", "It"), Message("system", "Be brief."))
    ask = Message("user", "And?"), Message("assistant", "Well")
    call = ProviderCall(model=LARGE, messages=(*given, *ask), timeout_s=TIMEOUT_S, temperature=2)
    fit = fitted(call, "mistral")
    body = _request(fit, vendors()["mistral"].config)
    assert mistral.faults(body) == []
    assert body["temperature"] == 1.5
    assert [message["role"] for message in body["messages"]] == [
        *("system", "user", "assistant", "user", "assistant")
    ]
    assert len(fit.adjustments) == 3
    alone = fitted(ProviderCall(model=LARGE, messages=given[1:2], timeout_s=TIMEOUT_S), "mistral")
    assert mistral.faults(_request(alone, vendors()["mistral"].config)) == []
