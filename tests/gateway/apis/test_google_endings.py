"""How answers of Gemini end: cut off, with an error, or as an answer; each for every client.

https://ai.google.dev/api/generate-content#FinishReason
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from costs.models import Hold
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from gateway.providers.registry import Providers
from tests.costs.books import check_the_books
from tests.factories import RateFactory
from tests.fake_provider import VENDORS, FakeProvider
from tests.fake_provider.vendors import settings_at
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:OF_TOMORROW is not a valid"),  # by the SDK
]

FLASH: Final = "gemini-2.0-flash"
GPT: Final = "gpt-4o-mini"
USAGE: Final = {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12}
EVENTS: Final = "text/event-stream"
_METHOD: Final = f"/v1beta/models/{FLASH}"
_NATIVE: Final = {"contents": [{"parts": [{"text": "Hi"}]}]}
_CHAT: Final = {"model": FLASH, "messages": [{"role": "user", "content": "Hi"}]}
_REQUEST: Final = {"model": FLASH, "prompt": "Hi", "maxTokens": 90}
TOOLS: Final = [{"type": "function", "function": {"name": "look"}}]

# Every way in which a client gets an answer of Gemini.
STREAMS: Final[dict[str, tuple[str, Any]]] = {
    "events": (f"{_METHOD}:streamGenerateContent?alt=sse", _NATIVE),
    "array": (f"{_METHOD}:streamGenerateContent", _NATIVE),
    "chat": ("/v1/chat/completions", {**_CHAT, "stream": True}),
    "request": ("/api/ai/request", {**_REQUEST, "stream": True}),
}
WHOLE: Final[dict[str, tuple[str, Any]]] = {
    "native": (f"{_METHOD}:generateContent", _NATIVE),
    "chat": ("/v1/chat/completions", _CHAT),
    "request": ("/api/ai/request", _REQUEST),
}
TRANSLATED: Final = ("chat", "request")


def chunk(text: str | None = "Hel", reason: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0}
    if text is not None:
        candidate["content"] = {"parts": [{"text": text}], "role": "model"}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "modelVersion": FLASH, "responseId": "x", **more}


# What comes of an answer that is cut off: the body ends, with a status of success.
CUT_OFF: Final[dict[str, list[Any]]] = {
    "text": [chunk()],
    "text and usage": [chunk(usageMetadata=USAGE), chunk("lo", usageMetadata=USAGE)],
    "usage alone": [{"usageMetadata": USAGE, "modelVersion": FLASH}],
    "no parts": [{"candidates": [{"content": {}}], "usageMetadata": USAGE}],
    "nothing": [],
}
REPORTED: Final = frozenset({"text and usage", "usage alone", "no parts"})
# The reasons of the errors; the last is none of today's.
FAILED: Final = (
    *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
    *("MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE", "OTHER", "FINISH_REASON_UNSPECIFIED"),
    *("NO_IMAGE", "IMAGE_OTHER", "PUP_LIMITED_DISABLED", "OF_TOMORROW"),
)
ENDED: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"),
            "ESCALATION",
        ),
        "content_filter",
    ),
}


@pytest.fixture
def fake(gateway: Gateway, prices: object) -> Iterator[FakeProvider]:
    """The vendors at the fake provider."""
    with FakeProvider() as running:
        urls = {vendor: running.base_url(vendor) for vendor in VENDORS}
        gateway.providers = Providers(settings_at(urls), sandbox=True)
        yield running
        check_the_books()


def answer_with(fake: FakeProvider, chunks: list[Any], *, shape: str) -> None:
    """Let the vendor answer with these chunks, in one of its formats."""
    body = "".join(f"data: {json.dumps(each)}\r\n\r\n" for each in chunks)
    kind = EVENTS
    if shape == "array":
        body, kind = json.dumps(chunks), "application/json"
    fake.answers(body=body, headers={"content-type": kind}, times=1)


def row_of(reply: Reply) -> AiRequestLog:
    return AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])


def seen_in(row: AiRequestLog) -> dict[str, int]:
    """Return the tokens that the call of an unknown outcome is charged by."""
    found: dict[str, int] = (row.usage or {})["at_most"]
    return found


def is_error_shown(reply: Reply, shape: str) -> bool:
    """Whether the client gets an error, in its own format, and nothing after it."""
    if reply.status != 200:
        return reply.status == 502
    if shape == "array":
        return "error" in reply.json[-1]
    *_, last = (block for block in reply.body.decode().split("\n\n") if block.strip())
    return '"error"' in last and "[DONE]" not in reply.body.decode()


@pytest.mark.parametrize("cut", CUT_OFF)
@pytest.mark.parametrize("shape", STREAMS)
def test_stream_without_finish_reason_is_cut_off(
    ask: Asking, fake: FakeProvider, shape: str, cut: str
) -> None:
    path, body = STREAMS[shape]
    answer_with(fake, CUT_OFF[cut], shape=shape)
    reply = ask(body, path=path)
    assert is_error_shown(reply, shape), reply.body
    row = row_of(reply)
    assert (row.status, row.code) == ("unknown", "provider_error")
    assert row.cost_nanoeur
    assert (row.cost_nanoeur < (row.hold_nanoeur or 0)) == (cut != "nothing")
    if cut in REPORTED:
        most = seen_in(row)
        assert (most["input_tokens"], most["output_tokens"] >= 7) == (5, True)
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()


@pytest.mark.parametrize("cut", CUT_OFF)
@pytest.mark.parametrize("shape", WHOLE)
def test_answer_without_finish_reason_is_cut_off(
    ask: Asking, fake: FakeProvider, shape: str, cut: str
) -> None:
    path, body = WHOLE[shape]
    fake.answers(body=(CUT_OFF[cut] or [{}])[-1])
    reply = ask(body, path=path)
    assert reply.status == 502
    row = row_of(reply)
    assert (row.status, row.code) == ("unknown", "provider_error")
    if cut in REPORTED:
        assert seen_in(row) == {"input_tokens": 5, "output_tokens": 7}
        assert 0 < (row.cost_nanoeur or 0) < (row.hold_nanoeur or 0)
    else:
        assert row.cost_nanoeur == row.hold_nanoeur


@pytest.mark.parametrize("shape", TRANSLATED)
def test_done_alone_of_google_is_no_answer(ask: Asking, fake: FakeProvider, shape: str) -> None:
    path, body = STREAMS[shape]
    fake.answers(body="data: [DONE]\n\n", headers={"content-type": EVENTS})
    reply = ask(body, path=path)
    assert is_error_shown(reply, shape), reply.body
    assert row_of(reply).status == "unknown"


@pytest.mark.parametrize("model", [GPT, "mistral-small-latest"])
@pytest.mark.parametrize(
    "events",
    [
        ["[DONE]"],
        ['{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}', "[DONE]"],
        ['{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":""}]}', "[DONE]"],
        ['{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}', "[DONE]"],
    ],
    ids=["done alone", "no reason", "empty reason", "usage alone"],
)
def test_chat_stream_without_finish_reason_is_cut_off(
    ask: Asking, fake: FakeProvider, model: str, events: list[str]
) -> None:
    """Also those of OpenAI and Mistral: both end each with a finish reason.

    A few compatible servers end theirs with none, or an empty one, and their clients tell of an
    error too: https://github.com/qualcomm/GenieX/issues/1243,
    https://github.com/earendil-works/pi/pull/4558.
    """
    if model != GPT:
        RateFactory.create(provider="mistral", model=model)
    body = "".join(f"data: {event}\n\n" for event in events)
    fake.answers(body=body, headers={"content-type": EVENTS})
    asked = {**_CHAT, "model": model, "stream": True}
    reply = ask(asked, path="/v1/chat/completions")
    assert is_error_shown(reply, "chat"), reply.body
    assert row_of(reply).status == "unknown"


@pytest.mark.parametrize("reason", FAILED)
@pytest.mark.parametrize("shape", TRANSLATED)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_error_of_model_is_no_answer_and_is_billed(
    ask: Asking, fake: FakeProvider, streamed: bool, shape: str, reason: str
) -> None:
    path, body = (STREAMS if streamed else WHOLE)[shape]
    ended = chunk(None, reason, usageMetadata=USAGE)
    if streamed:
        answer_with(fake, [chunk(usageMetadata=USAGE), ended], shape=shape)
    else:
        fake.answers(body=ended)
    reply = ask(body, path=path)
    assert is_error_shown(reply, shape), reply.body
    assert reason in reply.body.decode()
    row = row_of(reply)
    assert (row.status, row.code) == ("error", "provider_error")
    assert row.finish_reason == reason.lower()
    assert (row.input_tokens, row.output_tokens) == (5, 7)
    assert 0 < (row.cost_nanoeur or 0) < (row.hold_nanoeur or 0)


def test_call_in_malformed_answer_is_not_passed_on(ask: Asking, fake: FakeProvider) -> None:
    """https://github.com/NousResearch/hermes-agent/pull/83886"""
    path, body = STREAMS["chat"]
    ended = chunk(None, "MALFORMED_FUNCTION_CALL", usageMetadata=USAGE)
    ended["candidates"][0]["content"] = {"parts": [{"functionCall": {"name": "look", "args": {}}}]}
    answer_with(fake, [ended], shape="chat")
    reply = ask({**body, "tools": TOOLS}, path=path)
    assert is_error_shown(reply, "chat")
    assert b"tool_calls" not in reply.body


def test_text_of_malformed_call_is_not_stored(ask: Asking, fake: FakeProvider) -> None:
    path, body = WHOLE["chat"]
    ended = chunk(None, "MALFORMED_FUNCTION_CALL", usageMetadata=USAGE)
    ended["candidates"][0]["finishMessage"] = "Malformed function call: print(secret)"
    fake.answers(body=ended)
    assert "secret" not in (row_of(ask(body, path=path)).error or "")


@pytest.mark.parametrize("reason", FAILED)
@pytest.mark.parametrize("shape", ["events", "array", "native"])
def test_googles_own_client_gets_every_reason(
    ask: Asking, fake: FakeProvider, shape: str, reason: str
) -> None:
    path, body = (STREAMS | WHOLE)[shape]
    ended = chunk(None, reason, usageMetadata=USAGE)
    if shape == "native":
        fake.answers(body=ended)
    else:
        answer_with(fake, [ended], shape=shape)
    reply = ask(body, path=path)
    assert (reply.status, row_of(reply).status) == (200, "ok")
    assert reason in reply.body.decode()
    assert b'"error"' not in reply.body


@pytest.mark.parametrize("reason", ENDED)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_other_reasons_are_those_that_clients_know(
    ask: Asking, fake: FakeProvider, streamed: bool, reason: str
) -> None:
    path, body = (STREAMS if streamed else WHOLE)["chat"]
    ended = chunk("", reason, usageMetadata=USAGE)
    if streamed:
        answer_with(fake, [chunk(), ended], shape="chat")
    else:
        fake.answers(body=ended)
    reply = ask(body, path=path)
    assert reply.status == 200
    assert f'"finish_reason":"{ENDED[reason]}"' in reply.body.decode()
    assert row_of(reply).status == "ok"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_blocked_prompt_is_filtered(ask: Asking, fake: FakeProvider, streamed: bool) -> None:
    path, body = (STREAMS if streamed else WHOLE)["chat"]
    usage = {"promptTokenCount": 5, "totalTokenCount": 5}
    blocked = {"promptFeedback": {"blockReason": "JAILBREAK"}, "usageMetadata": usage}
    if streamed:
        answer_with(fake, [blocked], shape="chat")
    else:
        fake.answers(body=blocked)
    reply = ask(body, path=path)
    assert '"finish_reason":"content_filter"' in reply.body.decode()


def test_last_of_several_reasons_counts(ask: Asking, fake: FakeProvider) -> None:
    """Google's own tools end with one in the middle: https://github.com/0xPlaygrounds/rig/pull/2328"""
    path, body = STREAMS["chat"]
    answer_with(
        fake, [chunk("a", "STOP"), chunk("b"), chunk("c", "MAX_TOKENS", usageMetadata=USAGE)],
        shape="chat",
    )  # fmt: skip
    reply = ask(body, path=path)
    assert '"finish_reason":"length"' in reply.body.decode()
