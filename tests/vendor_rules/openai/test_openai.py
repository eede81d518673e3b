"""Each rule of OpenAI's requests, with a body that keeps it and one that breaks it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.vendor_rules.openai import body as openai

ASK: Final = {"role": "user", "content": "Weather?"}
TOOL: Final = {"type": "function", "function": {"name": "weather"}}
CALL: Final = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": "{}"},
}
CALLS: Final = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT: Final = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
IMAGE: Final = {
    "role": "user",
    "content": [{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}],
}
SOUND: Final = {
    "role": "user",
    "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}],
}
SCHEMA: Final = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}


def faults(model: str = "gpt-4o", *messages: Any, **fields: Any) -> list[str]:
    """Return the faults of a body."""
    return openai.faults({"model": model, "messages": list(messages) or [ASK], **fields})


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        ({"temperature": 2}, {"temperature": 2.1}),
        ({"top_p": 0}, {"top_p": 1.1}),
        ({"frequency_penalty": -2}, {"frequency_penalty": -2.1}),
        ({"n": 128}, {"n": 129}),
        ({"logprobs": True, "top_logprobs": 20}, {"top_logprobs": 1}),
        ({"logit_bias": {"50256": -100}}, {"logit_bias": {"50256": -101}}),
        ({"stop": ["a", "b", "c", "d"]}, {"stop": ["a", "b", "c", "d", "e"]}),
        ({"max_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 5}),
        ({"stream": True, "stream_options": {}}, {"stream_options": {}}),
        ({"user": "u" * 64}, {"user": "u" * 65}),
        ({"prompt_cache_key": "k" * 64}, {"prompt_cache_key": "k" * 65}),
        ({"store": True, "metadata": {"a": "b"}}, {"store": False, "metadata": {"a": "b"}}),
        (
            {"store": True, "metadata": {"a": "b" * 512}},
            {"store": True, "metadata": {"a": "b" * 513}},
        ),
        ({"tools": [TOOL] * 128}, {"tools": [TOOL] * 129}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tools": [TOOL], "parallel_tool_calls": True}, {"parallel_tool_calls": True}),
        ({"tools": [TOOL]}, {"tools": [{"type": "function", "function": {"name": "a.b"}}]}),
        ({"response_format": SCHEMA}, {"response_format": {"type": "json_schema"}}),
        ({"response_format": {"type": "text"}}, {"response_format": {"type": "json_object"}}),
        (
            {"prediction": {"type": "content", "content": "x"}},
            {"prediction": {"type": "content", "content": "x"}, "tools": [TOOL]},
        ),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"seed": -1}, {"random_seed": 1}),
        ({"verbosity": "medium"}, {"verbosity": "low"}),
        ({}, {"reasoning_effort": "low"}),
        ({}, {"prompt_cache_options": {"ttl": "30m"}}),
    ],
)
def test_rule_of_every_model(accepted: dict[str, Any], refused: dict[str, Any]) -> None:
    assert faults(**accepted) == []
    assert faults(**refused)


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("o1", "low medium high"),
        ("o4-mini-2025-04-16", "low medium high"),
        ("o1-mini", ""),
        ("gpt-4.1", ""),
        ("gpt-5-chat-latest", ""),
        ("gpt-5-search-api", ""),
        ("gpt-5-mini", "minimal low medium high"),
        ("gpt-5.1", "none low medium high"),
        ("gpt-5.2-chat-latest", "medium"),
        ("gpt-5.4", "none low medium high xhigh"),
        ("gpt-5.6-luna", "none low medium high xhigh"),
        ("gpt-6-sol", "none low medium high xhigh"),
        ("gpt-6-astra", "low medium high xhigh"),
        ("gpt-6.1-sol", "low medium high xhigh"),
    ],
)
def test_model_accepts_its_efforts_only(model: str, efforts: str) -> None:
    every = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    accepted = [each for each in every if not faults(model, reasoning_effort=each)]
    assert accepted == efforts.split()


@pytest.mark.parametrize(
    ("model", "effort", "is_accepted"),
    [
        ("gpt-4o", None, True),
        ("gpt-5-chat-latest", None, True),
        ("o3", None, False),
        ("gpt-5", None, False),
        ("gpt-5.1", None, True),
        ("gpt-5.2", "low", False),
        ("gpt-5.5", None, False),
        ("gpt-5.5", "none", True),
        ("gpt-6-luna", "none", True),
        ("gpt-6-astra", None, False),
        ("gpt-4o-search-preview", None, False),
    ],
)
def test_temperature_needs_model_without_reasoning(
    model: str, effort: str | None, is_accepted: bool
) -> None:
    fields = {"reasoning_effort": effort} if effort else {}
    assert (faults(model, temperature=0.5, **fields) == []) is is_accepted


@pytest.mark.parametrize(
    ("model", "effort", "is_accepted"),
    [
        ("gpt-5.2", "high", True),
        ("gpt-5.4", None, True),
        ("gpt-5.4", "low", False),
        ("gpt-5.6-terra", None, False),
        ("gpt-5.6-terra", "none", True),
        ("gpt-6-sol", "none", True),
        ("gpt-6-astra", "low", False),
    ],
)
def test_tools_need_no_effort_from_5_4_on(
    model: str, effort: str | None, is_accepted: bool
) -> None:
    fields = {"reasoning_effort": effort} if effort else {}
    assert (faults(model, tools=[TOOL], **fields) == []) is is_accepted


@pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5-mini", "gpt-5.1", "gpt-6-luna"])
@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 5},
        {"stop": "x"},
        {"presence_penalty": 1},
        {"logit_bias": {"1": 1}},
        {"web_search_options": {}},
        {"prediction": {"type": "content", "content": "x"}},
        {"reasoning_effort": "high", "top_p": 0.5},
        {"reasoning_effort": "high", "logprobs": True},
    ],
)
def test_reasoning_model_refuses(model: str, fields: dict[str, Any]) -> None:
    assert faults(model, max_completion_tokens=5) == []
    assert faults(model, **fields)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("o3-mini", {"temperature": 1}),
        ("o1", {"tools": [TOOL], "parallel_tool_calls": False}),
        ("o1-mini", {"tools": [TOOL]}),
        ("o1-preview", {"n": 2}),
        ("o1-preview", {"response_format": SCHEMA}),
        ("gpt-5", {"modalities": ["text"]}),
        ("gpt-5.1", {"reasoning_effort": None}),
        ("gpt-5.5", {"prompt_cache_retention": "in_memory"}),
        ("gpt-4-turbo", {"response_format": SCHEMA}),
        ("gpt-5-chat-latest", {"verbosity": "high"}),
        ("gpt-5-search-api", {"tools": [TOOL]}),
        ("gpt-4o-search-preview", {"n": 2}),
        ("gpt-audio", {}),
        ("gpt-audio", {"modalities": ["text", "audio"]}),
    ],
)
def test_family_refuses(model: str, fields: dict[str, Any]) -> None:
    assert faults(model, **fields)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("o1", {"stop": "x"}),
        ("o3-mini", {"stop": "x"}),
        ("o3", {"temperature": 1}),
        ("gpt-5", {"verbosity": "low"}),
        ("gpt-5.6", {"prompt_cache_options": {"ttl": "30m"}}),
        ("ft:gpt-4o-mini-2024-07-18:acme::id", {"temperature": 0, "max_tokens": 5}),
        ("gpt-4o-search-preview", {"web_search_options": {}}),
        ("gpt-audio", {"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}),
        ("chat-latest", {"reasoning_effort": "medium"}),
    ],
)
def test_family_accepts(model: str, fields: dict[str, Any]) -> None:
    assert faults(model, **fields) == []


@pytest.mark.parametrize(
    "model", ["gpt-5-codex", "gpt-5.3-codex", "gpt-5.5-pro", "o1-pro", "o3-deep-research"]
)
def test_model_of_responses_api_is_refused(model: str) -> None:
    assert faults(model)


@pytest.mark.parametrize(
    ("model", "messages"),
    [
        ("gpt-4o", ({"role": "developer", "content": "Be brief."}, ASK, CALLS, RESULT)),
        ("gpt-4o", (ASK, {"role": "assistant", "content": "It rains."})),
        ("gpt-4o", (IMAGE,)),
        ("gpt-audio", (SOUND,)),
    ],
)
def test_conversation_is_accepted(model: str, messages: tuple[dict[str, Any], ...]) -> None:
    assert faults(model, *messages) == []


@pytest.mark.parametrize(
    ("model", "messages"),
    [
        ("gpt-4o", ({"role": "unknown", "content": "x"},)),
        ("gpt-4o", ({"role": "user", "content": None},)),
        ("gpt-4o", ({"role": "user", "content": []},)),
        ("gpt-4o", ({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]},)),
        ("gpt-4o", ({"role": "system", "content": IMAGE["content"]},)),
        ("gpt-4o", (ASK, {"role": "assistant"})),
        ("gpt-4o", (ASK, {**CALLS, "tool_calls": []})),
        ("gpt-4o", (ASK, {**CALLS, "tool_calls": [{**CALL, "id": "i" * 41}]})),
        ("gpt-4o", (ASK, RESULT)),
        ("gpt-4o", (ASK, CALLS, ASK)),
        ("gpt-4o", (ASK, CALLS)),
        ("o1-mini", ({"role": "system", "content": "Be brief."}, ASK)),
        ("o3-mini", (IMAGE,)),
    ],
)
def test_conversation_is_refused(model: str, messages: tuple[dict[str, Any], ...]) -> None:
    assert faults(model, *messages)
