"""Invalid bodies, through both handlers: each has an audit row."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import zstandard
from pytest_django import Settings

from gateway.call.runtime import Gateway
from gateway.core.body_budget import CALLER_MAX_BYTES, FREE_BYTES
from gateway.models import AiRequestLog
from orgs.models import ApiKey
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
    (BODY, "gzip", "The body cannot be unpacked: it is not valid gzip"),
    (BODY, "zstd", "The body cannot be unpacked: it is not valid zstd"),
    (gzip.compress(BODY)[:-9], "gzip", "The body cannot be unpacked: it is not valid gzip"),
    (gzip.compress(b"[]"), "gzip", "The body must be a JSON object"),
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


def test_limit_is_32_mebibytes(ask: Asking) -> None:
    reply = ask(BODY + b" " * 32 * 2**20)
    assert reply.refusal == (413, "body_too_large", "The body must be at most 32 MiB")


PACKED: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "x-gzip": lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:]),
    "GZIP": gzip.compress,
    "zstd": zstandard.compress,
    "ZSTD ": lambda body: zstandard.compress(body[:9]) + zstandard.compress(body[9:]),
}


@pytest.mark.parametrize("encoding", PACKED)
def test_compressed_body_is_read(ask_both: Asking, encoding: str) -> None:
    reply = ask_both(PACKED[encoding](BODY), headers={"content-encoding": encoding})
    assert (reply.status, reply.json["content"]) == (200, HELLO["prompt"])


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_body_is_refused_above_limit_and_takes_no_memory(
    ask_both: Asking, gateway: Gateway, settings: Settings, encoding: str
) -> None:
    settings.BODY_MAX_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2**20
    headers = {"content-encoding": encoding}
    largest = BODY + b" " * (2**20 - len(BODY))
    assert ask_both(PACKED[encoding](largest), headers=headers).status == 200
    for body in (largest + b" ", b" " * 2**28):
        refusal = ask_both(PACKED[encoding](body), headers=headers).refusal
        assert refusal == (413, "body_too_large", "The body must be at most 1 MiB")
    assert gateway.bodies.take(CALLER_MAX_BYTES, {"anyone": CALLER_MAX_BYTES})


def test_compressed_body_counts_in_budget(ask: Asking, gateway: Gateway) -> None:
    held = {ApiKey.objects.get().id: CALLER_MAX_BYTES}
    assert gateway.bodies.take(CALLER_MAX_BYTES - 2**20, held)
    packed = gzip.compress(BODY + b" " * 2**21)
    assert ask(packed, headers={"content-encoding": "gzip"}).refusal[:2] == (503, "overloaded")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd", "compress"])
def test_other_encodings_are_415(ask_both: Asking, encoding: str) -> None:
    reply = ask_both(BODY, headers={"content-encoding": encoding})
    sentence = "Content-Encoding must be one of gzip, zstd, identity"
    assert reply.refusal == (415, "unsupported_media_type", sentence)


@pytest.mark.parametrize(
    ("announced", "refusal"),
    [
        (b"9" * 5000, (413, "body_too_large", "The body must be at most 32 MiB")),
        (b"99999999", (413, "body_too_large", "The body must be at most 32 MiB")),
        (b"-1", (400, "invalid_request", "Content-Length must be a number")),
        (b"abc", (400, "invalid_request", "Content-Length must be a number")),
    ],
)
def test_announced_length_is_refused_before_body_is_received(
    gateway: Gateway, api_key: str, announced: bytes, refusal: tuple[int, str, str]
) -> None:
    headers = [
        ("x-pulse-key", api_key.encode()),
        ("content-type", b"application/json"),
        ("content-length", announced),
    ]
    reply = Visit("POST", "/api/ai/request", headers, None, leaves_when=bool).run()
    assert reply.refusal == refusal
    assert reply.headers["connection"] == "close"


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
    for path in ("/api/", "/api/ai/request/", "/api/nothing", "/healthzz"):
        reply = send_to_api("GET", path)
        assert reply.refusal == (404, "not_found", "Endpoint not found")
        assert "x-pulse-request-id" not in reply.headers


PATHS: list[tuple[str, Callable[[Any], str]]] = [
    ("/api/ai/request", lambda body: body["error"]),
    ("/v1/chat/completions", lambda body: body["error"]["message"]),
    ("/v1/messages", lambda body: body["error"]["message"]),
    ("/v1beta/models/gemini-2.0-flash:generateContent", lambda body: body["error"]["message"]),
]
QUOTE: tuple[str, Callable[[Any], str]] = ("/api/ai/quote", lambda body: body["error"])


class StalledUpload:
    """A client that sends the pieces of a body, and then nothing; it leaves with its answer."""

    def __init__(self, path: str, *pieces: bytes, key: str = "") -> None:
        headers = [(b"content-length", b"10000000"), (b"content-type", b"application/json")]
        if key:
            headers.append((b"x-pulse-key", key.encode()))
        self.scope = Visit("POST", path).scope()
        self.scope["headers"] += headers
        self.received = 0
        self.sent: list[Any] = []
        self._pieces = iter(pieces)

    async def receive(self) -> dict[str, Any]:
        piece = next(self._pieces, None)
        if piece is None:
            while not self.sent:  # noqa: ASYNC110  as a socket would wait
                await asyncio.sleep(0.005)
            return {"type": "http.disconnect"}
        self.received += 1
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def answer(self, *, body_max_s: float) -> tuple[int, dict[bytes, bytes], Any]:
        """Return status, headers and body of what was answered."""
        handling = api_handler.handle(self.scope, self.receive, self.send, body_max_s=body_max_s)
        asyncio.run(asyncio.wait_for(handling, 120))
        start, body = self.sent[0], b"".join(each.get("body", b"") for each in self.sent[1:])
        assert not self.sent[-1].get("more_body")
        return start["status"], dict(start["headers"]), json.loads(body)


@pytest.mark.parametrize(("path", "sentence_of"), PATHS)
def test_late_body_is_408_and_closes(
    gateway: Gateway, api_key: str, path: str, sentence_of: Callable[[Any], str]
) -> None:
    status, headers, body = StalledUpload(path, b"{", key=api_key).answer(body_max_s=0.05)
    assert (status, headers[b"connection"]) == (408, b"close")
    assert sentence_of(body) == "The request body must arrive within 0.05 s"
    assert AiRequestLog.objects.get().code == "body_timeout"


@pytest.mark.parametrize(("path", "sentence_of"), [*PATHS, QUOTE])
def test_unknown_caller_is_answered_before_body_is_received(
    gateway: Gateway, path: str, sentence_of: Callable[[Any], str]
) -> None:
    upload = StalledUpload(path)
    status, headers, body = upload.answer(body_max_s=600)
    assert (status, headers[b"connection"]) == (401, b"close")
    assert sentence_of(body) == "A valid API key or session is required"
    assert upload.received == 0


@pytest.mark.parametrize(("path", "sentence_of"), PATHS)
def test_body_beyond_callers_share_is_503_and_leaves_nothing_taken(
    gateway: Gateway,
    api_key: str,
    path: str,
    sentence_of: Callable[[Any], str],
) -> None:
    caller = ApiKey.objects.get().pk
    taken = {caller: CALLER_MAX_BYTES}
    assert gateway.bodies.take(CALLER_MAX_BYTES - 1000, taken)
    small, large = b" " * FREE_BYTES, b" " * 1001
    upload = StalledUpload(path, small, large[1:], large, key=api_key)
    status, headers, body = upload.answer(body_max_s=600)
    assert (status, headers[b"connection"], headers[b"retry-after"]) == (503, b"close", b"1")
    assert sentence_of(body).startswith("Too many large request bodies are in memory")
    assert gateway.bodies.take(1000, taken)
    assert not gateway.bodies.take(1, taken)


def test_connection_stays_open_after_body_that_was_received(ask: Asking) -> None:
    for body, status in ((BODY, 200), (b"{", 400)):
        reply = ask(body)
        assert (reply.status, "connection" in reply.headers) == (status, False)


def test_client_disconnecting_before_its_body_is_complete_leaves_no_request(
    gateway: Gateway, api_key: str
) -> None:
    headers = [
        ("x-pulse-key", api_key.encode()),
        ("content-type", b"application/json"),
        ("content-length", b"5"),
    ]
    visit = Visit("POST", "/api/ai/request", headers, body=None, leaves_when=lambda _: True)
    assert visit.run().status == 0
    assert not AiRequestLog.objects.exists()
