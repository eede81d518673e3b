"""messages: the bound of a request, and refused fields."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS
from gateway.apis.messages.messages import Messages
from gateway.apis.messages.tools import (
    READS_MAX,
    RESULT_TOKENS,
    USES_MAX,
    WRITTEN_TOKENS,
    overhead_of,
    uses_of,
)
from gateway.core.usage_bound import NO_USES, OutputLimits, ToolUses, UsageBound
from tests.gateway.arrivals import read, refusal

DIALECT = Messages()
HELLO = {"role": "user", "content": "Hello"}
ASKED: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": [HELLO]}
FILE = {"type": "file", "file_id": "file_1"}
PICTURE_BY_ID = {"type": "image", "source": FILE}
HOUR = {"type": "ephemeral", "ttl": "1h"}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}


def measured(**changes: Any) -> UsageBound:
    return read(DIALECT, ASKED | changes).usage_bound


def refused(**changes: Any) -> str:
    return refusal(DIALECT, ASKED | changes)


def user_turn(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


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


@pytest.mark.parametrize("mark", [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "5m"}, None])
def test_five_minute_cache_marker_is_in_every_bound(mark: Any) -> None:
    assert measured(
        cache_control=mark, **user_turn({"type": "text", "cache_control": mark})
    ).buckets == (frozenset())


# --- tools ------------------------------------------------------------------------------------


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
    assert uses(SEARCH | {"max_uses": USES_MAX}) == expected(USES_MAX, USES_MAX, READS_MAX)
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


@pytest.mark.parametrize("uses", [0, USES_MAX + 1, "3", -1, 1.5])
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


# --- what betas bring into a body -------------------------------------------------------------


def system_turn(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [HELLO, {"role": "system", "content": list(blocks), **more}]}


def defined(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}}


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


def test_unknown_edit_is_named_and_compaction_refused() -> None:
    for kind in ("compact_20260112", "compact_20270101"):
        assert kind in refused(context_management={"edits": [{"type": kind}]})
    edits = [{"type": "of_tomorrow"}, {"type": "clear_thinking_20251015"}]
    assert measured(context_management={"edits": edits}).unknown == ("of_tomorrow",)


# --- the pages of documents -------------------------------------------------------------------

_HEAD = b"%PDF-1.7\n"


def pdf_of(*objects: bytes) -> dict[str, Any]:
    data = base64.b64encode(_HEAD + b"\n".join(objects)).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    return user_turn({"type": "document", "source": source})


def stream_of(content: bytes, dictionary: bytes = b"/Type /ObjStm /Filter /FlateDecode") -> bytes:
    packed = zlib.compress(content)
    return b"1 0 obj\n<< %b >>\nstream\n%b\nendstream\nendobj" % (dictionary, packed)


PAGE = b"1 0 obj\n<< /Type /Page >>\nendobj"
PAGES = b"2 0 obj\n<< /Type /Pages /Count 7 >>\nendobj"


@pytest.mark.parametrize(
    ("objects", "pages"),
    [
        ([PAGE] * 3, 3),
        ([PAGE.replace(b"Type /", b"Type/")], 1),
        ([PAGE, PAGES], 7),  # of which six are written in a way that is not understood
        ([stream_of(b"<< /Type /Page >> " * 4), PAGE], 5),
        ([stream_of(b"/Type /Pages /Count 12")], 12),
        ([stream_of(b"not objects", b"/Filter /FlateDecode"), PAGE], 1),
        ([PAGE.replace(b"/Page", b"/Page /Count 100000")], 600),
    ],
)
def test_pages_of_pdf_are_counted(objects: list[bytes], pages: int) -> None:
    usage_bound = measured(**pdf_of(*objects))
    assert (usage_bound.pages, usage_bound.context_reads) == (pages, 0)
    assert "input_image" in usage_bound.buckets


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [b"trailer << /Encrypt 5 0 R >>", PAGE],
        [stream_of(b"x", b"/Type /ObjStm /Filter /LZWDecode"), PAGE],
        [stream_of(b"x").replace(b"stream\n", b"stream\nx", 1), PAGE],
        [stream_of(bytes(40 * 2**20)), PAGE],
    ],
)
def test_pdf_that_cannot_be_counted_fits_in_context(objects: list[bytes]) -> None:
    usage_bound = measured(**pdf_of(*objects))
    assert (usage_bound.pages, usage_bound.context_reads) == (0, 1)


# --- what changes the price, the payer or the place -------------------------------------------


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
