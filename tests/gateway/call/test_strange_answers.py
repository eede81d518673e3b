"""Answers of compatible servers that report no usage, or are no strict JSON: read and charged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from costs.models import CostEvent, Hold
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from tests.factories import RateFactory
from tests.gateway.conftest import Asking
from tests.gateway.local_rows import make_row
from tests.gateway.small_vendor import SmallVendor
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

TEXT: Final = "Bonjour tout le monde"
ZERO: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
USED: Final = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
# Client's path and body; server's path and answer without a usage, which has TEXT or nothing.
APIS: Final[dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]]] = {
    "chat": (
        CHAT,
        {"messages": HELLO, "max_tokens": 900},
        "/v1/chat/completions",
        {"choices": [{"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}]},
    ),
    "native": (
        "/api/ai/request",
        {"prompt": "Hello", "maxTokens": 900},
        "/v1/chat/completions",
        {
            **{"id": "c", "object": "chat.completion", "created": 1, "model": "m"},
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": TEXT},
                    "finish_reason": "stop",
                }
            ],
        },
    ),
    "responses": (
        "/v1/responses",
        {"input": "Hello", "max_output_tokens": 900},
        "/v1/responses",
        {"status": "completed", "output": [{"content": [{"type": "output_text", "text": TEXT}]}]},
    ),
    "messages": (
        "/v1/messages",
        {"messages": HELLO, "max_tokens": 900},
        "/v1/messages",
        {"content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn"},
    ),
    "generate": (
        "/v1beta/models/local/m:generateContent",
        {
            "contents": [{"parts": [{"text": "Hello"}]}],
            "generationConfig": {"maxOutputTokens": 900},
        },
        "/v1beta/models/m:generateContent",
        {"candidates": [{"content": {"parts": [{"text": TEXT}]}, "finishReason": "STOP"}]},
    ),
}


@pytest.fixture
def server(gateway: Gateway) -> Iterator[SmallVendor]:
    """A server with every API, and a row `local` of it with a price."""
    RateFactory.create(provider="local", model="m")
    with SmallVendor() as running:
        dialects = ["chat", "responses", "messages", "generate", "embeddings"]
        make_row("local", base_url=f"{running.url}/v1", dialects=dialects, auth="none", secret="")
        yield running
        gateway.call_loop.call_sync(gateway.providers.aclose())


def answered(
    ask: Asking, server: SmallVendor, api: str, answer: bytes, **fields: Any
) -> tuple[Reply, AiRequestLog]:
    """Send a request that gets this answer; return what came back, and its row."""
    path, body, at, _ = APIS[api]
    server.answers(at, answer)
    reply = ask({"model": "local/m", **body, **fields}, path=path)
    return reply, AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])


@pytest.mark.parametrize("usage", [None, ZERO])
@pytest.mark.parametrize("api", APIS)
def test_unreported_usage_is_counted_by_all_output(
    ask: Asking, server: SmallVendor, api: str, usage: dict[str, int] | None
) -> None:
    costs = []
    for text in (TEXT, TEXT * 20):
        answer = json.dumps(APIS[api][3] | ({"usage": usage} if usage else {}))
        reply, row = answered(ask, server, api, answer.replace(TEXT, text).encode())
        assert reply.status == 200, reply.body
        assert CostEvent.objects.order_by("-id")[0].kind == "estimate"
        assert 0 < (row.cost_nanoeur or 0) < (row.hold_nanoeur or 0) / 2
        costs.append(row.cost_nanoeur or 0)
    assert costs[1] > 4 * costs[0]


def test_plain_answer_to_stream_is_counted(ask: Asking, server: SmallVendor) -> None:
    answer = json.dumps(APIS["chat"][3]).encode()
    reply, row = answered(ask, server, "chat", answer, stream=True)
    assert reply.json["choices"][0]["message"]["content"] == TEXT
    assert 0 < (row.cost_nanoeur or 0) < (row.hold_nanoeur or 0) / 2


def test_zero_usage_at_end_of_stream_is_counted_by_output(ask: Asking, server: SmallVendor) -> None:
    [choice] = APIS["chat"][3]["choices"]
    chunks: list[Any] = [
        {"choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": ZERO},
    ]
    events = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"
    path, body, at, _ = APIS["chat"]
    server.answers(at, events.encode(), kind="text/event-stream")
    reply = ask({"model": "local/m", **body, "stream": True}, path=path)
    assert reply.status == 200
    row = AiRequestLog.objects.get()
    assert 0 < (row.cost_nanoeur or 0) < (row.hold_nanoeur or 0) / 2


def test_unreported_usage_of_embeddings_is_their_input(ask: Asking, server: SmallVendor) -> None:
    server.answers(EMBEDDINGS, b'{"data": [{"index": 0, "embedding": [0.1]}]}')
    costs = []
    for text in ("Hello", "Hello to all of you " * 50):
        reply = ask({"model": "local/m", "input": text}, path=EMBEDDINGS)
        assert reply.status == 200, reply.body
        row = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])
        costs.append(row.cost_nanoeur or 0)
        assert 0 < costs[-1] < (row.hold_nanoeur or 0)
    assert costs[1] > 10 * costs[0]


@pytest.mark.parametrize("answer", [b"{}", b"null", b"[]", b"42", b'{"choices": []}'])
def test_what_is_no_answer_is_charged_at_its_hold(
    ask: Asking, server: SmallVendor, answer: bytes
) -> None:
    _, row = answered(ask, server, "chat", answer)
    assert row.cost_nanoeur == row.hold_nanoeur


@pytest.mark.parametrize(
    ("written", "given"),
    [
        (TEXT, "half of a pair: \\ud83d"),
        ('"index": 0', '"index": 0, "logprobs": NaN'),
        ('"index": 0', '"index": 0, "logprobs": -Infinity'),
        ("{", "\ufeff{"),
    ],
)
def test_json_of_python_is_relayed_and_charged(
    ask: Asking, server: SmallVendor, written: str, given: str
) -> None:
    text = json.dumps(APIS["chat"][3] | {"usage": USED}).replace(written, given, 1)
    reply, row = answered(ask, server, "chat", text.encode())
    assert (reply.status, reply.body) == (200, text.encode())
    assert (row.status, row.input_tokens, row.output_tokens) == ("ok", 5, 3)


@pytest.mark.both_databases
@pytest.mark.parametrize("word", ["a\\u0000b", "a\\ud800b"])
@pytest.mark.parametrize("api", ["chat", "native"])
def test_unprintable_words_of_server_are_settled(
    ask: Asking, server: SmallVendor, api: str, word: str
) -> None:
    [choice] = APIS[api][3]["choices"]
    answer = APIS[api][3] | {
        **{"usage": USED, "service_tier": "WORD", "model": "WORD"},
        "choices": [choice | {"finish_reason": "WORD"}],
    }
    _, row = answered(ask, server, api, json.dumps(answer).replace("WORD", word).encode())
    assert (row.status, row.output_tokens) == ("ok", 3)
    assert not Hold.objects.filter(state="held").exists()


def test_status_that_is_none_is_error_of_provider(ask: Asking, server: SmallVendor) -> None:
    path, body, at, _ = APIS["chat"]
    server.answers(at, b'{"error": {"message": "no", "type": "t"}}', status=999)
    reply = ask({"model": "local/m", **body}, path=path)
    assert (reply.status, reply.json["error"]["code"]) == (502, "provider_error")
