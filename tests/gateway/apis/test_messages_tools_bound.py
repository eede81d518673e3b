"""messages: tools in a bound, in `tools` and in messages, and what uses at the provider add."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS
from gateway.apis.messages.tools import (
    READS_MAX,
    RESULT_TOKENS,
    USES_MAX,
    WRITTEN_TOKENS,
    overhead_of,
    uses_of,
)
from gateway.core.request_body import TOKENS_MAX
from gateway.core.usage_bound import NO_USES, ToolUses
from tests.gateway.apis.measured_messages import HELLO, HOUR, SEARCH, measured, refused, user_turn

FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}


def system_turn(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [HELLO, {"role": "system", "content": list(blocks), **more}]}


def defined(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}}


def test_caller_tools_have_common_and_own_frame() -> None:
    mine = {"name": "mine", "input_schema": {"type": "object"}}
    assert measured().overhead_tokens == 0
    for count in (1, 3):
        tools = [mine | {"type": "custom"}, *[mine] * (count - 1)]
        usage_bound = measured(tools=tools)
        assert usage_bound.overhead_tokens == TOOLS_FRAME_TOKENS + count * TOOL_FRAME_TOKENS
        assert (usage_bound.context_reads, usage_bound.unbounded) == (0, None)
        assert uses_of(tools, output_cap=100) == NO_USES


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("bash_20250124", 245),
        ("text_editor_20250728", 700),
        ("computer_20251124", 735 + 499),
        ("memory_20250818", 700),
        ("computer_toolset_20260801", 10_000),
        ("browser_toolset_20260801", 10_000),
    ],
)
def test_vendor_text_for_predefined_tools_is_bounded(kind: str, least: int) -> None:
    tools = [{"type": kind, "name": "it"}]
    usage_bound = measured(tools=tools)
    assert usage_bound.overhead_tokens - TOOLS_FRAME_TOKENS >= least
    assert (usage_bound.context_reads, usage_bound.unbounded) == (0, None)
    assert uses_of(tools, output_cap=100) == NO_USES


def test_results_of_web_tools_are_read_once_more_after_each_use() -> None:
    def uses(*tools: Any) -> ToolUses:
        assert measured(tools=list(tools)).unbounded is None
        return uses_of(tools, output_cap=100_000)

    def expected(times: int, searches: int, reads: int | None = None) -> ToolUses:
        return ToolUses(
            times=times,
            reads=times if reads is None else reads,
            each=RESULT_TOKENS + WRITTEN_TOKENS,
            written=WRITTEN_TOKENS,
            searches=searches,
        )

    assert uses(SEARCH | {"max_uses": 1}) == expected(1, 1)
    assert uses(SEARCH | {"max_uses": 5}) == expected(5, 5)
    assert uses(FETCH | {"max_uses": 3}) == expected(3, 0)
    assert uses(FETCH | {"max_uses": 3}, SEARCH | {"max_uses": 2}) == expected(5, 2)
    for most in (USES_MAX, USES_MAX + 1, 10 * USES_MAX):
        assert uses(SEARCH | {"max_uses": most}) == expected(USES_MAX, USES_MAX, READS_MAX)
    assert uses(SEARCH) == expected(READS_MAX, READS_MAX)


def test_fetch_reads_up_to_its_own_limit() -> None:
    tool = FETCH | {"max_uses": 1, "max_content_tokens": 3 * RESULT_TOKENS}
    assert uses_of([tool], output_cap=10).each == 3 * RESULT_TOKENS + 10


def test_tool_search_reads_definitions_again_at_each_iteration() -> None:
    for kind in ("tool_search_tool_bm25_20251119", "tool_search_tool_regex"):
        tools = [{"type": kind, "name": "find"}]
        assert measured(tools=tools).unbounded is None
        uses = uses_of(tools, output_cap=100_000)
        assert (uses.reads, uses.searches) == (READS_MAX, 0)
        assert uses.each < RESULT_TOKENS


@pytest.mark.parametrize("uses", [0, TOKENS_MAX + 1, "3", -1, 1.5])
def test_max_uses_must_be_number_of_uses(uses: Any) -> None:
    assert "max_uses" in refused(tools=[SEARCH | {"max_uses": uses}])


@pytest.mark.parametrize(
    "kind",
    ["code_execution_20250522", "code_execution_20260521", "advisor_20260301", "mcp_toolset"],
)
def test_tool_that_changes_price_is_refused(kind: str) -> None:
    tool = {"type": kind, "name": "it"}
    assert refused(tools=[tool]) == refused(**system_turn(defined(tool)))


@pytest.mark.parametrize("kind", ["of_tomorrow_20270101", "of_tomorrow"])
def test_unknown_tool_type_has_no_bound(kind: str) -> None:
    tool = {"type": kind, "name": "it"}
    for usage_bound in (measured(tools=[tool]), measured(**system_turn(defined(tool)))):
        assert usage_bound.unknown == (kind,)
        assert usage_bound.unbounded is not None
        assert kind in usage_bound.unbounded


# --- tools added in messages --------------------------------------------------------------------


def test_tool_added_in_message_is_measured_like_tool() -> None:
    schema = {"type": "object", "properties": {"file_id": {"type": "string"}}, "ttl": "1h"}
    mine = {"name": "mine", "input_schema": schema}
    for tool in (mine, SEARCH, {"type": "memory_20250818", "name": "memory"}):
        listed, added = measured(tools=[tool]), measured(**system_turn(defined(tool)))
        assert added.overhead_tokens == listed.overhead_tokens == overhead_of([tool])
        assert sum(map(len, added.texts)) > sum(map(len, listed.texts))
        assert added.context_reads == 0
    hour = {**mine, "cache_control": HOUR}
    assert "cache_write_1h" in measured(**system_turn(defined(hour))).buckets


def test_tools_by_reference_are_text() -> None:
    reference = {"type": "tool_reference", "name": "mine"}
    blocks = [{"type": kind, "tool": reference} for kind in ("tool_addition", "tool_removal")]
    usage_bound = measured(
        **system_turn(*blocks, output_config={"effort": "low"}, clear_at="never")
    )
    assert (usage_bound.context_reads, usage_bound.overhead_tokens) == (0, 0)


@pytest.mark.parametrize("added", [7, [], {}, {"definition": 7}, {"definition": []}, None])
def test_malformed_tool_addition_is_text(added: Any) -> None:
    usage_bound = measured(**system_turn({"type": "tool_addition", "tool": added}))
    assert (usage_bound.overhead_tokens, usage_bound.context_reads) == (0, 0)


def test_results_of_tools_at_provider_are_text_in_next_turn() -> None:
    text = {"type": "text", "media_type": "text/plain", "data": "the page"}
    fetched = {"type": "web_fetch_result", "content": {"type": "document", "source": text}}
    usage_bound = measured(
        **user_turn(
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "s",
                "content": [{"type": "web_search_result", "encrypted_content": "found"}],
            },
            {"type": "web_fetch_tool_result", "tool_use_id": "s", "content": fetched},
            {"type": "web_fetch_tool_result", "tool_use_id": "s", "content": {"error_code": "no"}},
            {"type": "tool_search_tool_result", "tool_use_id": "s", "content": {"found": "names"}},
        )
    )
    everything = "".join(usage_bound.texts)
    assert all(text in everything for text in ("found", "the page", "error_code", "names"))
    assert usage_bound.context_reads == 0
