"""messages: the bound of a request, and refused fields."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.apis.messages.betas import betas_in
from gateway.apis.messages.messages import Messages
from gateway.apis.messages.usage_bound import usage_bound_of
from gateway.core.usage_bound import OutputLimits, UsageBound
from tests.gateway.apis.measured_messages import (
    ASKED,
    DIALECT,
    HOUR,
    SEARCH,
    measured,
    refused,
    user_turn,
)
from tests.gateway.arrivals import read, refusal

FILE = {"type": "file", "file_id": "file_1"}
PICTURE_BY_ID = {"type": "image", "source": FILE}


# --- text -------------------------------------------------------------------------------------


def test_plain_text_is_measured_exactly() -> None:
    usage_bound = measured(system="Be brief")
    assert usage_bound == UsageBound(
        texts=("Be brief", "Hello"), messages=2, output=OutputLimits(max_tokens=100)
    )


def test_every_field_that_can_contain_prompt_is_counted() -> None:
    usage_bound = measured(
        system=[{"type": "text", "text": "one"}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "two"}], "name": "three"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "four", "signature": "five"},
                    {"type": "redacted_thinking", "data": "six"},
                    {"type": "tool_use", "id": "t", "name": "seven", "input": {"eight": 8}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "nine",
                        "content": [{"type": "text", "text": "ten"}],
                    },
                    {"type": "tool_result", "tool_use_id": "t", "content": "eleven"},
                    {"type": "search_result", "source": "twelve", "title": "thirteen"},
                    {"type": "text", "text": "fourteen", "citations": ["fifteen"]},
                ],
            },
        ],
        tools=[{"name": "sixteen", "input_schema": {"type": "object"}}],
        output_config={"format": {"type": "json_schema", "schema": {"title": "seventeen"}}},
        unheard_of={"prompt": "eighteen"},
    )
    everything = "\n".join(usage_bound.texts)
    numbers = (
        *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
        "eighteen",
    )
    assert [number for number in numbers if number not in everything] == []
    assert usage_bound.context_reads == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": None},
        {"messages": []},
        {"messages": "hello"},
        {"messages": ["hello"]},
        {"messages": [{"content": "no role"}]},
        {"messages": [{"role": ["user"], "content": "x"}]},
        {"messages": [{"role": "user", "content": 7}]},
        {"messages": [{"role": "user", "content": ["text"]}]},
        {"messages": [{"role": "user", "content": [{"type": ["text"], "text": "x"}]}]},
        {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        {"system": 7},
        {"tools": {"name": "x"}},
        {"tools": [{"type": ["custom"]}]},
        {"max_tokens": "100"},
        {"max_tokens": -1},
        {"thinking": "enabled"},
        {"thinking": {"type": "enabled", "budget_tokens": "many"}},
        {"context_management": []},
        {"context_management": {"edits": "all"}},
        {"context_management": {"edits": [{"type": ["clear_thinking_20251015"]}]}},
        {"context_management": {"edits": [{}]}},
        {"model": 7},
        {"model": ""},
        {"stream": "yes"},
        {"big": 2**70},
    ],
)
def test_invalid_body_is_refused_with_sentence(changes: dict[str, Any]) -> None:
    assert refused(**changes)


# --- what comes out ---------------------------------------------------------------------------


def test_callers_cap_can_be_zero_to_fill_cache() -> None:
    assert measured(max_tokens=1).output == OutputLimits(max_tokens=1)
    assert measured(max_tokens=0).output == OutputLimits(max_tokens=0)


def test_callers_cap_must_be_given_but_for_counting() -> None:
    without = {name: value for name, value in ASKED.items() if name != "max_tokens"}
    for body in (without, without | {"max_tokens": None}):
        assert refusal(DIALECT, body) == (
            "max_tokens must be given: the highest number of tokens to generate"
        )
        assert read(Messages(counts=True), body).usage_bound.output is None


@pytest.mark.parametrize("budget", [0, 99, 100, 5000])
def test_thinking_budget_is_measured_with_any_cap(budget: int) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    limits = OutputLimits(max_tokens=100, thinking_tokens=budget)
    assert measured(thinking=thinking).output == limits


# --- pictures and documents -------------------------------------------------------------------


def test_each_image_is_counted_everywhere() -> None:
    inline = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A"}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    document = {"type": "document", "source": {"type": "content", "content": [inline]}}
    usage_bound = measured(
        **user_turn(inline, {"type": "tool_result", "content": [linked]}, document)
    )
    assert (usage_bound.images, usage_bound.context_reads) == (3, 0)
    assert usage_bound.buckets == {"input_image"}


@pytest.mark.parametrize(
    ("source", "context_reads"),
    [
        ({"type": "text", "media_type": "text/plain", "data": "abc"}, 0),
        ({"type": "base64", "media_type": "application/pdf", "data": "JVBE"}, 1),
        ({"type": "base64", "media_type": "application/pdf", "data": ["JVBE"]}, 1),
        ({"type": "url", "url": "https://example.org/a.pdf"}, 1),
        ({"type": "of tomorrow"}, 1),
        (None, 1),
    ],
)
def test_document_with_pages_is_bounded_by_context(source: Any, context_reads: int) -> None:
    usage_bound = measured(
        **user_turn({"type": "document", "source": source, "title": "The title"})
    )
    assert usage_bound.context_reads == context_reads
    assert "The title" in "".join(usage_bound.texts)


def test_unknown_block_is_bounded_by_context() -> None:
    assert measured(**user_turn({"type": "of_tomorrow", "data": "x"})).context_reads == 1


@pytest.mark.parametrize(
    "block",
    [
        PICTURE_BY_ID,
        {"type": "document", "source": FILE},
        {"type": "tool_result", "content": [PICTURE_BY_ID]},
        {"type": "document", "source": {"type": "content", "content": [PICTURE_BY_ID]}},
        {"type": "container_upload", "file_id": "file_1"},
        {"type": "of_tomorrow", "within": [{"file_id": "file_1"}]},
    ],
)
def test_file_id_is_refused(block: dict[str, Any]) -> None:
    assert "file_id" in refused(**user_turn(block))


def test_tool_schema_can_have_file_id_property() -> None:
    schema = {"type": "object", "properties": {"file_id": {"type": "string"}}, "ttl": "1h"}
    use = {"type": "tool_use", "id": "t", "name": "open", "input": {"file_id": "1"}}
    assert (
        measured(tools=[{"name": "open", "input_schema": schema}], **user_turn(use)).context_reads
        == 0
    )


# --- the cache --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"cache_control": HOUR},
        {"system": [{"type": "text", "text": "x", "cache_control": HOUR}]},
        user_turn({"type": "text", "text": "x", "cache_control": HOUR}),
        user_turn({"type": "tool_result", "content": "x", "cache_control": HOUR}),
        user_turn({"type": "tool_result", "content": [{"type": "text", "cache_control": HOUR}]}),
        user_turn({"type": "search_result", "content": [{"type": "text", "cache_control": HOUR}]}),
        user_turn({"type": "image", "source": {"type": "url"}, "cache_control": HOUR}),
        user_turn({"type": "of_tomorrow", "cache_control": HOUR}),
        user_turn({"type": "of_tomorrow", "within": [{"cache_control": HOUR}]}),
        {"tools": [{"name": "x", "input_schema": {}, "cache_control": HOUR}]},
    ],
)
def test_one_hour_cache_marker_is_priced_everywhere(changes: dict[str, Any]) -> None:
    assert "cache_write_1h" in measured(**changes).buckets


def test_unknown_cache_lifetime_is_refused() -> None:
    sentence = refused(cache_control={"type": "ephemeral", "ttl": "a week"})
    assert sentence == "cache_control.ttl must be one of 5m, 1h"


@pytest.mark.parametrize("mark", [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "5m"}])
def test_cache_mark_writes_for_five_minutes(mark: Any) -> None:
    written = frozenset({"cache_write_5m"})
    assert measured(cache_control=mark).buckets == written
    assert measured(**user_turn({"type": "text", "cache_control": mark})).buckets == written


def test_nothing_is_written_to_cache_without_mark() -> None:
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    tools = [{"name": "x", "input_schema": schema, "cache_control": None}]
    call = {"type": "tool_use", "id": "t", "name": "x", "input": {"cache_control": "x"}}
    turns = [{"role": "assistant", "content": [call]}, {"role": "user", "content": "Hello"}]
    assert measured(tools=tools, messages=turns).buckets == frozenset()


@pytest.mark.parametrize(
    ("header", "is_asked"),
    [
        ("context-1m-2025-08-07", True),
        ("effort-2025-11-24, context-1m-2027-01-01", True),
        ("context-management-2025-06-27", False),
        ("", False),
    ],
)
def test_larger_context_is_asked_for_by_beta(header: str, is_asked: bool) -> None:
    betas = betas_in({"anthropic-beta": header})
    assert usage_bound_of(ASKED, betas).asks_larger_context is is_asked


# --- what changes the price, the payer or the place -------------------------------------------


def test_unknown_edit_is_named_and_compaction_refused() -> None:
    for kind in ("compact_20260112", "compact_20270101"):
        assert kind in refused(context_management={"edits": [{"type": kind}]})
    edits = [{"type": "of_tomorrow"}, {"type": "clear_thinking_20251015"}]
    assert measured(context_management={"edits": edits}).unknown == ("of_tomorrow",)


@pytest.mark.parametrize(
    "changes",
    [
        {"speed": 2},
        {"inference_geo": ["us"]},
        {"inference_geo": "u" * 65},
        {"billing_policy": {"type": "billing_policy", "bill_to": "user_profile"}},
        {"user_profile_id": "u"},
        {"workspace_id": "w"},
        {"compaction": {"type": "summarize"}},
        {"container": "container_1"},
        {"container": {"skills": [{"skill_id": "s"}]}},
        {"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "x"}]},
        {"thread": {"type": "create"}},
        {"betas": ["advisor-tool-2026-03-01"]},
        {"anthropic_beta": ["advisor-tool-2026-03-01"]},
        {"base_url": "http://127.0.0.1"},
        {"safeguards": [{"type": "dangerous_tool_use", "profile_id": "p"}]},
    ],
)
def test_fields_outside_bound_are_refused(changes: dict[str, Any]) -> None:
    [name] = changes
    sentence = refused(**changes)
    assert len(sentence.split()) > 4, name
    with_count = refusal(Messages(counts=True), ASKED | changes)
    assert with_count == sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"speed": "standard"},
        {"inference_geo": "global"},
        {"mcp_servers": []},
        {"container": None},
        {"context_management": None},
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        {"metadata": {"user_id": "someone"}},
        {"diagnostics": {"previous_message_id": "msg_1"}},
        {"fallbacks": [{"model": "claude-opus-4-8"}]},
        {"fallbacks": "default"},
        {"thinking": {"type": "between_tools"}},
    ],
)
def test_fields_without_price_effect_are_accepted(changes: dict[str, Any]) -> None:
    assert measured(**changes).unbounded is None


def test_speed_and_place_are_priced_as_asked() -> None:
    for given in (None, "", "standard"):
        assert measured(speed=given).service_tier == "standard"
    for given in (None, "", "global"):
        assert measured(inference_geo=given).place == "global"
    usage_bound = measured(speed="fast", inference_geo="us")
    assert (usage_bound.service_tier, usage_bound.place) == ("fast", "us")


def test_counting_is_free_and_has_no_output() -> None:
    call = read(Messages(counts=True), ASKED | {"stream": True, "tools": [SEARCH]})
    usage_bound = call.usage_bound
    assert (usage_bound.is_free, usage_bound.output, usage_bound.unbounded) == (True, None, None)
    assert not call.stream
