"""The rules of alerts, as values: shares of limits, unusual days, signatures."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.calendar.periods import first_instant
from gateway.alerts.delivery.signing import secret_of, signature
from gateway.alerts.rules.findings import AlertFinding
from gateway.alerts.rules.spikes import (
    DimensionCost,
    Spike,
    days_like,
    driver_of,
    is_repeated,
    spent_by,
    spike_in,
)
from gateway.alerts.rules.thresholds import DaySpending, Refusal, Spending, of_budget, of_day
from orgs.fields import new_id

EUR = 10**9
PARIS = ZoneInfo("Europe/Paris")
KATHMANDU = ZoneInfo("Asia/Kathmandu")  # 5:45 ahead of UTC
BUDGET = Spending(
    budget_id=new_id(),
    scope="budget:1:1",
    name="Team 1",
    span="month",
    starts_on=date(2025, 6, 1),
    last_day=date(2025, 6, 30),
    limit_nanoeur=100 * EUR,
    charged_nanoeur=0,
    is_hard=True,
)
DAY = DaySpending(
    policy_name="P", starts_on=date(2025, 6, 16), limit_nanoeur=10 * EUR, charged_nanoeur=0
)


def percents(findings: Sequence[AlertFinding]) -> list[int | None]:
    return [finding.percent for finding in findings]


# --- shares of limits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charged", "raised"),
    [
        (0, []),
        (50 * EUR - 1, []),
        (50 * EUR, [50]),
        (80 * EUR - 1, [50]),
        (80 * EUR, [80]),
        (100 * EUR - 1, [80]),
        (100 * EUR, [100]),
        (300 * EUR, [100]),
        (-5 * EUR, []),
    ],
)
def test_budget_alerts_at_highest_share_reached(charged: int, raised: list[int]) -> None:
    assert percents(of_budget(replace(BUDGET, charged_nanoeur=charged))) == raised


def test_higher_share_covers_lower_ones() -> None:
    (half,) = of_budget(replace(BUDGET, charged_nanoeur=50 * EUR))
    (full,) = of_budget(replace(BUDGET, charged_nanoeur=100 * EUR))
    assert full.key in half.or_known_by
    assert half.key not in full.keys
    for other in (
        replace(BUDGET, limit_nanoeur=200 * EUR, charged_nanoeur=200 * EUR),
        replace(BUDGET, starts_on=date(2025, 7, 1), charged_nanoeur=100 * EUR),
        replace(BUDGET, scope="budget:1:2", charged_nanoeur=100 * EUR),
    ):
        assert set(of_budget(other)[0].keys).isdisjoint(full.keys)


def refused(charged: int, held: int, bound: int = 30 * EUR) -> Refusal:
    return Refusal(
        on=date(2025, 6, 16), bound_nanoeur=bound, charged_nanoeur=charged, held_nanoeur=held
    )


@pytest.mark.parametrize(("held", "is_found"), [(80 * EUR, True), (80 * EUR - 1, False)])
def test_refusal_with_under_20_percent_left_is_finding_of_its_own(
    held: int, is_found: bool
) -> None:
    refusing = replace(BUDGET, refusal=refused(0, held))
    assert [found.kind for found in of_budget(refusing)] == ["refusal"] * is_found
    assert of_budget(replace(refusing, is_hard=False)) == []
    day = replace(DAY, limit_nanoeur=100 * EUR, refusal=refused(0, held))
    assert [found.kind for found in of_day(day)] == ["refusal"] * is_found


@pytest.mark.parametrize("charged", [50, 80, 100, 300])
def test_refusal_and_shares_do_not_suppress_each_other(charged: int) -> None:
    refusal = refused(0, 90 * EUR)
    budget = replace(BUDGET, charged_nanoeur=charged * EUR)
    day = replace(DAY, limit_nanoeur=100 * EUR, charged_nanoeur=charged * EUR)
    for without, both in (
        (of_budget(budget), of_budget(replace(budget, refusal=refusal))),
        (of_day(day), of_day(replace(day, refusal=refusal))),
    ):
        (alone,) = (found for found in both if found.kind == "refusal")
        assert alone.keys == (alone.key,)
        assert [found for found in both if found is not alone] == without
        assert all(alone.key not in found.keys for found in without)


def test_zero_limit_is_spent_with_first_charge_not_with_refusal() -> None:
    nothing = replace(BUDGET, limit_nanoeur=0)
    assert of_budget(nothing) == []
    assert percents(of_budget(replace(nothing, charged_nanoeur=1))) == [100]
    (found,) = of_budget(replace(nothing, refusal=refused(0, 0)))
    assert (found.kind, found.percent) == ("refusal", None)


@pytest.mark.parametrize(
    ("charged", "expected", "raised"),
    [
        (10 * EUR, 100 * EUR, False),
        (10 * EUR, 100 * EUR + 1, True),
        (10 * EUR, None, False),
        (100 * EUR, 200 * EUR, False),
    ],
)
def test_forecast_alerts_before_limit_is_reached(
    charged: int, expected: int | None, raised: bool
) -> None:
    budget = replace(BUDGET, charged_nanoeur=charged, expected_nanoeur=expected)
    kinds = [finding.kind for finding in of_budget(budget)]
    assert ("forecast" in kinds) is raised


def test_alert_sentences() -> None:
    (half,) = of_budget(replace(BUDGET, charged_nanoeur=51 * EUR))
    assert half.sentence == (
        'Budget "Team 1" is 51 % spent: 51.00 EUR of 100.00 EUR for the month ending 30 Jun.'
    )
    (ahead,) = of_budget(replace(BUDGET, expected_nanoeur=130 * EUR, full_on=date(2025, 6, 24)))
    assert ahead.sentence == (
        'Budget "Team 1" of 100.00 EUR is forecast to be exceeded: 130.00 EUR by '
        "30 Jun, reaching its limit on 24 Jun."
    )


def test_refusal_sentence_gives_bound_spent_and_held() -> None:
    refusal = refused(20 * EUR, 65 * EUR)
    (found,) = of_budget(replace(BUDGET, charged_nanoeur=20 * EUR, refusal=refusal))
    assert found.sentence == (
        'Budget "Team 1" refused a call that could cost up to 30.00 EUR: 20.00 EUR of 100.00 EUR '
        "were spent for the month ending 30 Jun, and 65.00 EUR were held by running calls."
    )
    assert (found.figures["bound_nanoeur"], found.figures["held_nanoeur"]) == (30 * EUR, 65 * EUR)
    (found,) = of_day(replace(DAY, refusal=refused(0, 9 * EUR, bound=200 * EUR)))
    assert found.sentence == (
        'The daily limit of policy "P" refused a call that could cost up to 200.00 EUR: 0.00 EUR '
        "of 10.00 EUR were spent on 16 Jun, and 9.00 EUR were held by running calls."
    )


@pytest.mark.parametrize(
    ("charged", "held", "raised"),
    [(7, 0, []), (7, 3, []), (8, 0, [80]), (10, 0, [100]), (11, 0, [100])],
)
def test_daily_limit_alerts_at_80_and_100(charged: int, held: int, raised: list[int]) -> None:
    day = replace(DAY, charged_nanoeur=charged * EUR, held_nanoeur=held * EUR)
    assert percents(of_day(day)) == raised


# --- unusual days -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "usual", "found"),
    [
        (20, [10] * 8, True),
        (19, [10] * 8, False),
        (14, [10] * 4, False),
        (20, [10] * 3, False),  # too little is known
        (5, [0] * 8, True),  # a day that is idle otherwise
        (4, [0] * 8, False),
        (1, [0.01] * 8, False),  # cents, however many times
        (25, [2, 30, 4, 25, 10, 12, 8, 20], False),  # days that vary anyway
        (21, [10, 10, 10, 900], True),  # one odd day hides nothing
        (-3, [-9] * 8, False),
    ],
)
def test_spike_is_double_outside_usual_range_and_above_minimum(
    spent: float, usual: list[float], found: bool
) -> None:
    spike = spike_in(
        round(spent * EUR), [round(each * EUR) for each in usual], least_nanoeur=5 * EUR
    )
    assert (spike is not None) is found


@given(st.lists(st.integers(-(10**12), 10**12), max_size=9), st.integers(-(10**12), 10**12))
def test_spike_needs_minimum_increase_and_amount(usual: list[int], spent: int) -> None:
    spike = spike_in(spent, usual, least_nanoeur=EUR)
    if spike is not None:
        assert spike.spent_nanoeur > 0
        assert spike.usual_nanoeur >= 0
        assert len(usual) >= 4


def test_days_before_first_charge_are_not_history() -> None:
    today = date(2025, 6, 16)
    assert days_like(today, first_charged=today) == []
    assert days_like(today, first_charged=today - timedelta(days=27)) == []
    assert len(days_like(today, first_charged=today - timedelta(days=28))) == 4
    assert len(days_like(today, first_charged=date(2020, 1, 1))) == 8
    assert {day.weekday() for day in days_like(today, first_charged=date(2020, 1, 1))} == {0}


def hours(day: date, zone: ZoneInfo, nanoeur: int = 100) -> dict[datetime, int]:
    """Equal amounts in each hour of UTC around the day."""
    starts_at = first_instant(day, zone).replace(minute=0) - timedelta(hours=1)
    return {starts_at + timedelta(hours=n): nanoeur for n in range(28)}


@pytest.mark.parametrize(
    ("clock", "zone", "day", "spent"),
    [
        (time(0, 0), PARIS, date(2025, 6, 2), 0),
        (time(12, 0), PARIS, date(2025, 6, 2), 1200),
        (time(12, 30), PARIS, date(2025, 6, 2), 1250),
        (time(12, 30), KATHMANDU, date(2025, 6, 2), 1250),
        (time(12, 0), PARIS, date(2025, 3, 30), 1100),  # an hour was skipped
        (time(12, 0), PARIS, date(2025, 10, 26), 1300),  # an hour came twice
        (time(1, 0), PARIS, date(2025, 10, 26), 100),
    ],
)
def test_past_costs_are_read_at_same_time_of_day(
    clock: time, zone: ZoneInfo, day: date, spent: int
) -> None:
    assert spent_by(clock, day, zone, hours(day, zone)) == spent


def test_driver_is_largest_increase_not_largest_cost() -> None:
    spike = Spike(spent_nanoeur=40 * EUR, usual_nanoeur=10 * EUR)
    parts = [
        DimensionCost(
            dimension="Team", value="all", today_nanoeur=40 * EUR, before_nanoeur=160 * EUR
        ),
        DimensionCost(
            dimension="App", value="crawler", today_nanoeur=28 * EUR, before_nanoeur=8 * EUR
        ),
        DimensionCost(
            dimension="App", value="chat", today_nanoeur=10 * EUR, before_nanoeur=150 * EUR
        ),
        DimensionCost(dimension="Key", value="k", today_nanoeur=28 * EUR, before_nanoeur=8 * EUR),
    ]
    found = driver_of(spike, parts, days=8, usual_part=0.5)
    assert found is not None
    assert (found.dimension, found.value, found.percent) == ("App", "crawler", 92)
    assert driver_of(spike, [], days=8, usual_part=0.5) is None


def test_spike_alert_repeats_when_cost_doubles() -> None:
    assert not is_repeated(20 * EUR - 1, 10 * EUR)
    assert is_repeated(20 * EUR, 10 * EUR)


def test_signature_matches_documented_algorithm() -> None:
    channel_id, body = new_id(), b'{"text": "x"}'
    secret = secret_of(channel_id, 1, b"pepper")
    expected = hmac.new(secret.encode(), b"1750000000." + body, hashlib.sha256).hexdigest()
    assert signature(body, secret=secret, at=1_750_000_000) == f"t=1750000000,v1={expected}"
    assert secret.startswith("whsec_")
    assert len(secret) >= 40
    others = {secret_of(channel_id, 2, b"pepper"), secret_of(new_id(), 1, b"pepper")}
    assert secret not in others | {secret_of(channel_id, 1, b"another")}


def test_instants_of_hours_are_compared_in_utc() -> None:
    day = date(2025, 6, 2)
    at = datetime(2025, 6, 1, 22, tzinfo=UTC)  # midnight in Paris
    assert spent_by(time(1, 0), day, PARIS, {at: 60}) == 60
