"""Ids at any depth of a body: only listed ones reach a provider, at every API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from gateway.apis.base import Dialect
from gateway.apis.body_rules import ANTHROPIC_TTLS, BodyRules
from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.chat.usage_bound import usage_bound_of as chat_bound
from gateway.apis.embeddings.embeddings import Embeddings
from gateway.apis.generate.generate import Generate
from gateway.apis.messages.messages import Messages
from gateway.apis.responses.responses import Responses
from gateway.apis.responses.usage_bound import usage_bound_of as responses_bound
from gateway.core.errors import Refused
from gateway.providers.tokens import text_of
from tests.gateway.arrivals import arrived, refusal
from tests.gateway.walk.bodies import CHAT, CONTENTS, FLASH, MESSAGES, RESPONSES
from tests.gateway.walk.places import Place, at_place, places, replaced

EMBEDDINGS: Final = {"model": "text-embedding-3-small", "input": ["Hello"], "metadata": {}}
GENERATE: Final = Generate(version="v1beta", method="generateContent")
COUNT: Final = Generate(version="v1beta", method="countTokens")
NAMED: Final[tuple[Any, ...]] = ("stored_1", ["stored_1"], {"x": "stored_1"}, 1)
NAMES: Final = ("file_id", "id", "ids", "storedIds", "fileID", "vector_store_ids", "gcs_uri", "Uri")
NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
# Objects in which no other field may be, whatever its name is.
CLOSED: Final = ("Unknown tool ", "context_management must be an object with edits")
NO_IDS: Final = ("paid", "grid", "uuid", "id_of", "valid", "curi")

Body = dict[str, Any]
Bodies = dict[str, tuple[Dialect, Body, dict[str, Any], tuple[str, ...]]]
# The places in whose objects all names are the caller's, and ids at places that may pass.
BODIES: Final[Bodies] = {
    "chat": (
        *(ChatCompletions(), CHAT, {}),
        (
            *("metadata", "tools.function.parameters", "response_format.json_schema.schema"),
            *("messages.id", "messages.tool_calls.id"),
        ),
    ),
    "responses": (
        *(Responses(), RESPONSES, {}),
        (
            *("metadata", "client_metadata", "tools.parameters", "text.format.schema"),
            *("input.arguments", "input.action.env", "input.tools.parameters", "input.id"),
            *("input.acknowledged_safety_checks.id", "tools.tools.parameters"),
            "input.internal_chat_message_metadata_passthrough",
        ),
    ),
    "messages": (
        *(Messages(), MESSAGES, {}),
        (
            *("messages.content.input", "tools.input_schema", "output_config.format.schema"),
            *("tools.input_examples", "messages.content.id"),
        ),
    ),
    **{
        name: (
            *(dialect, CONTENTS, {"named": FLASH}),
            (
                *("contents.parts.functionCall.args", "contents.parts.functionResponse.response"),
                *("tools.functionDeclarations.parameters", "generationConfig.responseSchema"),
                *("contents.parts.functionCall.id", "contents.parts.functionResponse.id"),
                "contents.parts.executableCode.id",
            ),
        )
        for name, dialect in (("generate", GENERATE), ("count", COUNT))
    },
    "embeddings": (Embeddings(text_of=text_of), EMBEDDINGS, {}, ("metadata",)),
}


def with_name(body: Body, place: Place, name: str, value: Any) -> Body:
    """Return a copy with one more field in the object at a place."""
    found: Body = replaced(body, place, {**at_place(body, place), name: value})
    return found


def objects_in(body: Body) -> Iterator[Place]:
    return (place for place in places(body) if isinstance(at_place(body, place), dict))


def is_listed(place: Place, name: str, listed: tuple[str, ...]) -> bool:
    path = ".".join(step for step in (*place, name) if isinstance(step, str))
    return any(path == each or path.startswith(f"{each}.") for each in listed)


def sentence_of(name: str, body: Body) -> str | None:
    """Return the sentence with which a body is refused, None if it is read."""
    dialect, _, more, _ = BODIES[name]
    try:
        dialect.read(arrived(body, **more))
    except Refused as exc:
        return exc.message
    return None


@pytest.mark.parametrize("name", BODIES)
def test_id_in_any_object_is_refused_by_its_path(name: str) -> None:
    _, body, _, listed = BODIES[name]
    for turn, place in enumerate(objects_in(body)):
        for index, field in enumerate(NAMES):
            if field in at_place(body, place):
                continue
            value = NAMED[(turn + index) % len(NAMED)]
            sentence = sentence_of(name, with_name(body, place, field, value))
            if is_listed(place, field, listed):
                assert sentence is None, (place, field)
            else:
                path = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in place)
                assert sentence is not None, (place, field)
                expected = f"{path}.{field} is not supported: ".lstrip(".")
                assert sentence.startswith((expected, *CLOSED)), sentence


@pytest.mark.parametrize("name", BODIES)
def test_names_that_only_look_like_ids_and_empty_ids_are_read(name: str) -> None:
    _, body, _, _ = BODIES[name]
    for turn, place in enumerate(objects_in(body)):
        field = NO_IDS[turn % len(NO_IDS)]
        sentence = sentence_of(name, with_name(body, place, field, "x")) or ""
        assert "stored at the provider" not in sentence
        for nothing in NOTHING:
            sentence = sentence_of(name, with_name(body, place, "file_id", nothing)) or ""
            assert "stored at the provider" not in sentence


CHAT_PARTS: Final = (
    {"type": "file", "file_id": "file_1"},  # Mistral
    {"type": "file", "file": {"file_id": "file_1"}},  # OpenAI
    {"type": "input_audio", "input_audio": {"id": "audio_1"}},
    {"type": "resource_link", "uri": "mistral://library/1"},
    {"type": "text", "text": "x", "annotations": [{"file_id": "file_1"}]},
)


@pytest.mark.parametrize(
    "changes",
    [
        *({"messages": [{"role": "user", "content": [part]}]} for part in CHAT_PARTS),
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        {"audio": {"voice": {"id": "voice_1"}, "format": "wav"}},
        {"tools": [{"type": "function", "library_ids": ["l_1"]}]},
        {"prompt_cache_options": {"comparison_response_id": "resp_1"}},
    ],
    ids=str,
)
def test_stored_files_sounds_and_voices_are_refused_in_chat(changes: Body) -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    assert "is shared by the whole installation" in refusal(ChatCompletions(), body | changes)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "document_library", "library_ids": ["l_1"]},
        {"type": "connector", "connector_id": "c_1"},
        {"type": "image_generation"},
        {"type": "web_search"},
        {"type": 5},
        {"type": {}},
    ],
    ids=str,
)
def test_tools_that_run_at_provider_are_refused_in_chat(tool: Body) -> None:
    body = {"model": "mistral-large-latest", "messages": [{"role": "user", "content": "Hello"}]}
    sentence = refusal(ChatCompletions(), body | {"tools": [tool]})
    assert sentence.endswith("is not supported: it runs at the provider, without a price")


def test_place_is_compared_in_both_spellings() -> None:
    rules = BodyRules(ids=("contents.fileData.fileUri",), own=("contents.partMetadata",))
    for body in (
        {"contents": [{"fileData": {"fileUri": "x"}}]},
        {"contents": {"file_data": {"file_uri": "x"}}},
        {"contents": [{"part_metadata": {"id": "x", "ttl": "x"}}]},
    ):
        assert rules.buckets_of(body) == frozenset()


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"id": {"file_id": "x"}}]},
        {"messages": [{"id": ["x", [{"file_id": "x"}]]}]},
        {"messages": [{"parts": {"id": "x"}}]},
        {"id": "x"},
    ],
    ids=str,
)
def test_id_elsewhere_than_at_listed_place_is_refused(body: Body) -> None:
    with pytest.raises(Refused):
        BodyRules(ids=("messages.id",)).buckets_of(body)


@pytest.mark.parametrize(
    "turn",
    [
        {"content": [{"type": "search_result", "content": [{"type": "text"}]}]},
        {"content": [{"type": "tool_result", "content": [{"type": "search_result"}]}]},
        {"content": [{"type": "document", "source": {"type": "content", "content": [{}]}}]},
        {"content": [{"type": "web_fetch_tool_result", "content": {"content": {"x": [{}]}}}]},
    ],
    ids=str,
)
def test_cache_lifetime_at_any_depth_fills_its_bucket(turn: Body) -> None:
    rules = BodyRules(cache_ttls=ANTHROPIC_TTLS)
    for place in objects_in(turn):
        for ttl, longer in (("5m", set()), ("1h", {"cache_write_1h"}), ({}, set())):
            marked = with_name(turn, place, "cache_control", {"type": "ephemeral", "ttl": ttl})
            assert rules.buckets_of({"messages": [marked]}) == {"cache_write_5m"} | longer
        for unknown in (5, "2h", "1H", [5], True):
            marked = with_name(turn, place, "cache_control", {"type": "ephemeral", "ttl": unknown})
            with pytest.raises(Refused, match=r"cache_control\.ttl must be one of 5m, 1h$"):
                rules.buckets_of({"messages": [marked]})


@pytest.mark.parametrize(("ttl", "buckets"), [("30m", set()), ("12h", {"cache_write_12h"})])
def test_openai_cache_lifetime_fills_its_bucket(ttl: str, buckets: set[str]) -> None:
    options = {"prompt_cache_options": {"mode": "explicit", "ttl": ttl}}
    point = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": ttl}}
    text = {"type": "input_text", "text": "Hello", **point}
    for changes in (options, {"input": [{"role": "user", "content": [text]}]}):
        body = {"model": "gpt-6.1-terra", "input": "Hello", **changes}
        assert responses_bound(body).buckets == buckets
    for unknown in ("24h", "5m", 3600):
        with pytest.raises(Refused, match=r"ttl must be one of 30m, 12h$"):
            responses_bound(body | {"prompt_cache_options": {"ttl": unknown}})
    chat = {"model": "gpt-6.1-terra", "messages": [{"role": "user", "content": "Hello"}]}
    assert chat_bound(chat | options).buckets == buckets
    with pytest.raises(Refused, match=r"ttl must be one of 30m, 12h, 5m, 1h$"):
        chat_bound(chat | {"prompt_cache_options": {"ttl": "24h"}})


def test_cache_lifetime_is_refused_where_vendor_has_none() -> None:
    with pytest.raises(Refused, match=r"^contents\[0\]\.ttl is not supported$"):
        BodyRules().buckets_of({"contents": [{"ttl": "5m"}]})
