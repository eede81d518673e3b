"""Strategies for chat completions: any request that OpenAI's schema allows, and markers of caches.

Most values are such that a request is accepted somewhere; those with an edge (blank texts, odd ids
and names, schemas that vendors refuse) are drawn often. What few vendors translate is rare, so that
it does not hide the rest.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from hypothesis import strategies as st

Fields = dict[str, Any]
Strategy = st.SearchStrategy[Any]
Draw = Callable[[Strategy], Any]

PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
PDF: Final = "JVBERi0xLjQKJSVFT0YK"
PLAIN: Final = "SGVsbG8="
SOUND: Final = "UklGRiQAAABXQVZF"
_RARELY: Final = 12  # one in so many


# --- texts, ids, names ------------------------------------------------------------------------

TEXTS: Final[Strategy] = st.one_of(
    st.sampled_from(["Hi", "What is this?", "Grüße 🙂", "{", "END", "text that ends in a space "]),
    st.sampled_from(["", " ", "\n", "\t \n", "\u00a0", "\u2003", "\u200b"]),
    st.text(max_size=12),
)
IDS: Final[Strategy] = st.one_of(
    st.sampled_from(
        ["call_1", "call_2", "a.b", "a_b", "a:b", "functions.look:0", "", "é", "x" * 70]
    ),
    st.text(max_size=6),
)
# OpenAI takes up to 64 letters, digits, underscores and dashes; other clients send others too.
NAMES: Final[Strategy] = st.sampled_from(
    ["look", "get_weather", "find-it", "look2", "look_up", "1st", "-", "a" * 64]
)
ODD_NAMES: Final[Strategy] = st.sampled_from(
    ["get.weather", "get weather", "wetter_für", "a" * 128, "ns:look", "look/up"]
)
USERS: Final[Strategy] = st.sampled_from(["ann", "ann@example.com", "", "u" * 600])


def rarely(draw: Draw) -> bool:
    """Draw whether something rare is in a request."""
    return bool(draw(st.integers(0, _RARELY - 1)) == _RARELY - 1)


# --- schemas ----------------------------------------------------------------------------------

_KEYS: Final[Strategy] = st.sampled_from(
    [
        *(["city", "a.b", "type", "anyOf", "properties", "required"] * 8),
        *("äöü", "two words", "$ref", "x" * 65, ""),
    ]
)
_LEAVES: Final[Strategy] = st.one_of(
    st.sampled_from(
        [{"type": kind} for kind in ("string", "integer", "number", "boolean", "null")]
    ),
    st.sampled_from(
        [
            {"type": ["string", "null"]},
            {"type": "any"},
            {},
            {"enum": ["a", "b"]},
            {"enum": [1, None, True]},
            {"enum": [{"a": 1}]},
            {"type": "string", "enum": []},
            {"const": "x"},
            {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^a\\b"},
            {"type": "string", "format": "date-time"},
            {"type": "string", "format": "color"},
            {"type": "integer", "minimum": 0, "exclusiveMaximum": 9},
            {"type": "number", "minimum": 0, "exclusiveMinimum": True, "multipleOf": 0.5},
            {"type": "array", "items": [{"type": "string"}], "additionalItems": False},
            {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
            {"type": "array", "prefixItems": [{"type": "string"}]},
            {"type": "array"},
            {"type": "object"},
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"type": "object", "additionalProperties": True},
            {"type": "object", "patternProperties": {"^x": {"type": "string"}}},
            {"type": "string", "nullable": True, "default": None, "examples": ["a"], "title": "T"},
            {"$ref": "#/$defs/thing"},
            {"$ref": "#/$defs/thing", "description": "with a keyword beside"},
            {"$ref": "#"},
            {"$ref": "#/$defs/missing"},
            {"$ref": "https://example.com/schema.json"},
            {"allOf": [{"$ref": "#/$defs/thing"}]},
            {"not": {"type": "null"}},
            {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {}},
        ]
    ),
)


def _objects(inner: Strategy) -> Strategy:
    return st.builds(
        _object,
        st.dictionaries(_KEYS, inner, max_size=3),
        st.sampled_from([None, False, True, {"type": "string"}]),
        st.sampled_from(["all", "none", "absent"]),
    )


def _object(properties: Fields, more: object, required: str) -> Fields:
    schema: Fields = {"type": "object", "properties": properties}
    if more is not None:
        schema["additionalProperties"] = more
    if required != "absent":
        schema["required"] = [*properties] if required == "all" else []
    return schema


def _composed(inner: Strategy) -> Strategy:
    listed = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        _objects(inner),
        _objects(inner),
        st.builds(lambda each: {"type": "array", "items": each}, inner),
        st.builds(
            lambda name, each: {name: each}, st.sampled_from(["anyOf", "oneOf", "allOf"]), listed
        ),
    )


_NESTED: Final[Strategy] = st.recursive(_LEAVES, _composed, max_leaves=6)
_THINGS: Final[Strategy] = st.sampled_from(
    [
        {"type": "string"},
        {"type": "object", "properties": {"next": {"$ref": "#/$defs/thing"}}},
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    ]
)
_MANY: Final[Strategy] = st.sampled_from(
    [
        {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(26)}},
        {
            "type": "object",
            "properties": {f"p{i}": {"type": ["string", "null"]} for i in range(18)},
            "required": [f"p{i}" for i in range(18)],
            "additionalProperties": False,
        },
    ]
)


@st.composite
def schemas(draw: Draw) -> Fields:
    """Return a JSON schema, mostly of an object, as OpenAI's examples are."""
    schema = dict(draw(st.one_of(_objects(_NESTED), _objects(_NESTED), _NESTED, _MANY)))
    if "$defs/thing" in json.dumps(schema) or rarely(draw):
        schema["$defs"] = {"thing": draw(_THINGS)}
    if rarely(draw):
        schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Root"}
    if rarely(draw):
        schema["anyOf"] = [{"required": ["city"]}, {"type": "object"}]
    return schema


# --- parts ------------------------------------------------------------------------------------

_CACHE: Final[Strategy] = st.sampled_from(
    [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "5m"}, {"type": "ephemeral", "ttl": "1h"}]
)
_TEXT_PARTS: Final[Strategy] = st.builds(lambda text: {"type": "text", "text": text}, TEXTS)
_IMAGES: Final[Strategy] = st.builds(
    lambda url, more: {"type": "image_url", "image_url": {"url": url, **more}},
    st.sampled_from(
        [
            *(f"data:image/{kind};base64,{PIXEL}" for kind in ("png", "jpeg", "gif", "webp")),
            "https://example.com/a.png",
            f"data:image/heic;base64,{PIXEL}",
            "data:image/png;base64,",
        ]
    ),
    st.sampled_from([{}, {"detail": "low"}, {"detail": "auto"}]),
)
_FILES: Final[Strategy] = st.builds(
    lambda file: {"type": "file", "file": file},
    st.sampled_from(
        [
            {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
            {"file_data": f"data:application/pdf;base64,{PDF}"},
            {"file_data": f"data:text/plain;base64,{PLAIN}", "filename": "f" * 600},
            {"file_data": "data:text/plain;base64,", "filename": ""},
            {"file_data": "data:application/pdf;base64,"},
        ]
    ),
)
_RARE_PARTS: Final[Strategy] = st.sampled_from(
    [
        {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "refusal", "refusal": "I cannot"},
    ]
)


@st.composite
def contents(draw: Draw, *, with_files: bool) -> object:
    """Return the content of a message: a text, or parts."""
    if draw(st.booleans()):
        return draw(TEXTS)
    kinds = [_TEXT_PARTS, _TEXT_PARTS, _IMAGES, _FILES] if with_files else [_TEXT_PARTS]
    parts = draw(st.lists(st.one_of(*kinds), max_size=3))
    if rarely(draw) and with_files:
        parts = [*parts, draw(_RARE_PARTS)]
    return [{**part, "cache_control": draw(_CACHE)} if rarely(draw) else part for part in parts]


# --- messages ---------------------------------------------------------------------------------

_ARGUMENTS: Final[Strategy] = st.one_of(
    st.sampled_from(['{"city": "Paris"}', "{}", "", " ", "[1]", '{"a": 1', "NaN", "null", '"x"']),
    st.text(max_size=4),
)


@st.composite
def messages(draw: Draw) -> list[Fields]:
    """Return messages of any roles in any order; a result is of some earlier call, if any is."""
    ids: list[str] = []
    talk = [draw(_message(ids)) for _ in range(draw(st.integers(1, 6)))]
    if rarely(draw):
        talk[-1] = {**talk[-1], "cache_control": draw(_CACHE)}
    return talk


@st.composite
def _message(draw: Draw, ids: list[str]) -> Fields:
    roles = ["user", "user", "assistant", "assistant", "calls", "calls", "system", "developer"]
    role = draw(st.sampled_from([*roles, *(["tool"] * 8 if ids else [])]))
    if role == "tool":
        found = draw(st.sampled_from(ids)) if draw(st.booleans()) else ids[-1]
        content = draw(contents(with_files=False))
        return {"role": "tool", "tool_call_id": found, "content": content}
    if role == "calls":
        calls = draw(st.lists(_calls(), min_size=1, max_size=3))
        ids += [call["id"] for call in calls]
        text = {} if draw(st.booleans()) else {"content": draw(st.one_of(st.none(), TEXTS))}
        return {"role": "assistant", "tool_calls": calls, **text}
    named = {"name": "ann"} if rarely(draw) else {}
    return {"role": role, "content": draw(contents(with_files=role == "user")), **named}


@st.composite
def _calls(draw: Draw) -> Fields:
    name = draw(st.one_of(NAMES, NAMES, ODD_NAMES))
    function = {"name": name, "arguments": draw(_ARGUMENTS)}
    return {"id": draw(IDS), "type": "function", "function": function}


# --- tools ------------------------------------------------------------------------------------


@st.composite
def tools(draw: Draw) -> Fields:
    """Return tools and how they may be used; none in some requests."""
    names = draw(st.lists(NAMES, max_size=4, unique=not rarely(draw)))
    if rarely(draw):
        names.append(draw(ODD_NAMES))
    if rarely(draw):
        names = [f"t{index}" for index in range(22)]
    if not names:
        return {}
    fields: Fields = {"tools": [draw(_tool(name)) for name in names]}
    named = {"type": "function", "function": {"name": draw(st.sampled_from(names))}}
    allowed = {"mode": draw(st.sampled_from(["auto", "required"])), "tools": [named]}
    choice = draw(
        st.sampled_from(
            [
                *(None, "auto", "none", "required", named, named),
                {"type": "allowed_tools", "allowed_tools": allowed},
            ]
        )
    )
    if choice is not None:
        fields["tool_choice"] = choice
    if draw(st.booleans()):
        fields["parallel_tool_calls"] = draw(st.booleans())
    return fields


@st.composite
def _tool(draw: Draw, name: str) -> Fields:
    function: Fields = {"name": name}
    if draw(st.booleans()):
        function["parameters"] = draw(schemas())
    if draw(st.booleans()):
        function["description"] = draw(TEXTS)
    if draw(st.booleans()):
        function["strict"] = draw(st.booleans())
    more = {"cache_control": draw(_CACHE)} if rarely(draw) else {}
    return {"type": "function", "function": function, **more}


# --- requests ---------------------------------------------------------------------------------

_OPTIONS: Final[dict[str, Strategy]] = {
    "temperature": st.sampled_from([0, 0.3, 1, 1.0, 1.5, 2]),
    "top_p": st.sampled_from([0, 0.5, 0.99, 1]),
    "reasoning_effort": st.sampled_from(
        ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
    ),
    "stop": st.one_of(TEXTS.filter(bool), st.lists(TEXTS.filter(bool), max_size=4)),
    "max_completion_tokens": st.sampled_from([1, 1000, 5000]),
    "max_tokens": st.sampled_from([1, 1000, 5000]),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "user": USERS,
    "safety_identifier": USERS,
    "metadata": st.just({"a": "b"}),
    "store": st.booleans(),
    "n": st.just(1),
    "frequency_penalty": st.sampled_from([0, 0.0]),
    "presence_penalty": st.sampled_from([0, 0.0]),
    "logprobs": st.just(False),
    "logit_bias": st.just({}),
    "modalities": st.just(["text"]),
    "verbosity": st.just("medium"),
    "prompt_cache_key": st.just("k"),
    "service_tier": st.sampled_from(["auto", "default"]),
    "stream": st.booleans(),
}
# Each of them changes the meaning, and has a counterpart at few vendors.
_RARE: Final[Sequence[Fields]] = (
    {"n": 2},
    {"logprobs": True, "top_logprobs": 2},
    {"logit_bias": {"50256": -100}},
    {"frequency_penalty": 0.5},
    {"presence_penalty": -2},
    {"verbosity": "low"},
    {"prediction": {"type": "content", "content": "x"}},
    {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}},
    {"web_search_options": {}},
    {"service_tier": "flex"},
    {"cache_control": {"type": "ephemeral"}},
    {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
)


@st.composite
def _formats(draw: Draw) -> Fields:
    kind = draw(st.sampled_from(["text", "json_object", "json_schema", "json_schema"]))
    if kind != "json_schema":
        return {"type": kind}
    described: Fields = {"name": "answer", "schema": draw(schemas())}
    if draw(st.booleans()):
        described["strict"] = draw(st.booleans())
    if rarely(draw):
        del described["schema"]
    return {"type": kind, "json_schema": described}


@st.composite
def chat_requests(draw: Draw, models: Sequence[str]) -> Fields:
    """Return the body of a chat completion to one of some models."""
    fields: Fields = {"model": draw(st.sampled_from(models)), "messages": draw(messages())}
    fields |= draw(tools())
    names = draw(st.lists(st.sampled_from([*_OPTIONS]), max_size=5, unique=True))
    fields |= {name: draw(_OPTIONS[name]) for name in names}
    if draw(st.integers(0, 3)) == 0:
        fields["response_format"] = draw(_formats())
    if rarely(draw):
        fields |= draw(st.sampled_from(_RARE))
    return fields
