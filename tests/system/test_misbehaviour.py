"""Misbehaving providers: the client's error, and the charge."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import pytest

from tests.fake_provider import FOREVER, VENDORS
from tests.system.clients import ClientCall, Outcome, ask_all
from tests.system.misbehaviour import CASES, STREAMED, Case
from tests.system.rows import Charge, Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Seen, Upstream, prompt_in

pytestmark = pytest.mark.both_databases


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One call to each vendor, all misbehaving alike."""

    outcomes: dict[str, Outcome]
    charges: dict[str, Charge]
    calls: dict[str, list[Seen]] = field(default_factory=dict)


async def _round(
    installation: Installation, server: Server, upstream: Upstream, case: Case, way: str
) -> Round:
    upstream.reset()
    upstream.answers(*({"vendor": vendor, **case.behaviour} for vendor in VENDORS))
    asked = [
        ClientCall(
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
async def test_misbehaving_provider_is_charged_by_table(
    installation: Installation, facing: Server, upstream: Upstream, case: Case, way: str
) -> None:
    found = await _round(installation, facing, upstream, case, way)
    for vendor in VENDORS:
        outcome, charge, calls = found.outcomes[vendor], found.charges[vendor], found.calls[vendor]
        end = (outcome.status, outcome.code, charge.state)
        # Google's SDK shows the head with the first event.
        begins = case.begins(streamed=way == STREAMED, shows_head=vendor != "google")
        assert end == (200 if begins else case.status, case.code, case.state), vendor
        assert len(calls) == 1, vendor
        assert outcome.headers.get("retry-after") == case.retry_after, vendor
        assert charge.charged_nanoeur == charge.cost_nanoeur, vendor
        _check_charge(charge, calls[0], outcome)


def _check_charge(charge: Charge, call: Seen, outcome: Outcome) -> None:
    if charge.state == "settled":
        assert charge.charged_nanoeur == charge.price_of(call["billed"])
        assert outcome.answer["estimatedCostEur"] == charge.charged_nanoeur / 1e9
        assert outcome.text == prompt_in(call)
        assert charge.status == "ok"
    elif charge.state == "unknown":
        assert charge.is_unknown_of(stream=outcome.asked.stream)
        assert charge.amount_nanoeur > 0
        assert charge.status == "unknown"
    else:
        assert (charge.charged_nanoeur, charge.status) == (0, "error")


def test_misbehaviour_leaves_no_hold_and_consistent_ledger(rows: Rows) -> None:
    assert rows.unresolved() == 0
    assert rows.disagreements() == []


async def test_unreachable_provider_costs_nothing(installation: Installation, rows: Rows) -> None:
    nowhere = "http://127.0.0.1:1/v1"
    server = installation.serve(OPENAI_BASE_URL=nowhere)[0]
    asked = ClientCall(call=secrets.token_hex(6))
    [outcome] = await ask_all(server.url, installation.key, asked)
    charge = rows.charge(asked.call)
    assert (outcome.status, outcome.code) == (503, "provider_unavailable")
    assert (charge.state, charge.charged_nanoeur) == ("released", 0)


async def test_misbehaviour_does_not_stop_next_call(
    installation: Installation, server: Server, upstream: Upstream
) -> None:
    upstream.reset()
    upstream.answers({"times": FOREVER, "vendor": "openai", "reset": "after"})
    asked = [ClientCall(call=secrets.token_hex(6), vendor=vendor) for vendor in VENDORS * 4]
    outcomes = await ask_all(server.url, installation.key, *asked)
    answered = {outcome.asked.vendor for outcome in outcomes if outcome.is_answered}
    upstream.reset()
    [after] = await ask_all(server.url, installation.key, ClientCall(call=secrets.token_hex(6)))
    assert answered == set(VENDORS) - {"openai"}
    assert after.is_answered
