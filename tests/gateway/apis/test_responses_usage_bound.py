"""responses: the bound of a request, and refused fields."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS
from gateway.apis.responses.responses import Responses
from gateway.apis.responses.tools import CALLS_MAX, DESCRIBED_TOKENS
from gateway.core.request_body import TOKENS_MAX
from gateway.core.usage_bound import (
    HOSTED_CALLS_MAX,
    NO_USES,
    SEARCH_TOKENS,
    OutputLimits,
    ToolUses,
    UsageBound,
    UsesLimit,
)
from tests.gateway.arrivals import model, read, refusal, sent

DIALECT = Responses()
MINI = model("gpt-4o-mini")
ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Hello"}
SEARCH = {"type": "web_search"}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


def measured(**changes: Any) -> UsageBound:
    return read(DIALECT, ASKED | changes).usage_bound


def uses(
    *, is_limited: bool = False, searches: UsesLimit | None = None, **changes: Any
) -> ToolUses:
    call = read(DIALECT, ASKED | changes)
    return sent(call, MINI, is_limited=is_limited, searches=searches).uses


def refused(**changes: Any) -> str:
    return refusal(DIALECT, ASKED | changes)


def user_turn(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


# --- text -------------------------------------------------------------------------------------


def test_plain_text_is_measured() -> None:
    usage_bound = measured(instructions="Be brief", max_output_tokens=50)
    assert usage_bound == UsageBound(
        texts=("Hello", "Be brief"), messages=2, output=OutputLimits(max_tokens=50)
    )


def test_every_field_that_can_contain_prompt_is_counted() -> None:
    usage_bound = measured(
        input=[
            {"role": "user", "content": "one"},
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "no": "two"}]},
            {"type": "reasoning", "id": "rs", "encrypted_content": "three"},
            {"type": "function_call", "name": "four", "arguments": "five", "call_id": "c"},
            {"type": "function_call_output", "call_id": "six", "output": "seven"},
            {
                "type": "custom_tool_call_output",
                "call_id": "eight",
                "output": [{"type": "input_text", "text": "nine"}],
            },
        ],
        instructions="ten",
        text={"format": {"type": "json_schema", "schema": {"eleven": 11}}},
        unheard_of={"twelve": 12},
        tools=[WEATHER | {"description": "thirteen"}],
    )
    everything = " ".join(usage_bound.texts)
    for word in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine"):
        assert word in everything
    assert all(word in everything for word in ("ten", "eleven", "twelve", "thirteen"))
    assert (usage_bound.messages, usage_bound.context_reads) == (7, 0)


def test_settings_are_not_counted_as_prompt() -> None:
    usage_bound = measured(
        temperature=1, metadata={"k": "v"}, user="u", include=["x"], prompt_cache_key="k"
    )
    assert usage_bound.texts == ("Hello",)


# --- what is not text -------------------------------------------------------------------------


def test_images_are_counted_everywhere() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    shot = {"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAA"}
    usage_bound = measured(
        input=[
            {"role": "user", "content": [picture, {"type": "input_text", "text": "What is it?"}]},
            {"type": "function_call_output", "call_id": "c", "output": [picture]},
            {"type": "computer_call_output", "call_id": "c", "output": shot},
            {"type": "image_generation_call", "id": "ig", "result": "AAAA"},
        ]
    )
    assert usage_bound.images == 4
    assert usage_bound.buckets == {"input_image"}
    assert "AAAA" not in "".join(usage_bound.texts)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "A" * 40, "format": "wav"}},
        {"type": "input_audio", "input_audio": "https://files.example/a.wav"},
        {"type": "input_file", "file_data": "AAAA"},
        {"type": "input_file", "file_url": "https://files.example/a.pdf"},
        {"type": "input_video", "video_url": "https://files.example/a.mp4"},
    ],
    ids=str,
)
def test_sound_video_and_files_are_bounded_by_context(part: dict[str, Any]) -> None:
    usage_bound = measured(**user_turn(part))
    assert (usage_bound.context_reads, usage_bound.images) == (1, 0)
    assert usage_bound.buckets == {"input_audio", "input_image"}


def test_unknown_item_is_bounded_by_context() -> None:
    assert measured(input=[{"type": "of_tomorrow", "x": "new"}]).context_reads == 1
    assert measured(**user_turn({"type": "of_tomorrow", "x": "new"})).context_reads == 1


def test_compaction_reads_request_once_more() -> None:
    later: dict[str, Any] = {"context_management": [{"type": "compaction"}]}
    now = {"input": [{"role": "user", "content": "x"}, {"type": "compaction_trigger"}]}
    for changes in (later, now):
        usage_bound = measured(**changes)
        assert (usage_bound.context_reads, usage_bound.unbounded) == (0, None)
        assert uses(**changes) == ToolUses(compactions=1)


@pytest.mark.parametrize("kind", ["compaction", "compaction_summary", "context_compaction"])
def test_compacted_conversation_is_text(kind: str) -> None:
    sealed = {"type": kind, "id": "cmp_1", "encrypted_content": "sealed"}
    conversation = [sealed, {"role": "user", "content": "x"}]
    usage_bound = measured(input=conversation)
    assert "sealed" in "".join(usage_bound.texts)
    assert (usage_bound.context_reads, uses(input=conversation)) == (0, NO_USES)


@pytest.mark.parametrize(
    ("tier", "priced"),
    [("auto", "standard"), (None, "standard"), ("flex", "flex"), ("priority", "priority")],
)
def test_tier_decides_price(tier: str | None, priced: str) -> None:
    assert measured(service_tier=tier).service_tier == priced


# --- tools ------------------------------------------------------------------------------------


def test_client_tools_are_accepted() -> None:
    nested = {"type": "namespace", "name": "crm", "tools": [WEATHER, {"type": "custom"}]}
    tools = [WEATHER, nested, {"type": "tool_search", "execution": "client"}]
    usage_bound = measured(tools=tools)
    # The two in the namespace, and the namespace itself.
    assert usage_bound.overhead_tokens == TOOLS_FRAME_TOKENS + 5 * TOOL_FRAME_TOKENS
    assert (uses(tools=tools), usage_bound.unbounded) == (NO_USES, None)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "apply_patch"},
        {"type": "computer"},
        {"type": "local_shell"},
        {"type": "shell", "environment": {"type": "local"}},
    ],
    ids=lambda tool: str(tool["type"]),
)
def test_tools_described_by_provider_are_measured(tool: dict[str, Any]) -> None:
    overhead = TOOLS_FRAME_TOKENS + TOOL_FRAME_TOKENS + DESCRIBED_TOKENS
    assert measured(tools=[tool]).overhead_tokens == overhead


@pytest.mark.parametrize("kind", ["web_search", "web_search_2025_08_26"])
@pytest.mark.parametrize(
    ("asked", "calls"), [(1, 1), (CALLS_MAX, CALLS_MAX), (CALLS_MAX + 1, CALLS_MAX)]
)
def test_searches_are_bounded_by_max_tool_calls(kind: str, asked: int, calls: int) -> None:
    usage_bound = measured(tools=[{"type": kind}], max_tool_calls=asked)
    assert (usage_bound.context_reads, usage_bound.unbounded) == (0, None)
    found = uses(tools=[{"type": kind}], max_tool_calls=asked)
    assert found == ToolUses(times=calls, each=SEARCH_TOKENS, searches=calls)


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({}, SEARCH_TOKENS),
        ({"search_context_size": None}, SEARCH_TOKENS),
        ({"search_context_size": "low"}, SEARCH_TOKENS // 2),
        ({"search_context_size": "medium", "return_token_budget": "default"}, SEARCH_TOKENS),
        ({"search_context_size": "high"}, 2 * SEARCH_TOKENS),
        ({"search_context_size": "huge"}, 128_000),
        ({"search_context_size": ["low"]}, 128_000),
        ({"search_context_size": "low", "return_token_budget": "unlimited"}, 128_000),
    ],
    ids=str,
)
def test_search_adds_tokens_by_its_size(options: dict[str, Any], tokens: int) -> None:
    assert uses(tools=[SEARCH | options]).each == tokens
    nested = {"type": "namespace", "name": "n", "tools": [SEARCH | options]}
    assert uses(tools=[nested]).each == tokens


@pytest.mark.parametrize("kind", ["web_search_preview", "web_search_preview_2025_03_11"])
def test_searches_by_preview_have_own_fee(kind: str) -> None:
    space = {"type": "namespace", "name": "n", "tools": [{"type": kind}]}
    for tools in ([{"type": kind}], [{"type": kind}, SEARCH], [SEARCH, space]):
        found = uses(tools=tools, max_tool_calls=3)
        assert (found.searches, found.by_preview) == (3, True)


def test_searches_without_max_tool_calls_are_guessed() -> None:
    found = uses(tools=[SEARCH])
    assert (found.times, found.searches) == (HOSTED_CALLS_MAX, HOSTED_CALLS_MAX)
    assert measured(tools=[SEARCH]).unbounded is None


@pytest.mark.parametrize(
    ("asked", "most", "calls"),
    [(None, None, HOSTED_CALLS_MAX), (None, 20, 20), (3, 20, 3), (30, 20, 20), (30, None, 30)],
)
@pytest.mark.parametrize("tool", [SEARCH, {"type": "web_search_preview"}])
def test_searches_are_bounded_by_policys_number(
    tool: dict[str, Any], asked: int | None, most: int | None, calls: int
) -> None:
    limit = None if most is None else UsesLimit(most=most, policy="No")
    found = uses(tools=[tool], max_tool_calls=asked, searches=limit)
    assert (found.times, found.searches) == (calls, calls)
    assert uses(searches=limit) == NO_USES


@pytest.mark.parametrize(("asked", "calls"), [(None, HOSTED_CALLS_MAX), (3, 3), (30, 8)])
def test_hosted_calls_are_bounded_where_limit_applies(asked: int | None, calls: int) -> None:
    for tool in (SEARCH, {"type": "tool_search"}):
        assert uses(tools=[tool], max_tool_calls=asked, is_limited=True).times == calls


def test_tool_search_runs_at_provider_and_is_not_web_search() -> None:
    found = uses(tools=[WEATHER, {"type": "tool_search"}], max_tool_calls=3)
    assert found == ToolUses(times=3, each=SEARCH_TOKENS)


@pytest.mark.parametrize("calls", [0, -1, TOKENS_MAX + 1, "3", True])
def test_invalid_max_tool_calls_is_refused(calls: Any) -> None:
    assert "max_tool_calls" in refused(tools=[SEARCH], max_tool_calls=calls)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "image_generation"},
        {"type": "mcp", "server_url": "https://elsewhere.example"},
        {"type": "programmatic_tool_calling"},
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "of_tomorrow"},
        {"name": "of no type"},
    ],
    ids=lambda tool: str(tool.get("type")),
)
def test_unpriced_tools_are_refused_everywhere(tool: dict[str, Any]) -> None:
    sentence = refused(tools=[WEATHER, tool])
    assert str(tool.get("type", "type")) in sentence
    assert refused(tools=[{"type": "namespace", "tools": [tool]}]) == sentence
    for kind in ("additional_tools", "tool_search_output", "of_tomorrow"):
        item = {"type": kind, "role": "developer", "tools": [tool]}
        assert refused(input=[{"role": "user", "content": "x"}, item]) == sentence


# --- what others stored -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"background": True},
        {"previous_response_id": ["resp_1"]},
        {"conversation": {"ids": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"multi_agent": {"enabled": True}},
        {"prompt_cache_options": {"comparison_response_id": "resp_1"}},
        {"input": [{"type": "item_reference"}]},
        {"input": [{"id": 5}]},
        {"input": [{"type": "image_generation_call", "id": "ig_1"}]},
        user_turn({"type": "input_image", "file_id": "file_1"}),
        user_turn({"type": "input_file", "file_id": "file_1"}),
        {
            "input": [
                {
                    "type": "computer_call_output",
                    "call_id": "c",
                    "output": {"type": "computer_screenshot", "file_id": "file_1"},
                }
            ]
        },
        {
            "input": [
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [{"type": "input_file", "file_id": "file_1"}],
                }
            ]
        },
    ],
    ids=str,
)
def test_stored_items_are_refused(changes: dict[str, Any]) -> None:
    assert refused(**changes)


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({}, ()),
        ({"previous_response_id": "resp_1"}, ("resp_1",)),
        ({"previous_response_id": "resp_1", "input": None}, ("resp_1",)),
        ({"conversation": "conv_1", "input": []}, ("conv_1",)),
        ({"conversation": {"id": "conv_1"}}, ("conv_1",)),
        (
            {
                "input": [
                    {"type": "reasoning", "id": "rs_1", "summary": []},
                    {"type": "reasoning", "id": "rs_2", "encrypted_content": "x", "summary": []},
                    {"type": "item_reference", "id": "msg_1"},
                    {"id": "fc_1"},
                    {"type": "message", "id": "msg_2", "role": "user", "content": "x"},
                ]
            },
            ("msg_1", "fc_1", "rs_1"),
        ),
    ],
)
def test_ids_of_what_is_kept_are_named(changes: dict[str, Any], ids: tuple[str, ...]) -> None:
    named = read(DIALECT, ASKED | changes).named
    assert named is not None
    assert named.ids == ids


@pytest.mark.parametrize("name", ["background", "previous_response_id", "conversation", "prompt"])
def test_empty_values_of_refused_fields_are_accepted(name: str) -> None:
    assert measured(**{name: None}).texts == ("Hello",)


# --- what cannot be read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    ["", None, [], 5, {"role": "user"}, ["text"], [{"role": 5, "content": "x"}], [{"type": 5}]],
    ids=repr,
)
def test_invalid_input_is_refused(given: Any) -> None:
    assert "input" in refused(input=given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_output_tokens", 0),
        ("max_output_tokens", "5"),
        ("stream", "yes"),
        ("tools", {}),
        ("tools", ["x"]),
        ("service_tier", 5),
        ("service_tier", []),
        ("base_url", "https://elsewhere.example"),
    ],
)
def test_field_of_wrong_type_is_named(name: str, value: Any) -> None:
    assert name in refused(**{name: value})


@pytest.mark.parametrize("kind", [5, True, [], ["message"], {"type": "message"}], ids=repr)
def test_type_that_is_no_string_is_refused_with_its_place(kind: Any) -> None:
    item = {"type": kind, "role": "user", "content": "x"}
    part = {"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": kind}]}
    assert refused(input=[{"role": "user", "content": "x"}, part]) == (
        "input[1].content[1].type must be a string"
    )
    assert refused(input=[{"role": "user", "content": "x"}, item]) == (
        "input[1].type must be a string"
    )
