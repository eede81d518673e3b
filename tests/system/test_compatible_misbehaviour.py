"""Misbehaving providers at compatible endpoints: the client's error, and the charge."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import pytest

from gateway.upstream.transport import ANSWER_MAX_BYTES
from tests.fake_provider import FOREVER
from tests.fake_provider.formats import ERRORS
from tests.system.endpoints import (
    ENDPOINTS,
    PLAIN,
    Answer,
    Endpoint,
    EndpointCall,
    ask_each,
    billed_at,
)
from tests.system.misbehaviour import CASES, STREAMED, Case
from tests.system.rows import Charge, Rows
from tests.system.servers import URL_VARIABLES, Installation, Server
from tests.system.upstream import Seen, Upstream, prompt_in

NOWHERE: Final = "http://127.0.0.1:1"
# No count of tokens is as long, so none can be cut there.
SHORT_BYTES: Final = 100
# What is relayed although it is no answer; what it cost is not known.
NO_ANSWER: Final = "an empty object"
STATUSES: Final = {"settled": "ok", "unknown": "unknown", "released": "error"}


URL_NAMES: Final = tuple(name for name, _ in URL_VARIABLES.values())
UNREPORTED_CASES: Final = [case for case in CASES if (case.status, case.state) == (200, "unknown")]


class End(NamedTuple):
    """How a call ended: the status and code its client got, and the state of its hold."""

    status: int
    code: str | None
    state: str


@pytest.fixture(scope="module", autouse=True)
def _books(installation: Installation) -> Iterator[None]:
    """Assert at the end that the ledger is consistent."""
    yield
    installation.run_each(("ledger", "verify"), ("audit", "verify"))


def _endpoints(case: Case, way: str) -> list[Endpoint]:
    is_long = case.behaviour.get("cut_after_bytes", 0) > SHORT_BYTES
    return [
        endpoint
        for endpoint in ENDPOINTS
        if endpoint.streams == (way == STREAMED) and not (is_long and endpoint.is_free)
    ]


def _expected(case: Case, endpoint: Endpoint) -> End:
    """Return the expected end of a case for clients of a vendor's API."""
    end = _expected_charged(case, endpoint)
    return end._replace(state="released") if endpoint.is_free else end


def _expected_charged(case: Case, endpoint: Endpoint) -> End:
    status = case.behaviour.get("status", 200)
    is_refusal = case.state == "released" and case.code != "provider_credentials"
    if case.is_own or (is_refusal and status < 500):
        return End(status, case.code, case.state)  # a vendor's own error keeps its status
    if case.name == NO_ANSWER and endpoint.is_relayed and not endpoint.is_strict:
        return End(200, None, "settled" if endpoint.is_free else "unknown")
    if case in UNREPORTED_CASES and (endpoint.is_free or endpoint.counts_itself):
        return End(200, None, "settled")
    return End(case.status, case.code, case.state)


def _end(answer: Answer, charge: Charge, case: Case) -> End:
    """Return how a call ended, after checking the error its client got."""
    endpoint = answer.asked.endpoint
    begins = case.begins(streamed=endpoint.streams, shows_head=endpoint.shows_head)
    if answer.status != 200:
        assert not begins
        _check_error(answer, case)
    elif begins:
        [*_, last] = answer.pieces()
        assert endpoint.is_error(last, status=case.status, code=case.code), (
            endpoint.name,
            answer.raw,
        )
        return End(case.status, case.code, charge.state)
    elif endpoint.streams:
        assert not any("error" in piece for piece in answer.pieces()), (endpoint.name, answer.raw)
    elif charge.status == "ok":
        assert float(answer.headers["x-pulse-cost-eur"]) == charge.charged_nanoeur / 1e9
    return End(answer.status, answer.code, charge.state)


def _asked(endpoint: Endpoint, *, max_tokens: int = 60) -> EndpointCall:
    return EndpointCall(call=secrets.token_hex(8), endpoint=endpoint, max_tokens=max_tokens)


def _check_error(answer: Answer, case: Case) -> None:
    """Assert the client's error format; a vendor's own error keeps its body."""
    endpoint, status = answer.asked.endpoint, answer.status
    if endpoint.is_relayed and case.is_own:
        assert answer.json() == ERRORS[endpoint.vendor](
            status, f"The fake provider answers {status}"
        )
    else:
        assert endpoint.is_error(answer.json(), status=status, code=answer.code), answer.raw
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get("retry-after") == case.retry_after, endpoint.name


def _check_charge(asked: EndpointCall, charge: Charge, calls: Sequence[Seen]) -> None:
    endpoint = asked.endpoint
    statuses = {"ok", "error"} if endpoint.is_free else {STATUSES[charge.state]}
    assert charge.status in statuses, endpoint.name
    assert charge.charged_nanoeur == charge.cost_nanoeur, endpoint.name
    if charge.state == "settled":
        assert charge.charged_nanoeur == _price(asked, charge, calls[0]), endpoint.name
    elif charge.state == "unknown":
        assert charge.is_unknown_of(stream=endpoint.streams), endpoint.name
        assert charge.amount_nanoeur > 0, endpoint.name
    else:
        assert charge.charged_nanoeur == 0, endpoint.name


def _price(asked: EndpointCall, charge: Charge, call: Seen) -> int:
    billed = billed_at(asked.endpoint, call)
    if billed is None:
        return 0
    if "usage" in billed:  # of no use, so the vendor was asked for a count
        billed = {"input_tokens": len(asked.prompt.split(" ")), "output_tokens": 0}
    return charge.price_of(billed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One call at each endpoint: answers, and by endpoint name the charges and vendor calls."""

    answers: list[Answer]
    charges: dict[str, Charge]
    calls: dict[str, list[Seen]]
    calls_in_all: int


async def _round(
    installation: Installation, server: Server, upstream: Upstream, *asked: EndpointCall
) -> Round:
    answers = await ask_each(server.url, installation.key, *asked)
    charges = {charge.call: charge for charge in Rows(installation.database_url).charges()}
    calls = upstream.calls()
    status = [(prompt_in(call) if call["body"] else "", call) for call in calls]
    return Round(
        answers=answers,
        charges={each.endpoint.name: charges[each.call] for each in asked},
        calls={
            each.endpoint.name: [call for s, call in status if s == each.prompt] for each in asked
        },
        calls_in_all=len(calls),
    )


@pytest.fixture(autouse=True)
def _all_is_in_order(rows: Rows, upstream: Upstream) -> Iterator[None]:
    """Assert after every test that each call has one audit row, and that no hold is left."""
    yield
    upstream.reset()
    repeated = "SELECT client_id FROM ai_request_log GROUP BY client_id HAVING count(*) > 1"
    assert rows.query(repeated) == []
    assert rows.unresolved() == 0
    assert rows.disagreements() == []


@pytest.mark.parametrize(
    ("case", "way"),
    [pytest.param(case, way, id=f"{case.name}, {way}") for case in CASES for way in case.ways],
)
async def test_misbehaviour_is_charged_by_table_at_every_compatible_endpoint(
    installation: Installation, facing: Server, upstream: Upstream, case: Case, way: str
) -> None:
    endpoints = _endpoints(case, way)
    upstream.reset()  # of a server's first calls
    upstream.answers({"times": FOREVER, **case.behaviour})
    asked = [_asked(endpoint, max_tokens=case.max_tokens) for endpoint in endpoints]
    found = await _round(installation, facing, upstream, *asked)
    ends = {
        answer.asked.endpoint.name: _end(answer, found.charges[answer.asked.endpoint.name], case)
        for answer in found.answers
    }
    assert ends == {endpoint.name: _expected(case, endpoint) for endpoint in endpoints}
    for each in asked:
        _check_charge(each, found.charges[each.endpoint.name], found.calls[each.endpoint.name])
    counts = sum(endpoint.counts_itself and case in UNREPORTED_CASES for endpoint in endpoints)
    assert found.calls_in_all == len(endpoints) + counts


async def test_unreachable_provider_costs_nothing_at_every_compatible_endpoint(
    installation: Installation, upstream: Upstream
) -> None:
    [server] = installation.serve(**dict.fromkeys(URL_NAMES, NOWHERE))
    asked = [_asked(endpoint) for endpoint in ENDPOINTS]
    found = await _round(installation, server, upstream, *asked)
    for answer in found.answers:
        endpoint, charge = answer.asked.endpoint, found.charges[answer.asked.endpoint.name]
        assert (answer.status, answer.code) == (503, "provider_unavailable"), endpoint.name
        assert endpoint.is_error(answer.json(), status=503, code="provider_unavailable")
        assert (charge.state, charge.charged_nanoeur) == ("released", 0), endpoint.name


async def test_oversized_answer_is_cut_at_every_compatible_endpoint(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    upstream.answers({"times": FOREVER, "body": "[" + " " * ANSWER_MAX_BYTES})
    for endpoint in (endpoint for endpoint in PLAIN if not endpoint.is_free):
        found = await _round(installation, server, upstream, _asked(endpoint))
        [answer], charge = found.answers, found.charges[endpoint.name]
        assert (answer.status, answer.code, charge.state) == (502, "provider_error", "unknown")
        assert endpoint.is_error(answer.json(), status=502, code="provider_error")
        assert charge.charged_nanoeur == charge.amount_nanoeur
