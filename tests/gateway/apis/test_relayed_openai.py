"""Relayed chat completions to OpenAI: what its model families refuse is not sent."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.families.fitting import fitted
from gateway.core.calls import ProviderCall, RelayRequest
from gateway.core.errors import Refused
from gateway.core.messages import Message
from gateway.core.usage_bound import OutputLimits
from gateway.providers.adapters.openai import _request
from gateway.providers.vendors import vendors
from tests.gateway.arrivals import TIMEOUT_S, body_of, model, read
from tests.gateway.arrivals import sent as sent_to
from tests.vendor_rules.openai import body as openai

USER = {"role": "user", "content": "Weather?"}
TOOL = {"type": "function", "function": {"name": "weather"}}


def relayed(name: str, *messages: Any, **fields: Any) -> RelayRequest:
    body = {"model": name, "messages": list(messages) or [USER], **fields}
    return sent_to(read(ChatCompletions(), body), model(name))


def sent(name: str, *messages: Any, **fields: Any) -> dict[str, Any]:
    """Return the body that is sent, after a check that the vendor accepts it."""
    body: dict[str, Any] = body_of(relayed(name, *messages, **fields))
    assert openai.faults(body) == []
    return body


def refusal(name: str, **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        relayed(name, **fields)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    return refused.value.message


def reported(name: str, **fields: Any) -> tuple[str, ...]:
    return relayed(name, **fields).adjustments


# --- sampling ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "effort", "is_sent"),
    [
        ("gpt-4o-mini", None, True),
        ("gpt-4.1", None, True),
        ("gpt-5-chat-latest", None, True),
        ("gpt-99x", None, False),  # read as its generation
        ("chat-latest", None, True),  # whatever it is
        ("o1", None, False),
        ("o3-mini", None, False),
        ("o4-mini-2025-04-16", None, False),
        ("gpt-5", None, False),
        ("gpt-5-mini", "minimal", False),
        ("gpt-5.1", None, True),
        ("gpt-5.1", "none", True),
        ("gpt-5.1", "low", False),
        ("gpt-5.2-chat-latest", None, False),
        ("gpt-5.5", None, False),
        ("gpt-5.5", "none", True),
        ("gpt-6-astra", None, False),
        ("gpt-4o-search-preview", None, False),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", None, True),
        ("ft:o4-mini-2025-04-16:acme::x", None, False),
    ],
)
def test_sampling_is_sent_only_where_it_is_accepted(
    name: str, effort: str | None, is_sent: bool
) -> None:
    """https://developers.openai.com/api/docs/guides/latest-model (parameter compatibility),
    https://github.com/BerriAI/litellm-docs/pull/1064 (measured), https://github.com/vercel/ai/pull/5647
    """
    fields = {"temperature": 0.5, "top_p": 0.9}
    more = {} if effort is None else {"reasoning_effort": effort}
    body = (
        sent(name, **fields, **more)
        if model(name).id != "chat-latest"
        else body_of(relayed(name, **fields))
    )
    assert (fields.items() <= body.items()) is is_sent
    omitted = ("temperature is omitted", "top_p is omitted")
    assert reported(name, **fields, **more) == (() if is_sent else omitted)


def test_penalties_are_omitted_for_reasoning_models() -> None:
    """https://github.com/oracle/ai-optimizer/issues/240"""
    given = {"frequency_penalty": 0.5, "presence_penalty": 0}
    assert not given.keys() & sent("gpt-5", **given).keys()
    assert given.items() <= sent("gpt-4o", **given).items()


@pytest.mark.parametrize(
    "fields", [{"n": 2}, {"logprobs": True}, {"logit_bias": {"1": 1}}, {"stop": ["x"]}]
)
def test_field_that_changes_meaning_is_left_to_vendor(fields: dict[str, Any]) -> None:
    assert fields.items() <= body_of(relayed("o3", **fields)).items()
    assert reported("o3", **fields) == ()


@pytest.mark.parametrize(
    "fields", [{"logit_bias": {}}, {"logprobs": False}, {"modalities": ["text"]}, {"stop": []}]
)
def test_field_without_effect_is_omitted_for_reasoning_models(fields: dict[str, Any]) -> None:
    """https://github.com/BerriAI/litellm/pull/21576"""
    assert not fields.keys() & sent("gpt-5", **fields).keys()


# --- cap, storage, effort ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o1", "o3-mini", "gpt-5", "gpt-5.2-chat-latest", "gpt-6-luna"])
def test_cap_has_name_for_reasoning_models(name: str) -> None:
    """https://github.com/langchain-ai/langchainjs/issues/8641"""
    body = sent(name, max_tokens=7)
    assert ("max_tokens" in body, body["max_completion_tokens"]) == (False, 7)
    assert relayed(name, max_tokens=7).output == OutputLimits(max_tokens=7)
    assert sent("gpt-4o", max_tokens=7)["max_tokens"] == 7


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-5"])
def test_cap_is_named_once(name: str) -> None:
    """https://github.com/langchain-ai/langgraph/issues/5943"""
    request = relayed(name, max_tokens=9, max_completion_tokens=7)
    assert openai.faults(body_of(request)) == []
    assert request.output == OutputLimits(max_tokens=7)
    assert request.adjustments == ("max_tokens is omitted",)


def test_nothing_is_stored_and_no_metadata_is_sent() -> None:
    """https://github.com/tmc/langchaingo/issues/1484"""
    body = sent("gpt-4o", store=True, metadata={"a": "b"})
    assert (body["store"], "metadata" in body) == (False, False)
    assert reported("gpt-4o", metadata={"a": "b"}) == ("metadata is omitted",)


@pytest.mark.parametrize(
    ("name", "given", "effort"),
    [
        ("o3", "none", "low"),
        ("o3", "minimal", "low"),
        ("o4-mini", "xhigh", "high"),
        ("gpt-5", "none", "minimal"),
        ("gpt-5", "minimal", "minimal"),
        ("gpt-5", "max", "high"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.1", "xhigh", "high"),
        ("gpt-5.2", "max", "xhigh"),
        ("gpt-5.2-chat-latest", "high", "medium"),
        ("gpt-6-astra", "none", "low"),
        ("gpt-4o", "low", None),
        ("gpt-5-chat-latest", "low", None),
        ("o1-mini", "low", None),
        ("gpt-5.1", None, None),
        ("chat-latest", "minimal", "minimal"),
    ],
)
def test_nearest_accepted_effort_is_sent(name: str, given: str | None, effort: str | None) -> None:
    """https://github.com/enricoros/big-AGI/issues/944, https://github.com/anomalyco/opencode/pull/26268,
    https://github.com/livekit/agents/pull/7169 (max),
    https://github.com/livekit/agents/pull/3966 (null)
    """
    request = relayed(name, reasoning_effort=given)
    assert body_of(request).get("reasoning_effort") == effort
    assert bool(request.adjustments) is (given != effort)
    assert openai.faults(body_of(request)) == []


# --- tools ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "effort"),
    [
        ("gpt-5.2", "high", "high"),
        ("gpt-5.4", None, None),
        ("gpt-5.4", "high", "none"),
        ("gpt-5.5", None, "none"),
        ("gpt-5.6-sol", None, "none"),
        ("gpt-6-luna", "none", "none"),
    ],
)
def test_tools_that_need_it_are_sent_without_effort(
    name: str, given: str | None, effort: str | None
) -> None:
    """https://github.com/openai/openai-openapi/issues/541, https://github.com/BerriAI/litellm/pull/34569"""
    more = {} if given is None else {"reasoning_effort": given}
    assert sent(name, tools=[TOOL], **more).get("reasoning_effort") == effort


@pytest.mark.parametrize("name", ["gpt-6-astra", "gpt-6.1-sol"])
def test_tools_of_models_that_always_reason_are_refused(name: str) -> None:
    """https://developers.openai.com/api/docs/guides/deployment-checklist"""
    expected = f"Model {name} takes function tools at /v1/responses only"
    assert refusal(name, tools=[TOOL]) == expected


@pytest.mark.parametrize(
    ("name", "tools", "is_sent"),
    [
        ("gpt-4o", [TOOL], True),
        ("gpt-4o", None, False),
        ("gpt-4o", [], False),
        ("o3", [TOOL], False),
    ],
)
def test_parallel_tool_calls_need_tools_and_support(name: str, tools: Any, is_sent: bool) -> None:
    """https://github.com/openai/swarm/issues/30, https://github.com/evalstate/fast-agent/issues/279,
    https://github.com/patterns-ai-core/langchainrb/pull/921 (null)
    """
    assert ("parallel_tool_calls" in sent(name, tools=tools, parallel_tool_calls=True)) is is_sent
    assert "parallel_tool_calls" not in sent(name, tools=tools, parallel_tool_calls=None)


def test_long_ids_of_tool_calls_are_shortened_alike_in_call_and_result() -> None:
    """https://github.com/vercel/ai/issues/5171, https://github.com/pydantic/pydantic-ai/issues/4389"""
    ids = ["x" * 41, "x" * 42, "call_1", "call_1"]
    calls = [
        {"id": each, "type": "function", "function": {"name": "a", "arguments": "{}"}}
        for each in ids
    ]
    results = [
        {"role": "tool", "tool_call_id": each, "content": f"{at}"} for at, each in enumerate(ids)
    ]
    turn = [USER, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    messages = sent("gpt-4o", *turn, *turn)["messages"]
    called = [call["id"] for call in messages[1]["tool_calls"]]
    assert [message["tool_call_id"] for message in messages[2:6]] == called
    assert len(set(called)) == 4
    assert called[2] == "call_1"
    # The same in every turn, so that the conversation's prefix stays in the vendor's cache.
    assert messages[6:] == messages[:6]
    assert reported("gpt-4o", messages=turn[:2]) == ("ids of tool calls are shortened",)


# --- the rest ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_sent"),
    [("gpt-4o", False), ("gpt-5-chat-latest", False), ("gpt-5", True), ("o3", True)],
)
def test_verbosity_is_sent_only_where_it_is_accepted(name: str, is_sent: bool) -> None:
    """https://github.com/google-deepmind/concordia/issues/164, https://github.com/theopenco/llmgateway/pull/2989;
    of the o-series it is not certain, and it is sent.
    """
    assert ("verbosity" in sent(name, verbosity="low")) is is_sent


@pytest.mark.parametrize(
    ("name", "fields", "is_sent"),
    [
        ("gpt-4o", {"prompt_cache_options": {"mode": "explicit"}}, False),
        ("gpt-5.6-sol", {"prompt_cache_options": {"mode": "explicit"}}, True),
        ("gpt-5.4", {"prompt_cache_retention": "in_memory"}, True),
        ("gpt-5.5", {"prompt_cache_retention": "in_memory"}, False),
        ("gpt-5.5", {"prompt_cache_retention": "24h"}, True),
        ("gpt-4o", {"cache_control": {"type": "ephemeral"}}, False),
    ],
)
def test_cache_settings_are_sent_only_where_they_are_accepted(
    name: str, fields: dict[str, Any], is_sent: bool
) -> None:
    """https://developers.openai.com/api/docs/guides/prompt-caching"""
    assert (fields.keys() <= sent(name, **fields).keys()) is is_sent


def test_markers_of_other_caches_are_not_sent() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    part = {"type": "text", "text": "x"}
    request = relayed(
        "gpt-4o", {"role": "user", "content": [part | mark]}, USER | mark, tools=[TOOL | mark]
    )
    body = body_of(request)
    assert body["messages"] == [{"role": "user", "content": [part]}, USER]
    assert body["tools"] == [TOOL]
    assert request.adjustments == ("cache_control is omitted",)


def test_first_reasoning_models_get_instructions_as_questions() -> None:
    """https://github.com/rksm/org-ai/issues/130"""
    given = [{"role": role, "content": "Be brief."} for role in ("system", "developer")]
    messages = sent("o1-mini", *given, USER)["messages"]
    assert [message["role"] for message in messages] == ["user", "user", "user"]
    assert relayed("o1", *given).adjustments == ()


@pytest.mark.parametrize("name", ["gpt-5-pro", "gpt-5.3-codex", "o1-pro", "o3-deep-research"])
def test_model_of_another_api_is_refused_by_name(name: str) -> None:
    """https://developers.openai.com/api/docs/models/o1-pro (endpoints),
    https://github.com/docker/docker-agent/issues/313. The SDK's list has gpt-5.1-codex and
    gpt-5.2-pro as models of this API; their pages do not.
    """
    sentence = f"Model {name} is available at /v1/responses only"
    assert refusal(name) == sentence
    with pytest.raises(Refused, match=sentence):
        fitted(native(name), "openai")


def test_unknown_model_and_field_pass_untouched() -> None:
    given = {"temperature": 0.5, "max_tokens": 5, "reasoning_effort": "max", "unheard_of": [None]}
    assert given.items() <= body_of(relayed("gpt-oss-120b", **given)).items()
    assert reported("gpt-oss-120b", **given) == ()


# --- the native API ---------------------------------------------------------------------------


def native(name: str, **more: Any) -> ProviderCall:
    return ProviderCall(model=name, messages=(Message("user", "Hi"),), timeout_s=TIMEOUT_S, **more)


@pytest.mark.parametrize(
    ("name", "is_sent"),
    [("gpt-4o", True), ("gpt-5.1", True), ("o3", False), ("gpt-5", False), ("gpt-6-luna", False)],
)
def test_native_temperature_is_sent_only_where_it_is_accepted(name: str, is_sent: bool) -> None:
    """https://developers.openai.com/api/docs/guides/latest-model (parameter compatibility)"""
    call = fitted(native(name, temperature=0.5), "openai")
    assert (call.temperature == 0.5) is is_sent
    assert call.adjustments == (() if is_sent else ("temperature is omitted",))


@pytest.mark.parametrize(
    "name",
    [
        *("gpt-4o", "gpt-4.1-mini", "gpt-4o-search-preview", "o1", "o1-mini", "o3-mini", "o4-mini"),
        *("gpt-5", "gpt-5-chat-latest", "gpt-5.1", "gpt-5.2-chat-latest", "gpt-5.5", "gpt-6-astra"),
    ],
)
def test_native_request_keeps_rules_of_every_family(name: str) -> None:
    messages = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "It"))
    call = ProviderCall(
        model=name, messages=messages, timeout_s=TIMEOUT_S, temperature=2, max_output_tokens=5
    )
    assert openai.faults(_request(fitted(call, "openai"), vendors()["openai"].config)) == []
