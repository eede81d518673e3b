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
from tests.system.endpoints import DOORS, PLAIN, Answer, AskedAt, Door, ask_each, billed_at
from tests.system.misbehaviour import CASES, STREAMED, Case
from tests.system.rows import Charge, Rows
from tests.system.servers import URL_VARIABLES, Installation, Server
from tests.system.upstream import Seen, Upstream, said_in

NOWHERE: Final = "http://127.0.0.1:1"
# No count of tokens is as long, so none can be cut there.
SHORT_BYTES: Final = 100
# What is relayed although it is no answer; what it cost is not known.
NO_ANSWER: Final = "an empty object"
STATUSES: Final = {"settled": "ok", "unknown": "unknown", "released": "error"}


URL_NAMES: Final = tuple(name for name, _ in URL_VARIABLES.values())
UNTOLD_CASES: Final = [case for case in CASES if (case.status, case.state) == (200, "unknown")]


class End(NamedTuple):
    """How a call ended: what its client was told, and the state of its hold."""

    status: int
    code: str | None
    state: str


@pytest.fixture(scope="module", autouse=True)
def _books(installation: Installation) -> Iterator[None]:
    """Demand of the books, when all is over, that they are in order."""
    yield
    installation.run_each(("ledger", "verify"), ("audit", "verify"))


def _doors(case: Case, way: str) -> list[Door]:
    is_long = case.behaviour.get("cut_after_bytes", 0) > SHORT_BYTES
    return [
        door
        for door in DOORS
        if door.streams == (way == STREAMED) and not (is_long and door.is_free)
    ]


def _expected(case: Case, door: Door) -> End:
    """Return the end that the table of cases has, as it is for clients of a vendor's API."""
    said = case.behaviour.get("status", 200)
    if case.state == "released" and said < 500:
        return End(said, case.code, "released")  # a vendor's own refusal keeps its status
    if case.name == NO_ANSWER and door.is_relayed and not door.is_array:
        return End(200, None, "settled" if door.is_free else "unknown")
    if case in UNTOLD_CASES and (door.is_free or door.counts_itself):
        return End(200, None, "settled")
    return End(case.status, case.code, case.state)


def _end(answer: Answer, charge: Charge, case: Case) -> End:
    """Return how a call ended, having looked at the words in which its client was told."""
    door = answer.asked.door
    if answer.status != 200:
        _check_error(answer, case)
    elif case.has_begun:
        [*_, last] = answer.pieces()
        assert door.is_error(last, status=case.status, code=case.code), (door.name, answer.raw)
        return End(case.status, case.code, charge.state)
    elif door.streams:
        assert not any("error" in piece for piece in answer.pieces()), (door.name, answer.raw)
    elif charge.state == "settled":
        assert float(answer.headers["x-pulse-cost-eur"]) == charge.charged_nanoeur / 1e9
    return End(answer.status, answer.code, charge.state)


def _asked(door: Door, *, max_tokens: int = 60) -> AskedAt:
    return AskedAt(call=secrets.token_hex(8), door=door, max_tokens=max_tokens)


def _check_error(answer: Answer, case: Case) -> None:
    """Demand the client's own form: of a vendor's refusal that has a body, its very words."""
    door, status = answer.asked.door, answer.status
    has_words = door.is_relayed and status < 500 and "body" not in case.behaviour
    if has_words:
        assert answer.json() == ERRORS[door.vendor](status, f"The fake provider answers {status}")
    else:
        assert door.is_error(answer.json(), status=status, code=answer.code), answer.raw
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get("retry-after") == case.retry_after, door.name


def _check_charge(asked: AskedAt, charge: Charge, calls: Sequence[Seen]) -> None:
    door = asked.door
    assert charge.status == STATUSES[charge.state], door.name
    assert charge.charged_nanoeur == charge.cost_nanoeur, door.name
    if charge.state == "settled":
        assert charge.charged_nanoeur == _price(asked, charge, calls[0]), door.name
    elif charge.state == "unknown":
        assert charge.charged_nanoeur == charge.amount_nanoeur, door.name
        assert (charge.amount_nanoeur > 0) != door.is_free, door.name
    else:
        assert charge.charged_nanoeur == 0, door.name


def _price(asked: AskedAt, charge: Charge, call: Seen) -> int:
    billed = billed_at(asked.door, call)
    if billed is None:
        return 0
    if "usage" in billed:  # of no use, so the vendor was asked for a count
        billed = {"input_tokens": len(asked.prompt.split(" ")), "output_tokens": 0}
    return charge.price_of(billed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One call at each door: the answers, and by the door's name the charges and what was seen."""

    answers: list[Answer]
    charges: dict[str, Charge]
    calls: dict[str, list[Seen]]
    calls_in_all: int


async def _round(
    installation: Installation, server: Server, upstream: Upstream, *asked: AskedAt
) -> Round:
    answers = await ask_each(server.url, installation.key, *asked)
    charges = {charge.call: charge for charge in Rows(installation.database_url).charges()}
    calls = upstream.calls()
    said = [(said_in(call) if call["body"] else "", call) for call in calls]
    return Round(
        answers=answers,
        charges={each.door.name: charges[each.call] for each in asked},
        calls={each.door.name: [call for s, call in said if s == each.prompt] for each in asked},
        calls_in_all=len(calls),
    )


@pytest.fixture(autouse=True)
def _all_is_in_order(rows: Rows, upstream: Upstream) -> Iterator[None]:
    """Demand after every test that each call has one audit row, and that no hold is left."""
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
    doors = _doors(case, way)
    upstream.reset()  # of a server's first calls
    upstream.answers({"times": FOREVER, **case.behaviour})
    asked = [_asked(door, max_tokens=case.max_tokens) for door in doors]
    found = await _round(installation, facing, upstream, *asked)
    ends = {
        answer.asked.door.name: _end(answer, found.charges[answer.asked.door.name], case)
        for answer in found.answers
    }
    assert ends == {door.name: _expected(case, door) for door in doors}
    for each in asked:
        _check_charge(each, found.charges[each.door.name], found.calls[each.door.name])
    counts = sum(door.counts_itself and case in UNTOLD_CASES for door in doors)
    assert found.calls_in_all == len(doors) + counts


async def test_unreachable_provider_costs_nothing_at_every_compatible_endpoint(
    installation: Installation, upstream: Upstream
) -> None:
    [server] = installation.serve(**dict.fromkeys(URL_NAMES, NOWHERE))
    asked = [_asked(door) for door in DOORS]
    found = await _round(installation, server, upstream, *asked)
    for answer in found.answers:
        door, charge = answer.asked.door, found.charges[answer.asked.door.name]
        assert (answer.status, answer.code) == (503, "provider_unavailable"), door.name
        assert door.is_error(answer.json(), status=503, code="provider_unavailable")
        assert (charge.state, charge.charged_nanoeur) == ("released", 0), door.name


async def test_oversized_answer_is_cut_at_every_compatible_endpoint(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    upstream.answers({"times": FOREVER, "body": "[" + " " * ANSWER_MAX_BYTES})
    for door in (door for door in PLAIN if not door.is_free):
        found = await _round(installation, server, upstream, _asked(door))
        [answer], charge = found.answers, found.charges[door.name]
        assert (answer.status, answer.code, charge.state) == (502, "provider_error", "unknown")
        assert door.is_error(answer.json(), status=502, code="provider_error")
        assert charge.charged_nanoeur == charge.amount_nanoeur
