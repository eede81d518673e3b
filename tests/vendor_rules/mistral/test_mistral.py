"""Each rule of Mistral's requests, with a body that keeps it and one that breaks it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.vendor_rules.mistral import body as mistral

ASK: Final = {"role": "user", "content": "Weather?"}
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"$id": {"type": "string"}}},
    },
}
CALL: Final = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "weather", "arguments": "{}"},
}
CALLS: Final = {"role": "assistant", "content": "", "tool_calls": [CALL]}
LONG_ID: Final = {**CALLS, "tool_calls": [{**CALL, "id": "call_1"}]}
RESULT: Final = {"role": "tool", "tool_call_id": "call00001", "content": "rain"}


def chat(*messages: Any, model: str = "mistral-large-latest", **fields: Any) -> dict[str, Any]:
    """Return a body."""
    return {"model": model, "messages": list(messages) or [ASK], **fields}


def part(**fields: Any) -> dict[str, Any]:
    """Return a body with one content part."""
    return chat({"role": "user", "content": [fields]})


def tool(**function: Any) -> dict[str, Any]:
    """Return a body with one tool."""
    return chat(tools=[{**TOOL, "function": {**TOOL["function"], **function}}])  # type: ignore[dict-item]  # a tool's function is an object


def answers_as(**json_schema: Any) -> dict[str, Any]:
    """Return a body with a schema for its answer."""
    return chat(response_format={"type": "json_schema", "json_schema": json_schema})


@pytest.mark.parametrize(
    "body",
    [
        chat(),
        chat(temperature=1.5, top_p=1, max_tokens=0, random_seed=0, n=2, stop=["\n"], stream=True),
        chat(temperature=0, top_p=1),
        chat(presence_penalty=-2, frequency_penalty=2, metadata={"any": 1}, safe_prompt=True),
        chat(prompt_cache_key="key", service_tier="standard_only", parallel_tool_calls=False),
        chat(prediction={"type": "content", "content": "text"}),
        chat(model="mistral-small-latest", reasoning_effort="high"),
        chat(model="mistral-medium-3-5", reasoning_effort="none"),
        chat(model="mistral-large-4-0", reasoning_effort="low"),
        chat(tools=[TOOL], tool_choice="any"),
        chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "weather"}}),
        chat(response_format={"type": "json_object"}),
        answers_as(name="answer", schema={}, strict=True),
        chat({"role": "system", "content": "Be brief."}, ASK, CALLS, RESULT),
        chat(ASK, CALLS, RESULT, ASK),
        chat(ASK, {"role": "assistant", "content": "It", "prefix": True}),
        part(type="text", text="x"),
        part(type="image_url", image_url="https://example.org/x.png"),
        part(type="image_url", image_url={"url": "data:image/png;base64,AA", "detail": "low"}),
        part(type="document_url", document_url="data:application/pdf;base64,AA"),
        part(type="input_audio", input_audio="AA"),
        part(type="file", file_id="3b6d45eb-e30b-416f-8019-f47e2e93d930"),
        part(type="thinking", thinking=[{"type": "text", "text": "x"}]),
    ],
)
def test_keeps_every_rule(body: dict[str, Any]) -> None:
    assert mistral.faults(body) == []


@pytest.mark.parametrize(
    "field",
    [
        *("seed", "user", "store", "logit_bias", "verbosity", "stream_options", "modalities"),
        *("max_completion_tokens", "functions", "function_call", "safety_identifier", "audio"),
        *("web_search_options", "prompt_cache_retention", "prompt_cache_options", "thinking"),
    ],
)
def test_field_of_another_vendor_is_refused(field: str) -> None:
    assert mistral.faults({**chat(), field: None})


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 1.6},
        {"temperature": -0.1},
        {"top_p": 0},
        {"temperature": 0, "top_p": 0.5},
        {"random_seed": -1},
        {"max_tokens": "5"},
        {"n": 0},
        {"presence_penalty": 2.1},
        {"stop": [1]},
        {"stream": None},
        {"parallel_tool_calls": None},
        {"service_tier": "default"},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
        {"prompt_mode": "reasoning"},
        {"reasoning_effort": "none"},
        {"tool_choice": None},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
        {"response_format": None},
        {"response_format": {"type": "json_schema"}},
    ],
)
def test_field_out_of_its_limits_is_refused(fields: dict[str, Any]) -> None:
    assert mistral.faults(chat(**fields))


@pytest.mark.parametrize(
    "body",
    [
        chat(model="mistral-small-latest", reasoning_effort="low"),
        answers_as(name="answer"),
        answers_as(name="answer", schema={}, strict=None),
        tool(name="a.b"),
        tool(name="n" * 65),
        tool(parameters=None),
        tool(strict=None),
        tool(required=["x"]),
        tool(parameters={"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}),
        tool(parameters={"type": "object", "properties": {"n": {"exclusiveMinimum": True}}}),
        chat(tools=[{"type": "function", "function": {"name": "weather"}}]),
        chat(tools=[{"type": "custom", "custom": {"name": "grep"}}]),
    ],
)
def test_wrong_effort_schema_or_tool_is_refused(body: dict[str, Any]) -> None:
    assert mistral.faults(body)


@pytest.mark.parametrize(
    "messages",
    [
        ({"role": "developer", "content": "Be brief."}, ASK),
        ({**ASK, "name": "ada"},),
        ({"role": "system", "content": None}, ASK),
        (ASK, {"role": "assistant", "content": "It rains."}),
        (ASK, {"role": "assistant", "content": "a", "refusal": None}, ASK),
        (ASK, {"role": "assistant", "content": "a", "reasoning_content": "b"}, ASK),
        (ASK, {"role": "assistant", "content": "a", "prefix": True}, ASK),
        (ASK, {"role": "assistant", "content": ""}, ASK),
        (ASK, {"role": "assistant", "content": "a"}, {"role": "system", "content": "b"}, ASK),
        (ASK, RESULT),
        (ASK, CALLS, ASK),
        (ASK, CALLS, RESULT, RESULT),
        (ASK, {**CALLS, "tool_calls": [CALL, CALL]}, RESULT, RESULT),
        (ASK, LONG_ID, {**RESULT, "tool_call_id": "call_1"}),
        (ASK, CALLS, {**RESULT, "name": "a b"}),
        (ASK, CALLS, {"role": "tool", "content": "rain"}),
    ],
)
def test_wrong_turn_is_refused(messages: tuple[dict[str, Any], ...]) -> None:
    assert mistral.faults(chat(*messages))


@pytest.mark.parametrize(
    "body",
    [
        part(type="text", text="x", cache_control={"type": "ephemeral"}),
        part(type="image_url", image_url={"url": "x", "detail": "original"}),
        part(type="input_audio", input_audio={"data": "AA", "format": "wav"}),
        part(type="file", file={"filename": "a.pdf", "file_data": "data:application/pdf;base64,"}),
        part(type="refusal", refusal="No."),
        chat({"role": "system", "content": [{"type": "image_url", "image_url": "x"}]}, ASK),
    ],
)
def test_wrong_part_is_refused(body: dict[str, Any]) -> None:
    assert mistral.faults(body)


def test_old_model_says_or_calls() -> None:
    both = {**CALLS, "content": "Let me see."}
    assert mistral.faults(chat(ASK, both, RESULT)) == []
    assert mistral.faults(chat(ASK, both, RESULT, model="open-mistral-nemo"))


@pytest.mark.parametrize(
    ("fields", "is_accepted"),
    [
        ({"input": "text"}, True),
        ({"input": ["a", "b"], "encoding_format": "base64", "output_dtype": "float"}, True),
        ({"input": "text", "model": "codestral-embed", "output_dimension": 3072}, True),
        ({"input": "text", "model": "codestral-embed", "output_dimension": 3073}, False),
        ({"input": "text", "output_dimension": 512}, False),
        ({"input": "text", "dimensions": 512}, False),
        ({"input": "text", "user": "ada"}, False),
        ({"input": [1, 2]}, False),
        ({"input": "text", "encoding_format": None}, False),
        ({}, False),
    ],
)
def test_embeddings(fields: dict[str, Any], is_accepted: bool) -> None:
    assert (mistral.embeddings_faults({"model": "mistral-embed", **fields}) == []) is is_accepted
