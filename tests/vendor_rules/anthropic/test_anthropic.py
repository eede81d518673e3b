"""The checker of Anthropic's request rules: for each rule a body that is accepted, and one not."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.vendor_rules.anthropic.body import faults

OLDER: Final = "2023-06-01"
HI: Any = {"role": "user", "content": "Hi"}
PIXEL: Final = "iVBORw0KGgo="
TOOL: Any = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
USE: Any = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "a", "content": "ok"}
TALK: Any = [HI, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}]
ANY: Any = {"tools": [TOOL], "tool_choice": {"type": "any"}}
CLOSED: Any = {"type": "object", "properties": {}, "additionalProperties": False}
EPHEMERAL: Any = {"type": "ephemeral"}
HOUR: Any = {"type": "ephemeral", "ttl": "1h"}


def body(model: str = "claude-opus-4-6", **fields: Any) -> dict[str, Any]:
    """Return a body; a field that is None is omitted."""
    given = {"model": model, "max_tokens": 5000, "messages": [HI], **fields}
    return {name: value for name, value in given.items() if value is not None}


def user(*blocks: Any) -> list[Any]:
    return [{"role": "user", "content": [*blocks]}]


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def budget(tokens: int = 1024) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


def effort(value: str, thinking: str | None = None) -> dict[str, Any]:
    more = {} if thinking is None else {"thinking": {"type": thinking}}
    return {"output_config": {"effort": value}, **more}


def wanted(schema: Any) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def holding(schema: Any) -> dict[str, Any]:
    """Return the output format of an object with one required property of that schema."""
    return wanted({**CLOSED, "properties": {"x": schema}, "required": ["x"]})


def image(source: Any) -> list[Any]:
    return user({"type": "image", "source": source})


def document(source: Any) -> list[Any]:
    return user({"type": "document", "source": source})


def tool(name: str = "look", **schema: Any) -> dict[str, Any]:
    return {"tools": [{"name": name, "input_schema": {"type": "object", **schema}}]}


def strict(count: int) -> dict[str, Any]:
    each = {"input_schema": CLOSED, "strict": True}
    return {"tools": [{"name": f"t{index}", **each} for index in range(count)]}


def marked(count: int) -> dict[str, Any]:
    return {"messages": user(*(text("x", cache_control=EPHEMERAL) for _ in range(count)))}


BASE64: Any = {"type": "base64", "media_type": "image/png", "data": PIXEL}
PDF: Any = {"type": "base64", "media_type": "application/pdf", "data": PIXEL}
UNION: Any = {"type": ["string", "null"]}
DEFINED: Any = {"$defs": {"a": {"type": "string"}}, "anyOf": [{"$ref": "#/$defs/a"}]}
RECURSIVE: Any = {
    **CLOSED,
    "properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["child"],
}

ACCEPTED: Any = {
    "least": body(),
    "all options": body(
        metadata={"user_id": "u" * 512},
        inference_geo="global",
        service_tier="standard_only",
        stop_sequences=["END"],
        stream=True,
        system=[text("Be brief")],
    ),
    "unknown model": body("claude-next", max_tokens=900_000),
    "most tokens": body(max_tokens=128_000),
    "filling the cache": body(max_tokens=0),
    "adaptive": body(**effort("max", "adaptive")),
    "effort of 4.5": body("claude-opus-4-5-20251101", **effort("high")),
    "xhigh from 4.7": body("claude-opus-4-7", **effort("xhigh", "adaptive")),
    "no thinking": body("claude-opus-5", **effort("high", "disabled")),
    "between tools": body("claude-sonnet-5-5", thinking={"type": "between_tools"}),
    "budget": body("claude-sonnet-4-5", thinking=budget(4999)),
    "forced tool": body(**ANY, **effort("low", "adaptive")),
    "forced tool of Haiku 5.5": body("claude-haiku-5-5", **ANY),
    "named tool": body(tools=[TOOL], tool_choice={"type": "tool", "name": "look"}),
    "no tool": body(tools=[TOOL], tool_choice={"type": "none"}),
    "tool results": body(messages=TALK, tools=[TOOL]),
    "text after results": body(messages=[*TALK, HI], tools=[TOOL]),
    "assistant first": body(messages=[{"role": "assistant", "content": "Hello"}, HI]),
    "two turns of a user": body(messages=[HI, HI]),
    "prefill": body("claude-haiku-4-5", messages=[HI, {"role": "assistant", "content": "{"}]),
    "system within": body("claude-opus-4-8", messages=[HI, {"role": "system", "content": "x"}]),
    "empty result": body(
        messages=[*TALK[:2], *user({**RESULT, "content": ""})],
        tools=[TOOL],
    ),
    "image": body(messages=image(BASE64)),
    "image at a URL": body(messages=image({"type": "url", "url": "https://a.example/b.png"})),
    "PDF": body(messages=document(PDF)),
    "text document": body(
        messages=document({"type": "text", "media_type": "text/plain", "data": "x"})
    ),
    "4 breakpoints": body(**marked(4)),
    "1h before 5m": body(
        system=[text("x", cache_control=HOUR)],
        messages=user(text("x", cache_control=EPHEMERAL)),
    ),
    "automatic breakpoint": body(cache_control=EPHEMERAL, **marked(3)),
    "longest tool name": body(**tool("a" * 128)),
    "tool with limits": body(**tool(properties={"a.b": {"type": "integer", "minimum": 1}})),
    "20 strict tools": body(**strict(20)),
    "schema": body(**holding({"type": "string", "format": "uuid", "pattern": "^a+$"})),
    "schema with definitions": body(**wanted(DEFINED)),
    "24 optional": body(
        **wanted({**CLOSED, "properties": {f"p{n}": {"type": "string"} for n in range(24)}})
    ),
}

# Fields of a body that is rejected, by what its fault says.
REJECTED: Any = [
    ("max_tokens is required", body(max_tokens=None)),
    ("messages is required", body(messages=None)),
    ("model has a wrong", body("")),
    ("best_of: extra", body(best_of=1)),
    ("max_tokens has a wrong", body(max_tokens=-1)),
    ("max_tokens has a wrong", body(max_tokens=True)),
    ("128000", body(max_tokens=128_001)),
    ("64000", body("claude-3-7-sonnet-20250219", max_tokens=64_001)),
    ("32000", body("claude-opus-4-1-20250805", max_tokens=32_001)),
    ("8192", body("claude-3-5-haiku-20241022", max_tokens=8193)),
    ("4096", body("claude-3-opus-20240229")),
    ("streamed", body(max_tokens=0, stream=True)),
    ("force a tool", body(max_tokens=0, **ANY)),
    ("thinking.type must be", body(thinking={"type": "on"})),
    ("budget_tokens is required", body(thinking={"type": "enabled"})),
    ("display: extra", body(thinking={"type": "disabled", "display": "omitted"})),
    ("enabled", body("claude-opus-4-7", thinking=budget())),
    ("enabled", body("claude-3-5-haiku-20241022", thinking=budget())),
    ("adaptive", body("claude-sonnet-4-5", thinking={"type": "adaptive"})),
    *(
        ("disabled", body(model, thinking={"type": "disabled"}))
        for model in ("claude-fable-5", "claude-mythos-5-2", "claude-opus-5-5", "claude-sonnet-5-5")
    ),
    ("between_tools", body(thinking={"type": "between_tools"})),
    ("at least 1024", body("claude-sonnet-4-5", thinking=budget(1023))),
    ("greater than", body("claude-sonnet-4-5", thinking=budget(5000))),
    ("effort has a wrong", body(**effort("minimal"))),
    ("effort parameter", body("claude-haiku-4-5", **effort("low"))),
    ("effort level xhigh", body(**effort("xhigh"))),
    ("effort level max", body("claude-opus-4-5", **effort("max"))),
    ("thinking is disabled", body("claude-opus-5", **effort("max", "disabled"))),
    ("thinking is disabled", body("claude-sonnet-5-5", **effort("xhigh", "between_tools"))),
    ("tool_choice.type", body(tools=[TOOL], tool_choice={"type": "required"})),
    ("while providing tools", body(tool_choice={"type": "auto"})),
    ("not found", body(tools=[TOOL], tool_choice={"type": "tool", "name": "x"})),
    ("forces tool use", body("claude-sonnet-4-5", thinking=budget(), **ANY)),
    *(
        ('"tool" and "any"', body(model, **ANY))
        for model in ("claude-fable-5-1", "claude-opus-5-5", "claude-sonnet-5-5")
    ),
    ("at most 512", body(metadata={"user_id": "u" * 513})),
    ("email", body(metadata={"user_id": "a@b.example"})),
    ("metadata.team: extra", body(metadata={"team": "x"})),
    ("inference_geo has", body(inference_geo="eu")),
    ("inference_geo is not", body("claude-haiku-4-5", inference_geo="global")),
    ("service_tier", body(service_tier="flex")),
    ("stop sequence", body(stop_sequences=["\n"])),
    # messages
    ("at least one message", body(messages=[], system="x")),
    ("role has a wrong", body(messages=[{"role": "tool", "content": "x"}])),
    ("name: extra", body(messages=[{**HI, "name": "x"}])),
    ("non-empty content", body(messages=[{"role": "user", "content": ""}])),
    ("non-empty content", body(messages=[HI, {"role": "assistant", "content": []}, HI])),
    ("non-whitespace", body(messages=user(text(" \n")))),
    ("non-whitespace", body(system="  ")),
    ("non-whitespace", body(system=[text("")])),
    ("unexpected role", body(messages=[HI, {"role": "system", "content": "x"}])),
    ("system message must", body("claude-opus-5", messages=[{"role": "system", "content": "x"}])),
    ("prefill", body(messages=[HI, {"role": "assistant", "content": "{"}])),
    (
        "trailing whitespace",
        body("claude-haiku-4-5", messages=[HI, {"role": "assistant", "content": "{ "}]),
    ),
    (
        "start with a thinking block",
        body("claude-sonnet-4-5", thinking=budget(), messages=TALK, tools=[TOOL]),
    ),
    (
        "id has a wrong",
        body(messages=[HI, {"role": "assistant", "content": [{**USE, "id": "a.b"}]}]),
    ),
    ("must define tools", body(messages=TALK)),
    ("without tool_result", body(messages=[*TALK[:2], HI], tools=[TOOL])),
    ("without tool_result", body("claude-haiku-4-5", messages=TALK[:2], tools=[TOOL])),
    ("unexpected tool_use_id", body(messages=user(RESULT), tools=[TOOL])),
    ("single result", body(messages=[*TALK, *user(RESULT)], tools=[TOOL])),
    ("must be unique", body(messages=[*TALK, *TALK[1:]], tools=[TOOL])),
    ("come first", body(messages=[*TALK[:2], *user(text("x"), RESULT)], tools=[TOOL])),
    ("type must be one of", body(messages=user({"type": "image_url", "image_url": {}}))),
    ("type must be one of", body(messages=user(USE))),
    ("media_type", body(messages=image({**BASE64, "media_type": "image/heic"}))),
    ("data has a wrong", body(messages=image({**BASE64, "data": "data:image/png;base64,AA=="}))),
    ("media_type", body(messages=document({**PDF, "media_type": "text/csv"}))),
    ("100 images", body("claude-haiku-4-5", messages=image(BASE64) * 101)),
    ("10 MB", body(messages=image({**BASE64, "data": "AAAA" * 2_700_000}))),
    # cache breakpoints
    ("maximum of 4", body(**marked(5))),
    (
        "maximum of 4",
        body(cache_control=EPHEMERAL, messages=[*marked(4)["messages"], HI]),
    ),
    ("another ttl", body(cache_control=HOUR, **marked(1))),
    (
        "must not come after",
        body(messages=user(text("x", cache_control=EPHEMERAL), text("x", cache_control=HOUR))),
    ),
    ("cache_control has a wrong", body(messages=user(text("x", cache_control={"type": "x"})))),
    (
        "cache_control: extra",
        body(
            messages=[
                HI,
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "thinking",
                            "thinking": "",
                            "signature": "s",
                            "cache_control": HOUR,
                        }
                    ],
                },
                HI,
            ]
        ),
    ),
    # tools
    ("name has a wrong", body(**tool("a.b"))),
    ("name has a wrong", body(**tool("a" * 129))),
    ("input_schema is required", body(tools=[{"name": "look"}])),
    ("names must be unique", body(tools=[TOOL, TOOL])),
    ('must be "object"', body(tools=[{"name": "look", "input_schema": {}}])),
    ("at the top level", body(**tool(anyOf=[{"required": ["a"]}]))),
    ("property keys", body(**tool(properties={"filter[id]": {}}))),
    ("invalid: type", body(**tool(properties={"a": {"type": "any"}}))),
    ("invalid: items", body(**tool(properties={"a": {"items": [{"type": "string"}]}}))),
    ("at most 20", body(**strict(21))),
    ("strict tools are not", body("claude-opus-4-1", **strict(1))),
    # structured output
    ("format is not supported", body("claude-opus-4-1", **wanted(CLOSED))),
    ("must be set to false", body(**wanted({"type": "object"}))),
    (
        "must be set to false",
        body(**holding({"type": "object", "additionalProperties": {"type": "string"}})),
    ),
    ("minLength", body(**holding({"type": "string", "minLength": 1}))),
    ("maximum", body(**holding({"type": "integer", "maximum": 1}))),
    ("minItems", body(**holding({"type": "array", "minItems": 2}))),
    ("format color", body(**holding({"type": "string", "format": "color"}))),
    ("regex", body(**holding({"type": "string", "pattern": r"(?=a)\b"}))),
    ("enum", body(**holding({"enum": [{}]}))),
    ("external", body(**holding({"$ref": "https://a.example/b.json"}))),
    ("allOf", body(**holding({"allOf": [{"$ref": "#/$defs/a"}]}))),
    ("recursive", body(**wanted(RECURSIVE))),
    (
        "25 optional",
        body(**wanted({**CLOSED, "properties": {f"p{n}": {"type": "null"} for n in range(25)}})),
    ),
    (
        "17 parameters",
        body(
            **wanted(
                {
                    **CLOSED,
                    "properties": {f"p{n}": UNION for n in range(17)},
                    "required": [f"p{n}" for n in range(17)],
                }
            )
        ),
    ),
    (
        "citations",
        body(
            **wanted(CLOSED),
            messages=user({"type": "document", "source": PDF, "citations": {"enabled": True}}),
        ),
    ),
]


@pytest.mark.parametrize("given", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_body_within_rules_has_no_fault(given: Any) -> None:
    assert faults(given) == []


@pytest.mark.parametrize(("fault", "given"), REJECTED)
def test_body_that_breaks_one_rule_has_its_fault(fault: str, given: Any) -> None:
    found = faults(given)
    assert len(found) == 1, found
    assert fault in found[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "claude-sonnet-4-20250514", "temperature": 0, "top_p": 0.5, "top_k": 5},
        {"model": "claude-opus-4-6", "temperature": 0.3},
        {"model": "claude-opus-4-6", "top_p": 0.3},
        {"model": "claude-opus-5", "temperature": 1},
        {"model": "claude-opus-4-6", "top_p": 0.95, "thinking": {"type": "adaptive"}},
    ],
)
def test_older_version_accepts_sampling_that_newest_rejects(fields: Any) -> None:
    assert faults(body(**fields), OLDER) == []
    assert all("extra inputs" in fault for fault in faults(body(**fields)))
    assert faults(body(**fields))


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("between 0 and 1", {"temperature": 1.1}),
        ("between 0 and 1", {"top_p": -0.1}),
        ("top_k", {"top_k": -1}),
        ("temperature has a wrong", {"temperature": "0"}),
        ("both", {"temperature": 1, "top_p": 1}),
        ("both", {"model": "claude-opus-4-1", "temperature": 0, "top_p": 0.5}),
        ("temperature may only be 1", {"model": "claude-opus-4-7", "temperature": 0}),
        ("top_p", {"model": "claude-sonnet-5", "top_p": 0.5}),
        ("top_k", {"model": "claude-mythos-preview", "top_k": 5}),
        ("temperature may only be 1", {"temperature": 0, "thinking": {"type": "adaptive"}}),
        ("top_p", {"top_p": 0.9, "thinking": {"type": "adaptive"}}),
        ("top_k", {"model": "claude-sonnet-4-5", "top_k": 5, "thinking": budget()}),
    ],
)
def test_older_version_rejects_sampling(fault: str, fields: Any) -> None:
    found = faults(body(**fields), OLDER)
    assert len(found) == 1, found
    assert fault in found[0]


@pytest.mark.parametrize(
    ("fault", "messages"),
    [
        (
            "document blocks",
            [HI, {"role": "assistant", "content": [{"type": "document", "source": PDF}]}, HI],
        ),
        ("citations", user(text("x", citations=[{}]))),
    ],
)
def test_newest_version_rejects_what_older_accepts(fault: str, messages: Any) -> None:
    found = faults(body(messages=messages))
    assert len(found) == 1, found
    assert fault in found[0]
    assert faults(body(messages=messages), OLDER) == []
