"""Lines of sessions add up to their cost events; their limit holds over days and processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from django.db import transaction

from costs.core.admission import Admitted, InsufficientRoom, ReserveRequest
from costs.core.holds import State
from costs.core.usage import Usage
from costs.ledger import verify
from costs.ledger.time_zones import follow_time_zone
from costs.ledger.writer import Writer
from costs.models import DailyCost, Period, SessionCost
from gateway.guards.policies import Rule
from gateway.guards.sessions import SessionRule
from orgs.models import Organization
from tests.costs.books import (
    Clock,
    Desk,
    admitted_and_full,
    ask,
    check_the_books,
    settlement,
)
from tests.costs.clients import reserve_together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

CLIENTS: Final = 48
DAY_S: Final = 86_400


def rule(limit_nanoeur: int, session_id: str = "s") -> SessionRule:
    policy = Rule(id="1", name="Agents", max_cost_per_session_nanoeur=limit_nanoeur)
    return SessionRule(session_id=session_id, rules=(policy,))


def in_session(
    org: Organization,
    nanoeur: int,
    *,
    limit: int | None = None,
    session: str = "s",
    agent: str | None = None,
) -> ReserveRequest:
    """Return the request of a call in a session, with its limit if it has one."""
    asked, limited = ask(org, nanoeur), rule(limit or 0, session)
    named = {"session_id": session, **({"agent_id": agent} if agent else {})}
    return replace(
        asked,
        charge_to={**asked.charge_to, **named},
        limits=(*asked.limits, *((limited.limit,) if limit is not None else ())),
        entry=replace(asked.entry, session=limited if limit is not None else None),
    )


def spend(desk: Desk, asked: ReserveRequest, nanoeur: int, **changes: Any) -> None:
    """Admit a call and settle it."""
    answer = desk.reserve(asked)
    assert isinstance(answer, Admitted), answer
    desk.settle(replace(settlement(asked, answer, State.SETTLED, nanoeur), **changes))


def lines() -> list[tuple[str | None, str | None, int]]:
    rows = SessionCost.objects.order_by("session_id", "agent_id")
    return list(rows.values_list("session_id", "agent_id", "amount_nanoeur"))


def test_session_lines_add_up_charges_by_agent(desk: Desk, acme: Organization) -> None:
    spend(desk, ask(acme, 100), 1)
    spend(desk, in_session(acme, 100), 10)
    cached = Usage(input_uncached=10, cache_read=85, cache_read_audio=5, output_text=7)
    spend(desk, in_session(acme, 100, agent="a"), 20, usage=cached)
    spend(desk, in_session(acme, 100, agent="a"), 30)
    spend(desk, in_session(acme, 100, session="t"), 40)
    assert sorted(lines(), key=str) == [("s", "a", 50), ("s", None, 10), ("t", None, 40)]
    line = SessionCost.objects.get(agent_id="a")
    assert (line.requests, line.input_tokens, line.cache_read_tokens) == (2, 109, 90)
    assert sum(DailyCost.objects.values_list("amount_nanoeur", flat=True)) == 101
    check_the_books()


def test_late_usage_corrects_line_of_its_session(desk: Desk, acme: Organization) -> None:
    asked = in_session(acme, 100)
    admitted = desk.reserve(asked)
    desk.settle(settlement(asked, admitted, State.UNKNOWN))
    assert lines() == [("s", None, 100)]
    desk.settle(settlement(asked, admitted, State.SETTLED, 40))
    line = SessionCost.objects.get()
    assert (line.amount_nanoeur, line.estimated_nanoeur, line.requests) == (40, 0, 1)
    check_the_books()


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"amount_nanoeur": 41}, "session_cost"),
        ({"session_id": "t"}, "session_cost"),
        ({"agent_id": "t"}, "session_cost"),
        ({"requests": 2}, "session_cost"),
        ({"day": datetime(2025, 6, 3, tzinfo=UTC)}, "session_cost_day"),
    ],
)
def test_verify_finds_changed_line(
    desk: Desk, acme: Organization, change: dict[str, Any], check: str
) -> None:
    spend(desk, in_session(acme, 100), 40)
    SessionCost.objects.update(**change)
    assert {finding.check for finding in verify.verify().findings} == {check}


def test_session_lines_follow_change_of_time_zone(
    desk: Desk, clock: Clock, acme: Organization
) -> None:
    clock.now = datetime(2025, 6, 2, 20, tzinfo=UTC)
    Organization.objects.filter(pk=acme.pk).update(timezone="UTC")
    spend(desk, in_session(acme, 100), 40)
    clock.pass_s(1)
    with transaction.atomic():
        Organization.objects.filter(pk=acme.pk).update(timezone="Asia/Tokyo")
        follow_time_zone(Organization.objects.get(pk=acme.pk), (), now=clock.now)
    assert f"{SessionCost.objects.get().day}" == "2025-06-03"
    check_the_books()


# --- the limit ----------------------------------------------------------------------------------


def test_period_begins_with_what_session_has_cost(desk: Desk, acme: Organization) -> None:
    spend(desk, in_session(acme, 100), 60)  # before there was a limit
    spend(desk, in_session(acme, 100, session="t"), 500)
    assert isinstance(desk.reserve(in_session(acme, 41, limit=100)), InsufficientRoom)
    spend(desk, in_session(acme, 40, limit=100), 30)
    period = Period.objects.get(scope__startswith="session:")
    assert (period.carried_nanoeur, period.settled_nanoeur, period.limit_nanoeur) == (60, 30, 40)
    check_the_books()


def test_next_day_gives_session_no_new_room(desk: Desk, acme: Organization) -> None:
    spend(desk, in_session(acme, 60, limit=100), 60)
    desk.pass_s(DAY_S)
    assert isinstance(desk.reserve(in_session(acme, 41, limit=100)), InsufficientRoom)
    spend(desk, in_session(acme, 40, limit=100), 40)
    desk.pass_s(DAY_S)
    assert isinstance(desk.reserve(in_session(acme, 1, limit=100)), InsufficientRoom)
    check_the_books()


def test_call_in_flight_at_midnight_still_counts(desk: Desk, acme: Organization) -> None:
    asked = in_session(acme, 60, limit=100)
    admitted = desk.reserve(asked)
    desk.pass_s(DAY_S)
    assert isinstance(desk.reserve(in_session(acme, 41, limit=100)), InsufficientRoom)
    desk.settle(settlement(asked, admitted, State.SETTLED, 60))
    assert isinstance(desk.reserve(in_session(acme, 41, limit=100)), InsufficientRoom)
    check_the_books()


def test_settlements_of_same_batch_count_before_they_are_written(
    desk: Desk, acme: Organization
) -> None:
    asked, other = in_session(acme, 60, limit=100), in_session(acme, 60, session="t")
    admitted, other_admitted = desk.reserve(asked), desk.reserve(other)
    desk.pass_s(DAY_S)
    ended = (
        settlement(asked, admitted, State.SETTLED, 50),
        settlement(other, other_admitted, State.SETTLED, 60),
    )
    (fits,), _ = desk.commit([in_session(acme, 50, limit=100)], ended)
    assert isinstance(fits, Admitted)
    assert isinstance(desk.reserve(in_session(acme, 1, limit=100)), InsufficientRoom)
    period = Period.objects.filter(scope__startswith="session:").latest("starts_at")
    assert (period.carried_nanoeur, period.held_nanoeur) == (50, 50)
    check_the_books()


def test_race_for_rest_of_session_admits_exactly_what_fits(
    new_writer: Callable[..., Writer], today: Desk, acme: Organization
) -> None:
    spend(today, in_session(acme, 10), 10)
    asks = [in_session(acme, 30, limit=1000, agent=f"a{n % 3}") for n in range(CLIENTS)]
    answers = reserve_together([new_writer() for _ in range(4)], asks)
    assert admitted_and_full(answers) == (33, CLIENTS - 33)
    assert Period.objects.get(scope__startswith="session:").held_nanoeur == 33 * 30
    check_the_books()
