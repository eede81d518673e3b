"""Every way in which a provider can misbehave: what the client is told, and what is charged."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.fake_provider import FOREVER, VENDORS
from tests.system.clients import Asked, Outcome, ask_all
from tests.system.rows import Charge, Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Seen, Upstream, said_in

TIMEOUT_S: Final = 1
PLAIN, STREAMED = "plain", "streamed"
GARBAGE: Final = "<html>not what you think</html>"
ERROR_EVENT: Final = 'event: error\ndata: {"type": "error", "error": {"message": "no"}}\n\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the provider does, and what must come of it.

    `status` is that of the response; where a stream had begun it is 200 and the end is an error.
    `state` is the hold's: settled is charged by the usage, unknown whole, released not at all.
    """

    name: str
    behaviour: dict[str, Any]
    status: int
    code: str | None
    state: str
    ways: tuple[str, ...] = (PLAIN, STREAMED)
    has_begun: bool = False
    max_tokens: int = 60
    retry_after: str | None = None


def _refused(status: int, **behaviour: Any) -> list[Case]:
    """An error status proves that nothing was billed, whatever is in the body."""
    told, code = (429, "provider_rate_limited") if status == 429 else (502, "provider_error")
    wait = "1" if status == 429 else None
    common: dict[str, Any] = {"status": told, "code": code, "state": "released"}
    return [
        Case(
            name=f"{status}{suffix}",
            behaviour={"status": status, **body},
            retry_after=wait,
            **common,
        )
        for suffix, body in (
            ("", {}),
            (" without a body", {"body": ""}),
            (" in HTML", {"body": GARBAGE}),
        )
    ]


UNKNOWN_502: Final[dict[str, Any]] = {"status": 502, "code": "provider_error", "state": "unknown"}
UNKNOWN_504: Final[dict[str, Any]] = {"status": 504, "code": "provider_timeout", "state": "unknown"}
WELL: Final[dict[str, Any]] = {"status": 200, "code": None, "state": "settled"}

CASES: Final = [
    Case(name="nothing bad", behaviour={}, **WELL),
    Case(name="a drip", behaviour={"drip_s": 0.02}, **WELL),
    Case(name="usage twice", behaviour={"usage_twice": True}, **WELL),
    Case(name="usage above the cap", behaviour={"output_tokens": 9_000}, **WELL),
    Case(name="no usage", behaviour={"no_usage": True}, status=200, code=None, state="unknown"),
    *(case for status in (400, 429, 500, 529) for case in _refused(status)),
    *(_refused(status)[0] for status in (401, 403, 404, 503)),
    Case(
        name="429 that says how long",
        behaviour={"status": 429, "headers": {"retry-after": "7"}},
        status=429,
        code="provider_rate_limited",
        state="released",
        retry_after="7",
    ),
    *(
        Case(name=f"a proxy's {status}", behaviour={"status": status}, **UNKNOWN_504)
        for status in (408, 504, 524)
    ),
    Case(
        name="a redirect",
        behaviour={"status": 307, "headers": {"location": "/elsewhere"}},
        **UNKNOWN_502,
    ),
    Case(
        name="an error as a success",
        behaviour={"body": {"error": {"message": "no"}}},
        **UNKNOWN_502,
    ),
    Case(name="garbage as a success", behaviour={"body": GARBAGE}, **UNKNOWN_502),
    Case(name="an empty success", behaviour={"body": ""}, **UNKNOWN_502),
    Case(name="an empty object", behaviour={"body": {}}, **UNKNOWN_502),
    Case(name="reset before the body", behaviour={"reset": "before"}, **UNKNOWN_502),
    Case(name="reset after the body", behaviour={"reset": "after"}, **UNKNOWN_502),
    Case(name="cut at once", behaviour={"cut_after_bytes": 5}, **UNKNOWN_502),
    Case(
        name="cut in mid-answer", behaviour={"cut_after_bytes": 120}, ways=(PLAIN,), **UNKNOWN_502
    ),
    Case(
        name="cut in mid-stream",
        behaviour={"cut_after_bytes": 1600},
        ways=(STREAMED,),
        has_begun=True,
        **UNKNOWN_502,
    ),
    Case(
        name="an error in mid-stream",
        behaviour={"extra_events": (ERROR_EVENT,)},
        ways=(STREAMED,),
        has_begun=True,
        **UNKNOWN_502,
    ),
    Case(name="an answer too late", behaviour={"pause_s": 30}, **UNKNOWN_504),
    Case(name="no answer at all", behaviour={"stall": "headers"}, **UNKNOWN_504),
    Case(
        name="a body that stalls",
        behaviour={"stall": "body", "stall_after_events": 0},
        **UNKNOWN_504,
    ),
    Case(
        name="a stream that stalls",
        behaviour={"stall": "body", "stall_after_events": 4},
        ways=(STREAMED,),
        has_begun=True,
        **UNKNOWN_504,
    ),
    Case(
        name="a stream without an end",
        behaviour={"endless": True},
        ways=(STREAMED,),
        has_begun=True,
        **UNKNOWN_504,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One call to each vendor, all misbehaving alike."""

    outcomes: dict[str, Outcome]
    charges: dict[str, Charge]
    calls: dict[str, list[Seen]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def hasty(installation: Installation) -> Server:
    """A server whose patience with providers is short."""
    return installation.serve(PULSE_PROVIDER_TIMEOUT_S=str(TIMEOUT_S))[0]


async def _round(
    installation: Installation, server: Server, upstream: Upstream, case: Case, way: str
) -> Round:
    upstream.reset()
    upstream.answers(*({"vendor": vendor, **case.behaviour} for vendor in VENDORS))
    asked = [
        Asked(
            call=f"{vendor}-{secrets.token_hex(6)}",
            vendor=vendor,
            stream=way == STREAMED,
            max_tokens=case.max_tokens,
        )
        for vendor in VENDORS
    ]
    outcomes = await ask_all(server.url, installation.key, *asked)
    rows = Rows(installation.database_url)
    calls = upstream.calls()
    return Round(
        outcomes={outcome.asked.vendor: outcome for outcome in outcomes},
        charges={each.vendor: rows.charge(each.call) for each in asked},
        calls={vendor: [call for call in calls if call["vendor"] == vendor] for vendor in VENDORS},
    )


@pytest.mark.parametrize(
    ("case", "way"),
    [pytest.param(case, way, id=f"{case.name}, {way}") for case in CASES for way in case.ways],
)
async def test_a_misbehaving_provider_is_charged_as_the_table_says(
    installation: Installation, hasty: Server, upstream: Upstream, case: Case, way: str
) -> None:
    found = await _round(installation, hasty, upstream, case, way)
    for vendor in VENDORS:
        outcome, charge, calls = found.outcomes[vendor], found.charges[vendor], found.calls[vendor]
        told = (outcome.status, outcome.code, charge.state)
        assert told == (200 if case.has_begun else case.status, case.code, case.state), vendor
        assert len(calls) == 1, vendor
        assert outcome.headers.get("retry-after") == case.retry_after, vendor
        assert charge.charged_nanoeur == charge.cost_nanoeur, vendor
        _check_charge(charge, calls[0], outcome)


def _check_charge(charge: Charge, call: Seen, outcome: Outcome) -> None:
    if charge.state == "settled":
        assert charge.charged_nanoeur == charge.price_of(call["billed"])
        assert outcome.answer["estimatedCostEur"] == charge.charged_nanoeur / 1e9
        assert outcome.text == said_in(call)
        assert charge.status == "ok"
    elif charge.state == "unknown":
        assert charge.charged_nanoeur == charge.amount_nanoeur > 0
        assert charge.status == "unknown"
    else:
        assert (charge.charged_nanoeur, charge.status) == (0, "error")


def test_the_table_leaves_no_hold_and_books_that_add_up(rows: Rows) -> None:
    assert rows.unresolved() == 0
    assert rows.disagreements() == []


async def test_a_provider_that_nobody_can_reach_costs_nothing(
    installation: Installation, rows: Rows
) -> None:
    nowhere = "http://127.0.0.1:1/v1"
    server = installation.serve(OPENAI_BASE_URL=nowhere)[0]
    asked = Asked(call=secrets.token_hex(6))
    [outcome] = await ask_all(server.url, installation.key, asked)
    charge = rows.charge(asked.call)
    assert (outcome.status, outcome.code) == (503, "provider_unavailable")
    assert (charge.state, charge.charged_nanoeur) == ("released", 0)


async def test_a_vendor_s_misbehaviour_does_not_stop_the_next_call(
    installation: Installation, hasty: Server, upstream: Upstream
) -> None:
    upstream.reset()
    upstream.answers({"times": FOREVER, "vendor": "openai", "reset": "after"})
    asked = [Asked(call=secrets.token_hex(6), vendor=vendor) for vendor in VENDORS * 4]
    outcomes = await ask_all(hasty.url, installation.key, *asked)
    answered = {outcome.asked.vendor for outcome in outcomes if outcome.is_answered}
    upstream.reset()
    [after] = await ask_all(hasty.url, installation.key, Asked(call=secrets.token_hex(6)))
    assert answered == set(VENDORS) - {"openai"}
    assert after.is_answered
