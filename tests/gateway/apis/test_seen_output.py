"""What each vendor's events show of the output, by their documented formats."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from costs.core.usage import Usage
from gateway.apis.chat.answer import ChatStreamReader
from gateway.apis.chat.mistral import MistralStreamReader
from gateway.apis.generate.answer import GenerateStreamReader
from gateway.apis.messages.answer import MessagesStreamReader
from gateway.apis.responses.answer import ResponsesStreamReader
from gateway.core.seen import SeenOutput

Event = dict[str, Any]


class Reads(Protocol):
    def feed(self, event: object) -> object: ...
    def see(self, event: object, seen: SeenOutput) -> None: ...


def seen_of(reader: Reads, *events: object, choices: int = 1) -> SeenOutput:
    """Return what is seen of events that come every second, the first after one."""
    seen = SeenOutput()
    seen.send(0.0, choices=choices)
    for second, event in enumerate(events, start=1):
        seen.arrive(float(second))
        reader.see(event, seen)
    return seen


def hidden_s(seen: SeenOutput, *, now_s: float) -> int:
    """Return for how many seconds hidden output counts."""
    in_bursts, seen.in_bursts = seen.in_bursts, False
    rate = 10_000
    tokens = seen.output_tokens_at_most(text=0, thoughts=0, tokens_per_s=rate, now_s=now_s)
    seen.in_bursts = in_bursts
    return tokens // rate // seen.choices


def chat(delta: Event, finish: str | None = None, index: int = 0) -> Event:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def test_chat_shows_texts_of_every_choice_and_tool() -> None:
    seen = seen_of(
        ChatStreamReader("gpt-4o"),
        chat({"role": "assistant", "content": "", "refusal": None}),
        {"choices": [{"delta": {"content": "Hi"}}, {"delta": {"content": "Ho"}}]},
        chat({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                              "function": {"name": "look", "arguments": ""}}]}),
        chat({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        chat({"refusal": "No"}),
        chat({"reasoning_content": "Hm"}),
        chat({"something_new": {"deep": ["down"]}}),
    )  # fmt: skip
    assert bytes(seen.text.kept) == b'HiHolook{"a":NoHmdown'
    assert not seen.has_ended
    assert hidden_s(seen, now_s=100) == 0


def test_chat_of_reasoning_model_is_hidden_until_first_output() -> None:
    reader = ChatStreamReader("gpt-5-mini")
    begun = seen_of(reader, chat({"role": "assistant", "content": ""}))
    assert hidden_s(begun, now_s=9.0) == 9
    answered = seen_of(reader, chat({"role": "assistant", "content": ""}), chat({"content": "x"}))
    assert hidden_s(answered, now_s=9.0) == 2


def test_chat_of_reasoning_model_is_hidden_until_each_choice_shows_output() -> None:
    reader = ChatStreamReader("gpt-5-mini")
    first = [chat({"content": "a"}), chat({"content": "b"})]
    assert hidden_s(seen_of(reader, *first, choices=2), now_s=9.0) == 9
    assert (
        hidden_s(seen_of(reader, *first, chat({"content": "c"}, index=1), choices=2), now_s=9) == 3
    )
    cut = [*first, chat({}, "length", index=1)]
    assert hidden_s(seen_of(reader, *cut, choices=2), now_s=9.0) == 3


def test_chat_ends_with_finish_reason_and_reports_usage() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    seen = seen_of(
        ChatStreamReader("gpt-4o"),
        chat({"content": "Hi"}),
        chat({}, "stop"),
        {"choices": [], "usage": usage},
    )
    assert seen.has_ended
    assert seen.usage == Usage(input_uncached=9, output_text=2, reported_total=11)


def test_mistral_shows_parts_of_content() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
    seen = seen_of(
        MistralStreamReader("magistral-medium-latest"),
        chat({"content": [thinking, {"type": "text", "text": "Yes"}]}),
    )
    assert bytes(seen.text.kept) == b"HmYes"


def block(kind: str, **more: Any) -> Event:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **more}}


def delta(kind: str, **more: Any) -> Event:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **more}}


STOP = {"type": "content_block_stop", "index": 0}
START = {
    "type": "message_start",
    "message": {"usage": {"input_tokens": 20, "cache_read_input_tokens": 5, "output_tokens": 1}},
}


def test_messages_start_reports_input() -> None:
    seen = seen_of(MessagesStreamReader("claude-sonnet-4-5"), START)
    assert seen.usage == Usage(input_uncached=20, cache_read=5, output_text=1)
    assert hidden_s(seen, now_s=50) == 0


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking"])
def test_thinking_is_hidden_from_sending_until_its_block_ends(kind: str) -> None:
    reader = MessagesStreamReader("claude-sonnet-4-5")
    thinks = [START, block(kind)]
    assert hidden_s(seen_of(reader, *thinks), now_s=30) == 29  # since the event before
    shown = delta("thinking_delta", thinking="Let me see")
    signed = delta("signature_delta", signature="c2lnbmVk")
    seen = seen_of(reader, *thinks, shown, signed, STOP, block("text", text=""))
    assert hidden_s(seen, now_s=30) == 4
    assert bytes(seen.thoughts.kept) == b"Let me see"
    assert bytes(seen.text.kept) == b""


def test_messages_show_text_and_arguments_that_come_in_bursts() -> None:
    reader = MessagesStreamReader("claude-sonnet-4-5")
    called = [
        block("text", text=""),
        delta("text_delta", text="Hi"),
        STOP,
        block("tool_use", id="toolu_1", name="look", input={}),
        delta("input_json_delta", partial_json='{"a": 1'),
    ]
    seen = seen_of(reader, START, *called)
    assert bytes(seen.text.kept) == b'Hilook{"a": 1'
    assert seen.in_bursts
    assert not seen_of(reader, START, *called, STOP).in_bursts


def test_messages_count_tools_at_provider_and_not_their_results() -> None:
    search = block("server_tool_use", id="srvtoolu_1", name="web_search", input={})
    found = block("web_search_tool_result", content=[{"title": "long", "url": "https://x"}])
    fetch = block("server_tool_use", id="srvtoolu_2", name="web_fetch", input={})
    seen = seen_of(MessagesStreamReader("claude-sonnet-4-5"), START, search, STOP, found, fetch)
    assert (seen.searches, seen.tool_uses) == (1, 2)
    assert bytes(seen.text.kept) == b"web_searchweb_fetch"


def test_messages_end_with_stop_reason() -> None:
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
    assert seen_of(MessagesStreamReader("claude-sonnet-4-5"), START, end).has_ended


def test_generate_shows_parts_and_reports_usage_so_far() -> None:
    parts = [
        {"text": "Hm", "thought": True},
        {"text": "Yes"},
        {"functionCall": {"name": "look", "args": {"at": "it"}}, "thoughtSignature": "c2ln"},
    ]
    chunk = {
        "candidates": [{"content": {"parts": parts, "role": "model"}}],
        "usageMetadata": {
            "promptTokenCount": 7,
            "candidatesTokenCount": 3,
            "thoughtsTokenCount": 90,
            "totalTokenCount": 100,
        },
    }
    seen = seen_of(GenerateStreamReader("gemini-2.5-flash"), chunk, chunk)
    assert bytes(seen.text.kept) == b"Yeslookit" * 2
    assert bytes(seen.thoughts.kept) == b"HmHm"
    assert seen.usage is not None
    assert (seen.usage.output_tokens, seen.usage.input_tokens) == (93, 7)
    assert seen.is_counted
    assert seen.in_bursts
    ended = {"candidates": [{"finishReason": "STOP"}]}
    assert seen_of(GenerateStreamReader("gemini-2.5-flash"), chunk, ended).has_ended


def item(event: str, kind: str, **more: Any) -> Event:
    return {"type": f"response.output_item.{event}", "item": {"type": kind, **more}}


def test_responses_show_deltas_once_and_hide_reasoning() -> None:
    reader = ResponsesStreamReader("gpt-5-mini")
    created = {"type": "response.created", "response": {"model": "gpt-5-mini"}}
    thinks = [created, item("added", "reasoning", id="rs_1", summary=[])]
    assert hidden_s(seen_of(reader, created), now_s=30) == 0
    assert hidden_s(seen_of(reader, *thinks), now_s=30) == 29
    summary = {"type": "response.reasoning_summary_text.delta", "delta": "I looked"}
    answered = [
        *thinks,
        summary,
        item("done", "reasoning", summary=[{"type": "summary_text", "text": "I looked"}]),
        item("added", "message", role="assistant", content=[]),
        {"type": "response.output_text.delta", "delta": "Yes"},
        {"type": "response.output_text.done", "text": "Yes"},
        item("done", "message", content=[{"type": "output_text", "text": "Yes"}]),
        item("added", "function_call", name="look", arguments="", call_id="call_1"),
        {"type": "response.function_call_arguments.delta", "delta": '{"a":1}'},
        {"type": "response.function_call_arguments.done", "arguments": '{"a":1}'},
        item("done", "function_call", name="look", arguments='{"a":1}', call_id="call_1"),
    ]
    seen = seen_of(reader, *answered)
    assert hidden_s(seen, now_s=100) == 3
    assert bytes(seen.thoughts.kept) == b"I looked"
    assert bytes(seen.text.kept) == b'Yeslook{"a":1}'


def test_responses_count_tools_at_provider_shown_when_complete() -> None:
    reader = ResponsesStreamReader("gpt-5-mini")
    added = item("added", "web_search_call", id="ws_1", status="in_progress")
    assert seen_of(reader, added).in_bursts
    action = {"type": "search", "query": "weather"}
    done = item("done", "web_search_call", id="ws_1", status="completed", action=action)
    seen = seen_of(reader, added, done)
    assert (seen.searches, seen.tool_uses, seen.in_bursts) == (1, 1, False)
    assert b"weather" in seen.text.kept


@pytest.mark.parametrize(
    ("kind", "more", "uses"),
    [
        ("web_search_call", {}, 1),
        ("tool_search_call", {"execution": "server"}, 1),
        ("tool_search_call", {"execution": "client"}, 0),
        ("compaction", {}, 1),
        ("apply_patch_call", {}, 0),
        ("computer_call", {}, 0),
        ("local_shell_call", {}, 0),
        ("shell_call", {}, 0),
        ("function_call", {}, 0),
    ],
)
def test_responses_count_tools_by_who_runs_them(kind: str, more: Event, uses: int) -> None:
    assert (
        seen_of(ResponsesStreamReader("gpt-5-mini"), item("added", kind, **more)).tool_uses == uses
    )


def test_responses_show_text_once_where_it_had_deltas() -> None:
    operation = {"type": "update_file", "path": "a.py", "diff": ""}
    seen = seen_of(
        ResponsesStreamReader("gpt-5-mini"),
        item("added", "apply_patch_call", call_id="call_1", operation=operation),
        {"type": "response.apply_patch_call_operation_diff.delta", "delta": "+1"},
        item("done", "apply_patch_call", call_id="call_1", operation=operation | {"diff": "+1"}),
    )
    assert bytes(seen.text.kept) == b"a.py+1"


def test_responses_end_with_their_last_event() -> None:
    ended = {"type": "response.completed", "response": {"usage": None}}
    seen = seen_of(ResponsesStreamReader("gpt-4o"), ended)
    assert seen.has_ended
    assert seen.usage is None


READERS: list[Reads] = [
    ChatStreamReader("gpt-5"),
    MistralStreamReader("m"),
    MessagesStreamReader("c"),
    GenerateStreamReader("g"),
    ResponsesStreamReader("r"),
]
NONSENSE: list[object] = [
    None, 3, "x", [], {}, {"type": 3}, {"choices": 3}, {"choices": [3, {"delta": 3}]},
    {"type": "content_block_start", "content_block": 3}, {"type": "content_block_delta"},
    {"type": "message_start", "message": {"usage": {"input_tokens": -1}}},
    {"candidates": [{"content": {"parts": [3, {"text": 3}]}}], "usageMetadata": 3},
    {"type": "response.output_item.added", "item": 3}, {"type": "x.delta", "delta": {}},
    {"type": "response.completed", "response": 3},
    {"type": "content_block_delta", "delta": {"type": {}}},
    {"choices": [{"index": {}, "delta": {"content": "x"}, "finish_reason": []}]},
    {"type": "message_delta", "delta": {"stop_reason": {}}},
    {"type": {}, "delta": {"type": []}, "item": {"type": {}}},
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
@pytest.mark.parametrize("event", NONSENSE, ids=str)
def test_event_of_wrong_types_shows_nothing(reader: Reads, event: object) -> None:
    assert seen_of(reader, event).usage is None
    reader.feed(event)
