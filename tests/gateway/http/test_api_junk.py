"""Random input at every endpoint: a documented response, never a 5xx, and a row for each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs.models import Hold
from gateway.call.runtime import Gateway
from gateway.http.openapi.document import DOCUMENT
from gateway.models import AiRequestLog
from tests.gateway.wire import Reply, Visit

pytestmark = pytest.mark.django_db(transaction=True)

junk = settings(
    max_examples=80,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],  # rows add up; that is counted
)
FIELDS: Final = sorted(DOCUMENT["components"]["schemas"]["Request"]["properties"])
KNOWN: Final = [*FIELDS, "role", "content", "user", "system", "sandbox-small", "", "x" * 129]

texts = st.sampled_from(KNOWN) | st.text(st.characters(), max_size=20)  # lone surrogates too
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
# Bodies that get far: one or two fields of a good request are junk.
nearly_good = st.dictionaries(st.sampled_from(FIELDS), values, max_size=3).map(
    lambda changes: {"model": "sandbox-small", "prompt": "hi", **changes}
)
spoiled = st.builds(
    lambda value, junk, at: (text := json.dumps(value).encode())[:at] + junk + text[at:],
    nearly_good,
    st.binary(max_size=3),
    st.integers(0, 60),
)
bodies = (
    st.binary(max_size=200)
    | texts.map(lambda text: text.encode(errors="surrogatepass"))
    | (values | nearly_good).map(lambda value: json.dumps(value).encode())
    | spoiled
)
HEADERS: Final = (
    "idempotency-key",
    "content-encoding",
    "content-length",
    "cookie",
    "origin",
    "sec-fetch-site",
    "x-csrftoken",
    "x-pulse-team-id",
    "accept",
    "transfer-encoding",
    "x-forwarded-proto",
    "expect",
)
headers = st.lists(
    st.tuples(st.sampled_from(HEADERS), st.binary(max_size=30) | st.sampled_from([b"gzip", b"0"])),
    max_size=3,
    unique_by=lambda pair: pair[0],
)
content_types = st.sampled_from([b"application/json"] * 8 + [b"text/plain", b"", b"\xff", b"a/b;c"])
paths = st.sampled_from([*DOCUMENT["paths"], "/api/", "/v1/x", "/healthz/"]).flatmap(
    lambda path: st.text(max_size=30).map(lambda text: path.replace("{request_id}", text))
)
queries = st.binary(max_size=40) | st.lists(
    st.tuples(
        st.sampled_from([b"limit", b"cursor", b"status", b"model", b"teamId", b"x"]),
        st.binary(max_size=12) | st.integers().map(lambda n: str(n).encode()),
    )
).map(lambda pairs: b"&".join(b"=".join(pair) for pair in pairs))
methods = st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "é"])


def in_shape(reply: Reply) -> None:
    """Check that a response is documented."""
    assert 200 <= reply.status < 500
    if reply.headers["content-type"].startswith("text/event-stream"):
        assert reply.events[-1].name in ("done", "error")
    elif reply.body:
        body = reply.json
        # Vendors' own clients are answered in their shape, with our code in a header.
        assert reply.status == 200 or "x-pulse-error-code" in reply.headers or reply.refusal
        assert reply.headers["cache-control"] == "no-store"
        assert "Traceback" not in json.dumps(body)


@junk
@given(body=bodies, content_type=content_types, more=headers)
def test_every_authenticated_request_leaves_exactly_one_row(
    gateway: Gateway, api_key: str, body: bytes, content_type: bytes, more: Any
) -> None:
    before = AiRequestLog.objects.count()
    named = [("x-pulse-key", api_key.encode()), ("content-type", content_type), *more]
    reply = Visit("POST", "/api/ai/request", named, body).run()
    in_shape(reply)
    request_id = reply.headers["x-pulse-request-id"]
    row = AiRequestLog.objects.get(id=request_id)
    assert AiRequestLog.objects.count() == before + 1
    assert row.status == ("ok" if reply.status == 200 else "blocked")
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()


@junk
@given(method=methods, path=paths, query=queries, more=headers, body=bodies)
def test_random_requests_never_cause_500(  # noqa: PLR0913  every part of a request is junk
    gateway: Gateway,
    api_key: str,
    method: str,
    path: str,
    query: bytes,
    more: Any,
    body: bytes,
) -> None:
    named = [("x-pulse-key", api_key.encode()), ("content-type", b"application/json"), *more]
    in_shape(Visit(method, path, named, body, query=query).run())


@junk
@given(key=st.binary(max_size=80), name=st.sampled_from(["x-pulse-key", "authorization", "cookie"]))
def test_random_credentials_are_refused_and_leave_no_row(
    gateway: Gateway, key: bytes, name: str
) -> None:
    value = {"authorization": b"Bearer " + key, "cookie": b"sessionid=" + key}.get(name, key)
    named = [(name, value), ("content-type", b"application/json")]
    reply = Visit("POST", "/api/ai/request", named, b"{}").run()
    # Django joins repeated headers with commas, so that two parts are two credentials.
    ambiguous = {(400, "ambiguous_credentials")} if b"," in key else set()
    assert reply.refusal[:2] in {(401, "unauthenticated"), *ambiguous}
    assert not AiRequestLog.objects.exists()


def test_rows_contain_only_storable_values(
    gateway: Gateway, api_key: str, make_key: Callable[..., str]
) -> None:
    """Names with NUL, half surrogates and line breaks are quoted in storable sentences."""
    named = [("x-pulse-key", api_key.encode()), ("content-type", b"application/json")]
    for name in ("\\u0000", "\\ud800", "\\u2028", "\\n", "'; DROP TABLE policy; --", "é" * 500):
        for body in (
            f'{{"{name}": 1}}',
            f'{{"{name}": 1, "{name}": 2}}',
            f'{{"model": "m", "prompt": "p", "metadata": {{"{name}": 1}}}}',
            f'{{"model": "{name}", "prompt": "p"}}',
            f'{{"model": "sandbox-small", "prompt": "p", "teamId": "{name}"}}',
        ):
            reply = Visit("POST", "/api/ai/request", named, body.encode()).run()
            assert reply.status in (200, 400), (body, reply)
            row = AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])
            assert not re.search("[\x00-\x1f\ud800-\udfff]", row.error or "")
