"""What a stream costs whose connection breaks before its end, by what was seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest

from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from gateway.providers.registry import Providers
from tests.fake_provider.vendors import settings_at
from tests.gateway.conftest import Asking
from tests.gateway.small_vendor import SmallVendor

pytestmark = pytest.mark.django_db(transaction=True)

GPT: Final = "gpt-4o-mini"


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


@pytest.mark.parametrize(
    ("asked", "reads"), [({}, 0), ({"tools": [{"type": "web_search"}], "max_tool_calls": 2}, 3)]
)
def test_context_is_read_again_no_more_often_than_request_allows(
    ask: Asking, small: SmallVendor, asked: dict[str, Any], reads: int
) -> None:
    row = responses(ask, small, [item("web_search_call")] * 5, **asked)
    tokens = row.usage["at_most"]["input_tokens"]
    assert tokens == reads * 128_000 if reads else tokens < 1000


def chat(delta: dict[str, Any], index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def chats(ask: Asking, small: SmallVendor, events: list[Any], **body: Any) -> Any:
    said = [{"role": "user", "content": "Hello"}]
    asked = {"model": GPT, "messages": said, "max_tokens": 1000, "stream": True, **body}
    return broken(ask, small, "/chat/completions", "/v1/chat/completions", asked, *events)


def test_predicted_output_counts_for_each_choice(ask: Asking, small: SmallVendor) -> None:
    predicted = {"prediction": {"type": "content", "content": "x" * 300}}
    costs = [
        chats(ask, small, [chat({"content": "Hi"})], n=2, **more).usage["at_most"]["output_tokens"]
        for more in ({}, predicted)
    ]
    assert 2 * 300 <= costs[1] - costs[0] <= 2 * 400
