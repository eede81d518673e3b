"""What a stream costs whose connection breaks before its end, by what was seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest

from gateway.apis.generate.tools import PAGES_READS
from gateway.call.runtime import Gateway
from gateway.core.body_budget import CALLER_MAX_BYTES
from gateway.core.seen import TEXT_FREE_BYTES
from gateway.core.usage_bound import SEARCH_TOKENS
from gateway.models import AiRequestLog
from gateway.providers.catalog import load_catalog
from gateway.providers.registry import Providers
from orgs.models import ApiKey
from tests.factories import RateFactory
from tests.fake_provider.vendors import settings_at
from tests.gateway.conftest import Asking
from tests.gateway.small_vendor import SmallVendor
from tests.gateway.stand_ins import until

pytestmark = pytest.mark.django_db(transaction=True)

GPT: Final = "gpt-4o-mini"
HELLO: Final = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def small(gateway: Gateway) -> Iterator[SmallVendor]:
    """A vendor that breaks the connection after the given events."""
    with SmallVendor() as running:
        base_urls = dict.fromkeys(("openai", "anthropic", "google", "mistral"), running.url)
        gateway.providers = Providers(settings_at(base_urls), sandbox=True)
        yield running


def broken(ask: Asking, small: SmallVendor, at: str, path: str, body: Any, *events: Any) -> Any:
    """Return the row of a stream that breaks after these events."""
    sent = b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events)
    small.answers(at, sent, kind="text/event-stream", cut=True)
    reply = ask(body, path=path)
    return AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])


def responses(ask: Asking, small: SmallVendor, events: list[Any], **body: Any) -> Any:
    asked = {"model": GPT, "input": "Hello", "max_output_tokens": 100, "stream": True, **body}
    return broken(ask, small, "/responses", "/v1/responses", asked, *events)


def item(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "item": {"type": kind, **more}}


@pytest.mark.parametrize(
    "kind", ["apply_patch_call", "computer_call", "local_shell_call", "shell_call", "new_call"]
)
def test_tools_of_client_do_not_read_context_again(
    ask: Asking, small: SmallVendor, kind: str
) -> None:
    row = responses(ask, small, [item(kind)], tools=[{"type": "apply_patch"}])
    assert row.status == "unknown"
    assert 0 < row.usage["at_most"]["input_tokens"] < 10_000
    assert row.cost_nanoeur < row.hold_nanoeur


SEARCHING: Final[dict[str, Any]] = {"tools": [{"type": "web_search"}]}


@pytest.mark.parametrize(
    ("asked", "shown", "searches"),
    [
        ({}, 5, 0),
        (SEARCHING | {"max_tool_calls": 2}, 5, 2),
        (SEARCHING | {"max_tool_calls": 3}, 1, 1),
        (SEARCHING, 1, 1),
    ],
)
def test_searches_add_as_often_as_seen_and_request_allows(
    ask: Asking, small: SmallVendor, asked: dict[str, Any], shown: int, searches: int
) -> None:
    row = responses(ask, small, [item("web_search_call")] * shown, **asked)
    added = row.usage["at_most"]["input_tokens"] - searches * SEARCH_TOKENS
    assert 0 < added < 1300  # the frame of tools is 1,024


@pytest.mark.parametrize("model", ["gpt-4o-search-preview", GPT])
def test_search_that_stream_does_not_show_is_counted(
    ask: Asking, small: SmallVendor, model: str
) -> None:
    RateFactory.create(model="gpt-4o-search-preview", web_search_usd_per_k=25)
    row = chats(ask, small, [chat({"content": "Hi"})], model=model)
    tokens = row.usage["at_most"]["input_tokens"]
    assert (tokens > SEARCH_TOKENS) is (model != GPT)


@pytest.mark.parametrize(("tools", "reads"), [([{"urlContext": {}}], PAGES_READS), ([], 0)])
def test_pages_fetched_in_silence_are_counted(
    ask: Asking, small: SmallVendor, tools: list[Any], reads: int
) -> None:
    begun = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}
    body = ASKED["generate"][2] | {"tools": tools}
    row = broken(ask, small, GENERATED, GENERATED, body, begun)
    context = load_catalog(sandbox=False).by_name[FLASH].context_tokens
    assert row.usage["at_most"]["input_tokens"] // context == reads


def chat(delta: dict[str, Any], index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def chats(ask: Asking, small: SmallVendor, events: list[Any], **body: Any) -> Any:
    asked = {"model": GPT, "messages": HELLO, "max_tokens": 1000, "stream": True, **body}
    return broken(ask, small, "/chat/completions", "/v1/chat/completions", asked, *events)


def test_predicted_output_counts_for_each_choice(ask: Asking, small: SmallVendor) -> None:
    predicted = {"prediction": {"type": "content", "content": "x" * 300}}
    costs = [
        chats(ask, small, [chat({"content": "Hi"})], n=2, **more).usage["at_most"]["output_tokens"]
        for more in ({}, predicted)
    ]
    assert 2 * 300 <= costs[1] - costs[0] <= 2 * 400


def test_choices_are_produced_side_by_side(ask: Asking, small: SmallVendor) -> None:
    tokens = [
        chats(ask, small, [chat({"content": "Hi"})], n=n).usage["at_most"]["output_tokens"]
        for n in (1, 4)
    ]
    assert tokens[1] > 3 * tokens[0] - 10


@pytest.mark.parametrize("has_room", [True, False])
def test_kept_text_is_counted_as_memory_of_caller(
    ask: Asking, small: SmallVendor, gateway: Gateway, has_room: bool
) -> None:
    taken = 0 if has_room else CALLER_MAX_BYTES
    shares = {ApiKey.objects.get().pk: CALLER_MAX_BYTES}
    assert gateway.bodies.take(taken, shares)
    text = "word " * (TEXT_FREE_BYTES // 5)
    row = chats(ask, small, [chat({"content": text})] * 2, max_tokens=16_000)
    tokens = row.usage["at_most"]["output_tokens"]
    assert (tokens < 16_000) is has_room
    gateway.bodies.give_back(taken, shares)
    until(lambda: not gateway.tasks)
    assert gateway.bodies.take(CALLER_MAX_BYTES, shares)


# --- broken after the final usage: exact ------------------------------------------------------

USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
MESSAGE: Final[list[dict[str, Any]]] = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
]
CONTENT: Final = {
    "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13},
}
COMPLETED: Final = {
    "type": "response.completed",
    "response": {
        "object": "response",
        "status": "completed",
        "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
    },
}
CHATTED: Final = [chat({"content": "Hi"}), chat({}, finish="stop"), {"choices": [], "usage": USAGE}]
SONNET: Final = "claude-3-5-sonnet-20241022"
FLASH: Final = "gemini-2.0-flash"
GENERATED: Final = f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
ASKED: Final[dict[str, tuple[str, str, dict[str, Any], list[Any]]]] = {
    "chat": (
        *("/chat/completions", "/v1/chat/completions"),
        *({"model": GPT, "messages": HELLO, "stream": True}, CHATTED),
    ),
    "responses": (
        *("/responses", "/v1/responses"),
        *({"model": GPT, "input": "Hello", "stream": True}, [COMPLETED]),
    ),
    "messages": (
        *("/v1/messages", "/v1/messages"),
        *({"model": SONNET, "messages": HELLO, "max_tokens": 9, "stream": True}, MESSAGE),
    ),
    "generate": (
        *(GENERATED, GENERATED),
        *({"contents": [{"parts": [{"text": "Hello"}]}]}, [CONTENT]),
    ),
    "chat by SDK": (
        *("/chat/completions", "/api/ai/request"),
        *({"model": GPT, "prompt": "Hello", "stream": True}, CHATTED),
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_final_usage_is_exact_however_connection_ends(
    ask: Asking, small: SmallVendor, name: str
) -> None:
    row = broken(ask, small, *ASKED[name][:3], *ASKED[name][3])
    assert (row.status, row.code) == ("ok", None)
    assert (row.input_tokens, row.output_tokens, row.estimated_nanoeur) == (9, 4, 0)
    assert row.usage["at_most"] is None


@pytest.mark.parametrize("name", ASKED)
def test_usage_before_end_of_answer_is_estimate(ask: Asking, small: SmallVendor, name: str) -> None:
    at, path, body, events = ASKED[name]
    begun = [*events[:-1], {**CONTENT, "candidates": [{}]}] if name == "generate" else events[:-1]
    row = broken(ask, small, at, path, body, *begun)
    assert (row.status, row.estimated_nanoeur) == ("unknown", row.cost_nanoeur)


def test_array_that_breaks_after_final_usage_is_closed(ask: Asking, small: SmallVendor) -> None:
    path = f"/v1beta/models/{FLASH}:streamGenerateContent"
    small.answers(path, b"[" + orjson.dumps(CONTENT) + b"\n,", cut=True)
    reply = ask(ASKED["generate"][2], path=path)
    assert reply.json == [CONTENT]
    assert AiRequestLog.objects.get().estimated_nanoeur == 0
