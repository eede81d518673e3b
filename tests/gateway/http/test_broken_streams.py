"""Streams that break, and Google's streams of an array, on the vendors' own endpoints."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.fake_provider import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.vendor_apis import (
    FLASH,
    GENERATE,
    MESSAGES,
    directly,
)
from tests.gateway.small_vendor import SmallVendor

pytestmark = pytest.mark.django_db(transaction=True)

EUR: Final = 10**9


def test_broken_message_stream_ends_with_error_event(ask: Asking, vendors: FakeProvider) -> None:
    whole = directly(vendors, MESSAGES, stream=True)
    vendors.answers(cut_after_bytes=whole.index(b"event: message_delta") + 30)
    reply = ask(**MESSAGES.asking(stream=True))
    *_, last = reply.body.removesuffix(b"\n\n").split(b"\n\n")
    name, data = last.split(b"\n")
    assert name == b"event: error"
    error = json.loads(data.removeprefix(b"data: "))
    assert (error["type"], error["error"]["type"]) == ("error", "api_error")
    assert whole.startswith(reply.body.removesuffix(last + b"\n\n"))
    row = row_of(reply)
    assert row.status == "unknown"
    assert 0 < (row.estimated_nanoeur or 0) == (row.cost_nanoeur or 0) < (row.hold_nanoeur or 0)


def chunks(count: int) -> list[bytes]:
    """Return the elements of a streamed array."""
    last = count - 1
    return [
        json.dumps(
            {
                "candidates": [
                    {
                        "content": {"parts": [{"text": f'{{[{index}]}}" \\'}]},
                        **({"finishReason": "STOP"} if index == last else {}),
                    }
                ],
                "modelVersion": FLASH,
                "usageMetadata": {
                    "promptTokenCount": 4,
                    "candidatesTokenCount": index + 1,
                    "totalTokenCount": index + 5,
                },
            },
            indent=2,
        ).encode()
        for index in range(count)
    ]


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_array_stream_is_relayed_byte_for_byte_and_charged(
    ask: Asking, small: SmallVendor, version: str
) -> None:
    path = f"/{version}/models/{FLASH}:streamGenerateContent"
    stream = b"[" + b"\n,\r\n".join(chunks(30)) + b"\n]\n"
    small.answers(path, stream, kind="application/json; charset=UTF-8")
    for query in ("", "?alt=json", "?prettyPrint=false"):
        reply = ask(path=path + query, body=GENERATE.body)
        assert (reply.status, reply.body) == (200, stream)
        assert reply.headers["content-type"] == "application/json; charset=UTF-8"
        row = row_of(reply)
        assert (row.status, row.input_tokens, row.output_tokens) == ("ok", 4, 30)
        assert row.finish_reason == "stop"


def test_broken_array_stream_is_closed_with_error(ask: Asking, small: SmallVendor) -> None:
    path = f"/v1beta/models/{FLASH}:streamGenerateContent"
    begun = b"[" + b",".join(chunks(3)[:2])
    small.answers(path, begun + b', {"candidates": [', cut=True)
    reply = ask(path=path, body=GENERATE.body)
    assert reply.status == 200
    assert reply.body.startswith(begun)
    *_, last = reply.json
    assert (last["error"]["code"], last["error"]["status"]) == (502, "UNAVAILABLE")
    row = row_of(reply)
    assert row.status == "unknown"
    assert 0 < (row.estimated_nanoeur or 0) == (row.cost_nanoeur or 0) < (row.hold_nanoeur or 0)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"", b"nothing", b'[{"error": {"message": "no"}}]'])
def test_array_stream_without_answer_is_error(ask: Asking, small: SmallVendor, body: bytes) -> None:
    path = f"/v1beta/models/{FLASH}:streamGenerateContent"
    small.answers(path, body)
    reply = ask(path=path, body=GENERATE.body)
    error = reply.json[-1] if reply.status == 200 else reply.json
    assert error["error"]["code"] == 502
    assert row_of(reply).status == "unknown"
