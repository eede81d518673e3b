"""Any calls and any prices: an hour's charges add up to its cost, however often processes die."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs.core.holds import State
from costs.core.hours import HOUR, HourlyStep, cost_of_hour, hour_of
from costs.ledger import verify
from costs.models import (
    CostEvent,
    DailyCost,
    Hold,
    HoldPeriod,
    HourCost,
    HourlyPrice,
    HourShare,
    MonthlyCost,
    Period,
    SessionCost,
)
from gateway.models import AiRequestLog
from orgs.models import Organization
from tests.costs.books import NOON, Clock, Desk, check_the_books
from tests.costs.faulty import Faults, FaultyStore
from tests.costs.hours.calls import call, card, close_all, close_badly
from tests.factories import HourlyPriceFactory, OrganizationFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

HOURS = 2
AMOUNT = st.integers(0, 3_000)
CHARGED = (HourShare, HourCost, HourlyPrice, HoldPeriod, CostEvent, DailyCost, MonthlyCost)


@dataclass(frozen=True)
class AnyCall:
    """A call, the second of its admission, and how it ended."""

    at_s: int
    of: int
    model: str
    hold: int
    estimate: int
    tokens: int
    end: str


def calls() -> st.SearchStrategy[AnyCall]:
    return st.builds(
        AnyCall,
        at_s=st.integers(0, HOURS * 3600 - 1),
        of=st.integers(0, 2),
        model=st.sampled_from(("a", "b")),
        hold=AMOUNT,
        estimate=AMOUNT,
        tokens=st.just(0) | st.integers(1, 5_000),
        end=st.sampled_from(("known", "known", "known", "unknown", "released", "late")),
    )


def steps() -> st.SearchStrategy[list[tuple[int, int | None]]]:
    """Prices in force from seconds before, within and after the hours."""
    moments = st.integers(-600, HOURS * 3600 + 600)
    changes = st.tuples(moments, st.none() | st.integers(0, 10**7))
    return st.lists(changes, max_size=5, unique_by=lambda each: each[0])


def put(desk: Desk, org: Organization, one: AnyCall) -> None:
    """Send a call and let it end."""
    made = call(desk, org, one.hold, rates=card(one.model), session_id=f"of {one.of}")
    if one.end in ("unknown", "late"):
        made.settle(desk, State.UNKNOWN)
    if one.end == "released":
        made.settle(desk, State.RELEASED)
    if one.end in ("known", "late"):
        made.settle(desk, State.SETTLED, one.tokens, one.estimate)


def empty() -> None:
    """Delete what an earlier example left."""
    for table in (*CHARGED, SessionCost, Hold, Period, AiRequestLog):
        table.objects.all().delete()


def set_steps(model: str, changes: Sequence[tuple[int, int | None]]) -> list[HourlyStep]:
    """Set the prices by the hour of a model, and return them in order."""
    found = []
    for after_s, nanoeur in sorted(changes, key=lambda each: each[0]):
        starts_at = NOON + timedelta(seconds=after_s)
        HourlyPriceFactory.create(
            model=model,
            starts_at=starts_at,
            nanoeur_per_hour=nanoeur or 0,
            is_end=nanoeur is None,
        )
        found.append(HourlyStep(starts_at, nanoeur))
    return found


def charged_in(model: str, hour: Any) -> tuple[int, int, int]:
    """Return what calls of an hour are charged, of it estimates, and the tokens that are known."""
    events = CostEvent.objects.filter(
        occurred_at__gte=hour,
        occurred_at__lt=hour + HOUR,
        rate_card__rates__by_hour__model=model,
    )
    return (
        sum(event.amount_nanoeur for event in events),
        sum(event.estimated_nanoeur for event in events),
        sum((event.input_tokens or 0) + (event.output_tokens or 0) for event in events),
    )


def test_charges_of_any_hour_add_up_to_its_cost(new_desk: Callable[[], Desk], clock: Clock) -> None:
    desks = [new_desk(), new_desk()]
    orgs = [OrganizationFactory.create(timezone=zone) for zone in ("UTC", "Asia/Kathmandu", "UTC")]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        made=st.lists(calls(), max_size=12),
        priced=st.fixed_dictionaries({"a": steps(), "b": steps()}),
        faults=st.lists(st.integers(0, 30), max_size=4),
        at_once=st.integers(1, 5),
    )
    def check(made: list[AnyCall], priced: Any, faults: list[int], at_once: int) -> None:
        empty()
        series = {model: set_steps(model, changes) for model, changes in priced.items()}
        for one in sorted(made, key=lambda each: each.at_s):
            clock.now = NOON + timedelta(seconds=one.at_s)
            put(desks[one.of % 2], orgs[one.of], one)
        clock.now = NOON + (HOURS + 1) * HOUR
        for n, fails_at in enumerate(faults):
            desk = desks[n % 2]
            faulty = FaultyStore(desk.store, Faults(fails_at_write=fails_at))
            close_badly(faulty, desk, at_once=at_once)
            assert not verify.verify().findings
        for desk in desks:
            close_all(desk, at_once=at_once)
        assert not HourCost.objects.filter(done_at=None).exists()
        check_the_books()
        for model, hour in product(series, (NOON, NOON + HOUR)):
            check_hour(model, hour, cost_of_hour(series[model], hour), made)

    check()


def check_hour(model: str, hour: Any, cost: int, made: list[AnyCall]) -> None:
    charged, estimated, tokens = charged_in(model, hour)
    found = HourCost.objects.filter(model=model, starts_at=hour).first()
    if found is None:
        assert cost == 0
        return
    mine = [
        one
        for one in made
        if one.model == model and hour_of(NOON + timedelta(seconds=one.at_s)) == hour
    ]
    unknown = sum(one.hold for one in mine if one.end == "unknown")
    known = sum(one.tokens for one in mine if one.end in ("known", "late"))
    assert (found.amount_nanoeur, found.unknown_nanoeur, tokens) == (cost, unknown, known)
    assert estimated == unknown
    assert charged == (max(cost, unknown) if known else unknown)
