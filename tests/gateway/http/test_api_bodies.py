"""Invalid bodies, through both handlers: each has an audit row."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest
from pytest_django import Settings

from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from pulse.server import api_handler
from tests.gateway.conftest import Asking
from tests.gateway.wire import Visit, send_to_api

pytestmark = pytest.mark.django_db(transaction=True)

HELLO: Mapping[str, Any] = {"model": "sandbox-small", "prompt": "Say hello"}
BODY = json.dumps(HELLO).encode()
NESTED = b'{"model":' + b"[" * 64 + b"]" * 64 + b"}"

UNREADABLE: list[tuple[bytes, str, str]] = [
    (b"", "", "The body must be valid JSON"),
    (b"{", "", "The body must be valid JSON"),
    (b"[]", "", "The body must be a JSON object"),
    (b'{"model": "a", "model": "a"}', "", 'The body contains the key "model" twice'),
    (b'{"\\u0000": 1, "\\u0000": 1}', "", "The body contains the key '\\x00' twice"),
    (b'{"temperature": NaN}', "", "The body contains NaN"),
    (b'{"prompt": "\xff"}', "", "The body must be UTF-8"),
    (NESTED, "", "The body must not be nested deeper than 64 levels"),
    (b'{"\\ud800": 1}', "", 'Unknown field "?"'),
    (
        b'{"model": "m", "prompt": "\\ud800"}',
        "",
        "prompt must not contain half of a surrogate pair",
    ),
    (BODY, "gzip", "Compressed bodies are not supported"),
    (gzip.compress(BODY), "gzip", "Compressed bodies are not supported"),
    (BODY, "br, gzip", "Compressed bodies are not supported"),
]


def test_invalid_body_is_400_with_sentence_and_row(ask_both: Asking) -> None:
    for body, encoding, sentence in UNREADABLE:
        headers = {"content-encoding": encoding} if encoding else {}
        reply = ask_both(body, headers=headers)
        status, code, error = reply.refusal
        assert (status, code) == (400, "invalid_request")
        assert error.startswith(sentence)
        row = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])
        assert (row.status, row.code, row.error, row.cost_nanoeur) == ("blocked", code, error, 0)
        assert (row.model, row.provider, row.hold_nanoeur) == ("", None, None)
    assert AiRequestLog.objects.count() == len(UNREADABLE)


def test_another_content_type_is_415(ask_both: Asking) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
        reply = ask_both(BODY, headers={"content-type": content_type})
        assert reply.refusal == (
            415,
            "unsupported_media_type",
            "Content-Type must be application/json",
        )
        assert AiRequestLog.objects.filter(id=reply.headers["x-pulse-request-id"]).exists()
    boundary = "multipart/form-data; boundary=x"
    assert ask_both(b"--x--", headers={"content-type": boundary}).status == 415


def test_content_type_ignores_case_and_charset(ask_both: Asking) -> None:
    for content_type in ("Application/JSON", "application/json; charset=utf-8"):
        headers = {"content-type": content_type, "content-encoding": "identity"}
        assert ask_both(BODY, headers=headers).status == 200


def test_body_at_limit_is_read_and_larger_is_413(ask_both: Asking, settings: Settings) -> None:
    settings.BODY_MAX_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2**20
    largest = BODY + b" " * (2**20 - len(BODY))
    assert ask_both(largest).status == 200
    reply = ask_both(largest + b" ")
    assert reply.refusal == (413, "body_too_large", "The body must be at most 1 MiB")
    assert AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"]).code == reply.refusal[1]


def test_limit_is_ten_mebibytes(ask: Asking) -> None:
    reply = ask(BODY + b" " * 10 * 2**20)
    assert reply.refusal == (413, "body_too_large", "The body must be at most 10 MiB")


def test_received_bytes_count_and_not_content_length(ask: Asking, api_key: str) -> None:
    for announced in (b"0", b"9" * 5000, b"-1", b"abc", b"99999999"):
        headers = [
            ("x-pulse-key", api_key.encode()),
            ("content-type", b"application/json"),
            ("content-length", announced),
        ]
        assert Visit("POST", "/api/ai/request", headers, BODY).run().status == 200


def test_path_that_is_not_utf_8_is_400(gateway: Gateway) -> None:
    reply = Visit("GET", "/api/ai/requests", query=b"model=\xff").run()
    assert reply.refusal == (400, "invalid_request", "The URL must be UTF-8")


def test_unknown_host_name_is_400(gateway: Gateway) -> None:
    reply = send_to_api("GET", "/healthz", headers={"host": "evil.example, x"})
    assert reply.refusal == (
        400,
        "invalid_request",
        "The Host header must name a host that this gateway serves",
    )


def test_unknown_path_is_404_in_json(gateway: Gateway) -> None:
    for path in ("/api/", "/api/ai/request/", "/api/nothing", "/v1/nothing", "/healthzz"):
        reply = send_to_api("GET", path)
        assert reply.refusal == (404, "not_found", "Endpoint not found")
        assert "x-pulse-request-id" not in reply.headers


def test_body_that_does_not_arrive_times_out(gateway: Gateway) -> None:
    sent: list[Any] = []

    async def nothing_comes() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = Visit("POST", "/api/ai/request").scope()
    asyncio.run(api_handler.handle(scope, nothing_comes, send, body_timeout_s=0.05))
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["error"] == "The request body was not received within 0.05 s"


def test_client_disconnecting_before_its_body_is_complete_leaves_no_request(
    gateway: Gateway,
) -> None:
    visit = Visit("POST", "/api/ai/request", body=None, leaves_when=lambda _: True)
    assert visit.run().status == 0
    assert not AiRequestLog.objects.exists()
