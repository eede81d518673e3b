"""The ids of requests in answers and errors: the gateway's, and the vendor's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fake_provider import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.every_way import (
    CHAT,
    GENERATE,
    GPT,
    MESSAGES,
    chat,
    every_way,
    upstream_id_in,
)
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)


def assert_identified(reply: Reply) -> None:
    own_id = reply.headers["x-pulse-request-id"]
    assert (reply.headers["x-request-id"], reply.headers["request-id"]) == (own_id, own_id)


@every_way
def test_answers_and_errors_have_gateways_id(
    ask: Asking, vendors: FakeProvider, way: dict[str, Any]
) -> None:
    answered = ask(**way)
    assert answered.status == 200
    assert_identified(answered)
    assert upstream_id_in(row_of(answered)) == "req_fake"
    if not way["body"].get("stream"):
        assert answered.headers["x-pulse-upstream-request-id"] == "req_fake"
    vendors.answers(status=500)
    assert_identified(ask(**way))


@every_way
def test_text_in_place_of_vendors_id_is_dropped(
    ask: Asking, vendors: FakeProvider, way: dict[str, Any]
) -> None:
    vendors.answers(status=400, headers={"x-request-id": "Say-hello"})
    reply = ask(**way)
    assert "x-pulse-upstream-request-id" not in reply.headers
    assert upstream_id_in(row_of(reply)) is None


def test_relayed_stream_has_both_ids(ask: Asking, vendors: FakeProvider) -> None:
    reply = ask(**chat(GPT, stream=True))
    assert_identified(reply)
    assert reply.headers["x-pulse-upstream-request-id"] == "req_fake"


@pytest.mark.parametrize("path", [CHAT, MESSAGES["path"], GENERATE["path"], "/v1/embeddings"])
def test_refusals_without_row_have_request_id(
    ask: Asking, vendors: FakeProvider, path: str
) -> None:
    refusals = {
        401: ask({}, path=path, key="pulse_x"),
        400: ask(b"{", path=path),
        415: ask(b"{}", path=path, headers={"content-type": "text/plain"}),
        405: ask(method="DELETE", path=path),
        404: ask({}, path="/v1/no/such/path"),
    }
    for status, reply in refusals.items():
        assert reply.status == status, path
        assert_identified(reply)


def test_model_lists_have_request_id(ask: Asking, vendors: FakeProvider) -> None:
    for path in ("/v1/models", f"/v1/models/{GPT}", "/v1beta/models", "/v1/models/none"):
        assert_identified(ask(method="GET", path=path))


def test_native_api_has_no_vendor_id_headers(ask: Asking, vendors: FakeProvider) -> None:
    reply = ask({"model": GPT, "prompt": "hi", "maxTokens": 50})
    assert reply.status == 200
    assert not {"x-request-id", "request-id"} & reply.headers.keys()
