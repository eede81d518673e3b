"""A wrong value in any place of a body: never a 5xx, the API's own error, and one row for each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

import pytest

from costs.models import Hold, Rate
from gateway.call.runtime import Gateway
from gateway.core.request_body import DIMENSION_HEADERS
from gateway.models import AiRequestLog
from gateway.providers.catalog import load_catalog
from orgs.models import Organization
from tests.costs.books import check_the_books
from tests.factories import PolicyFactory, RateFactory
from tests.gateway.conftest import Asking
from tests.gateway.walk.agents import AGENTS
from tests.gateway.walk.bodies import CONTENTS, ENDPOINTS, FLASH, Endpoint
from tests.gateway.walk.places import encoded, places, wrong_forms
from tests.gateway.walk.upstream import PlainProviders
from tests.gateway.wire import Reply, Visit

pytestmark = pytest.mark.django_db(transaction=True)

KEY: Final = "idempotency-key"
ERROR_KEYS: Final = {
    "openai": {"message", "type", "param", "code"},
    "anthropic": {"type", "message"},
    "google": {"code", "message", "status"},
}
EACH: Final = 8
ONE_OF_EACH_SHAPE: Final = ("native", "quote", "chat, openai", "messages", "countTokens, v1beta")
# Their fields are listed, or not forwarded beside the nested request.
NOT_RELAYED: Final = ("native", "native, prompt", "quote", "countTokens, whole request")
OF_A_LOT: Final = 10**15
ODD_VALUES: Final = (
    b"",
    b" ",
    b"\xff\xfe",
    b"\x00",
    b"a\tb",
    "ü".encode(),
    b"x" * 300,
    b"a,b",
    b"[]",
)
ODD_HEADERS: Final = [
    *((name, value) for name in (*DIMENSION_HEADERS.values(), KEY) for value in ODD_VALUES),
    *(
        ("content-type", value)
        for value in (*ODD_VALUES, b"text/plain", b"application/json; x=\xff")
    ),
    *(("content-encoding", value) for value in (*ODD_VALUES, b"gzip", b"br")),
    *(("anthropic-version", value) for value in ODD_VALUES),
    *(("anthropic-beta", value) for value in ODD_VALUES),
    *(("user-agent", value) for value in ODD_VALUES),
]
ODD_QUERIES: Final = (
    b"alt=5",
    b"alt=sse&alt=",
    b"%ff=%00",
    b"key=x",
    b"alt[]=sse",
    b"a" * 5000,
)
ODD_PARTS: Final = (
    "\0",
    "\ud7ff",
    "x" * 300,
    "[]",
    "{}",
    "5",
    " ",
    "a b",
    "é",
    "tunedModels/x",
    "\n",
    ":",
)


@pytest.fixture
def walked(gateway: Gateway, api_key: str, caplog: pytest.LogCaptureFixture) -> Iterator[Gateway]:
    """A gateway with every vendor as a plain function, and a price for every model."""
    catalog = load_catalog(sandbox=True)
    for named in {each.body.get("model", FLASH) for each in ENDPOINTS.values()}:
        model = catalog.find(named)
        assert model is not None
        if not Rate.objects.filter(provider=model.provider, model=model.id).exists():
            RateFactory.create(provider=model.provider, model=model.id)
    gateway.providers = PlainProviders()
    with caplog.at_level(logging.WARNING):
        yield gateway
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()
    gateway.call_loop.call_sync(gateway.providers.aclose())
    check_the_books()


def complaint_about(reply: Reply, endpoint: Endpoint) -> str | None:
    """Return what is wrong with a response, None if it is documented."""
    if reply.status >= 500:
        return f"{reply.status} {reply.body[:200]!r}"
    if endpoint.leaves_rows and "x-pulse-request-id" not in reply.headers:
        return f"{reply.status} without a request id"
    if reply.headers["content-type"].startswith("text/event-stream"):
        return "an error in the stream" if b'"error"' in reply.body else None
    return None if reply.status == 200 or is_error(reply, endpoint) else f"{reply.body[:200]!r}"


def is_error(reply: Reply, endpoint: Endpoint) -> bool:
    """Whether a response is an error in the format of the endpoint's own clients."""
    body = reply.json
    if endpoint.shape == "native":
        return body.keys() == {"success", "error", "code", "requestId"} and not body["success"]
    top = {"type", "error"} if endpoint.shape == "anthropic" else {"error"}
    return bool(body.keys() == top and body["error"].keys() == ERROR_KEYS[endpoint.shape])


def forms_of(
    endpoint: Endpoint, *, every: bool = False, each: int = EACH
) -> Iterator[tuple[str, bytes]]:
    """Yield the wrong forms of an endpoint's body: all, or of each so many places one, by turns.

    Endpoints with the same body begin at other places.
    """
    start = len(endpoint.path) % each
    for turn, place in enumerate(places(endpoint.body)):
        if not every and turn % each != start:
            continue
        forms = list(wrong_forms(endpoint.body, place=place))
        yield from forms if every else [forms[turn * 7 % len(forms)]]


def walk(ask: Asking, endpoint: Endpoint, **which: Any) -> None:
    """Send all wrong forms, each with its own Idempotency-Key; check each answer and its row."""
    complaints: dict[str, str] = {}
    seen: set[str] = set()
    for index, (name, body) in enumerate(forms_of(endpoint, **which)):
        reply = ask(body, path=endpoint.path, headers={KEY: f"k{index}"})
        if (complaint := complaint_about(reply, endpoint)) is not None:
            complaints[name] = complaint
        seen.add(reply.headers.get("x-pulse-request-id", ""))
    assert complaints == {}
    rows = {str(each) for each in AiRequestLog.objects.values_list("id", flat=True)}
    assert rows == (seen if endpoint.leaves_rows else set())


@pytest.mark.parametrize("name", ENDPOINTS)
def test_valid_body_is_answered(ask: Asking, walked: Gateway, name: str) -> None:
    endpoint = ENDPOINTS[name]
    reply = ask(endpoint.body, path=endpoint.path)
    assert (reply.status, complaint_about(reply, endpoint)) == (200, None), reply.body


@pytest.mark.parametrize("name", ENDPOINTS)
def test_wrong_value_in_any_place_is_refused_and_recorded(
    ask: Asking, walked: Gateway, name: str
) -> None:
    walk(ask, ENDPOINTS[name])


@pytest.mark.parametrize("name", AGENTS)
def test_wrong_value_in_each_place_of_agents_request_is_refused_and_recorded(
    ask: Asking, walked: Gateway, name: str
) -> None:
    walk(ask, AGENTS[name], each=1)


@pytest.mark.long
@pytest.mark.parametrize("is_limited", [False, True], ids=["no limit", "limited"])
@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_wrong_value_in_every_place_is_refused_and_recorded(
    ask: Asking, walked: Gateway, acme: Organization, name: str, is_limited: bool
) -> None:
    if is_limited:
        limits = {"max_tokens_per_request": OF_A_LOT, "max_cost_per_day_nanoeur": OF_A_LOT}
        PolicyFactory.create(org=acme, **limits)
    walk(ask, ENDPOINTS[name], every=True)


MODALITIES: Final[tuple[Any, ...]] = (5, True, 1.5, "audio", {"audio": 1}, [5], [["audio"]], [{}])


@pytest.mark.parametrize("given", MODALITIES, ids=repr)
def test_modalities_that_are_no_list_of_strings_are_refused_by_name(
    ask: Asking, walked: Gateway, given: Any
) -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
    reply = ask({**body, "modalities": given}, path="/v1/chat/completions")
    sentence = "modalities must be a list of strings"
    assert (reply.status, reply.json["error"]["message"]) == (400, sentence)
    assert AiRequestLog.objects.get().status == "blocked"


@pytest.mark.parametrize("name", [each for each in ENDPOINTS if each not in NOT_RELAYED])
def test_id_of_stored_thing_is_refused_by_name_and_recorded(
    ask: Asking, walked: Gateway, name: str
) -> None:
    endpoint = ENDPOINTS[name]
    reply = ask({**endpoint.body, "stored": [{"file_id": "file_1"}]}, path=endpoint.path)
    assert reply.status == 400
    assert "stored[0].file_id is not supported" in reply.json["error"]["message"]
    assert AiRequestLog.objects.get().status == "blocked"


@pytest.mark.parametrize("name", ONE_OF_EACH_SHAPE)
def test_odd_headers_and_paths_are_refused_and_recorded(
    api_key: str, walked: Gateway, name: str
) -> None:
    endpoint = ENDPOINTS[name]
    body, key = encoded(endpoint.body), ("x-pulse-key", api_key.encode())
    seen = []
    for header, value in ODD_HEADERS:
        named = [key, ("content-type", b"application/json")]
        named = [pair for pair in named if pair[0] != header] + [(header, value)]
        reply = Visit("POST", endpoint.path, named, body).run()
        assert complaint_about(reply, endpoint) is None, (header, value, reply)
        seen.append(reply.headers.get("x-pulse-request-id", ""))
    for query in ODD_QUERIES:
        named = [key, ("content-type", b"application/json")]
        reply = Visit("POST", endpoint.path.partition("?")[0], named, body, query=query).run()
        assert complaint_about(reply, endpoint) is None, (query, reply)
        seen.append(reply.headers.get("x-pulse-request-id", ""))
    rows = {str(each) for each in AiRequestLog.objects.values_list("id", flat=True)}
    assert rows == (set(seen) if endpoint.leaves_rows else set())


@pytest.mark.parametrize("part", ODD_PARTS, ids=ascii)
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "countTokens"])
def test_odd_model_in_path_is_refused(ask: Asking, walked: Gateway, part: str, method: str) -> None:
    endpoint = Endpoint(path=f"/v1beta/models/{part}:{method}", body=CONTENTS)
    reply = ask(endpoint.body, path=endpoint.path)
    assert 400 <= reply.status < 500
    is_path = reply.headers["x-pulse-error-code"] != "not_found"
    assert AiRequestLog.objects.count() == is_path
    if is_path:
        assert complaint_about(reply, endpoint) is None
