"""Rates in the ledger: decided with the hold, given back when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Max, Min

from costs.core.admission import (
    Admitted,
    InsufficientRoom,
    RateExceeded,
    ReserveRequest,
    Settlement,
)
from costs.core.holds import State
from costs.core.rate_limits import UNITS, RateKind, RateLimit
from costs.core.usage import Usage
from costs.ledger import reaper
from costs.ledger.buckets import UNUSED_FOR, forget_unused
from costs.ledger.reaper import Reaper
from costs.ledger.verify import verify
from costs.ledger.writer import Writer
from costs.models import Hold, HoldBucket, RateBucket
from gateway.models import AiRequestLog
from orgs.fields import new_id
from orgs.models import Organization
from tests.costs.books import (
    Desk,
    admitted_and_full,
    ask,
    check_the_books,
    settlement,
)
from tests.costs.clients import reserve_together, together
from tests.costs.rival import TOKENS
from tests.costs.rivals import raced

SCOPE = "policy:1"
N = 20
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def rate(**figures: Any) -> tuple[RateLimit, ...]:
    return (RateLimit(scope=SCOPE, **figures),)


def bucket(org: Organization) -> RateBucket:
    return RateBucket.objects.get(org=org, scope=SCOPE)


def used(usage: int) -> Usage:
    return Usage(input_uncached=usage - 1, output_text=1)


def ended(
    asked: ReserveRequest, admitted: Any, outcome: State, *, tokens: int | None = None
) -> Settlement:
    made = settlement(asked, admitted, outcome, 0 if outcome is State.SETTLED else None)
    return replace(made, usage=used(tokens) if tokens else None)


def over(answer: object) -> tuple[RateKind, int]:
    assert isinstance(answer, RateExceeded), answer
    return answer.over.kind, answer.over.retry_after_s


# --- decisions --------------------------------------------------------------------------------


def test_requests_per_minute_are_exact(desk: Desk, acme: Organization) -> None:
    asks = [ask(acme, 1, rates=rate(requests_per_minute=N)) for _ in range(N + 5)]
    answers, _ = desk.commit(asks)
    assert admitted_and_full(answers) == (N, 5)
    assert over(answers[-1]) == (RateKind.REQUESTS, 3)
    desk.pass_s(2.999)
    assert over(desk.reserve(ask(acme, 1, rates=rate(requests_per_minute=N)))) == (
        RateKind.REQUESTS,
        1,
    )
    desk.pass_s(0.001)
    assert isinstance(desk.reserve(ask(acme, 1, rates=rate(requests_per_minute=N))), Admitted)
    assert over(desk.reserve(ask(acme, 1, rates=rate(requests_per_minute=N))))
    check_the_books()


def test_tokens_are_corrected_to_use(desk: Desk, acme: Organization) -> None:
    limit = rate(tokens_per_minute=1000)
    asked, admitted = desk.hold(acme, 1, rates=limit, tokens=900)
    assert over(desk.reserve(ask(acme, 1, rates=limit, tokens=101))) == (RateKind.TOKENS, 1)
    desk.settle(ended(asked, admitted, State.SETTLED, tokens=100))
    assert over(desk.reserve(ask(acme, 1, rates=limit, tokens=901))) == (RateKind.TOKENS, 1)
    desk.hold(acme, 1, rates=limit, tokens=900)
    assert bucket(acme).tokens_taken == 1000 * UNITS
    check_the_books()


def test_bill_above_reservation_counts(desk: Desk, acme: Organization) -> None:
    limit = rate(tokens_per_minute=1000)
    asked, admitted = desk.hold(acme, 1, rates=limit, tokens=100)
    desk.settle(ended(asked, admitted, State.SETTLED, tokens=1500))
    assert bucket(acme).tokens_taken == 1500 * UNITS
    assert over(desk.reserve(ask(acme, 1, rates=limit, tokens=1))) == (RateKind.TOKENS, 31)


@pytest.mark.parametrize("outcome", [State.RELEASED, State.SETTLED, State.UNKNOWN])
@pytest.mark.parametrize("counts", [True, False])
def test_every_end_frees_place_once(
    desk: Desk, acme: Organization, outcome: State, counts: bool
) -> None:
    limit = rate(concurrent_requests=1, requests_per_minute=10, tokens_per_minute=100)
    asked, admitted = desk.hold(acme, 1, rates=limit, tokens=40)
    assert over(desk.reserve(ask(acme, 1, rates=limit))) == (RateKind.CONCURRENT, 1)
    made = replace(
        ended(asked, admitted, outcome, tokens=30 if outcome is State.SETTLED else None),
        counts_as_request=counts,
    )
    for _ in range(2):
        desk.settle(made)
    tokens = {State.RELEASED: 0, State.SETTLED: 30, State.UNKNOWN: 40}[outcome]
    row = bucket(acme)
    assert (row.in_flight, row.tokens_taken) == (0, tokens * UNITS)
    assert row.requests_taken == (UNITS if counts else 0)
    desk.settle(ended(asked, admitted, State.SETTLED, tokens=10))  # late
    row = bucket(acme)
    assert (row.in_flight, row.tokens_taken) == (0, tokens * UNITS)
    desk.hold(acme, 1, rates=limit)
    check_the_books()


def test_bucket_survives_change_of_figures(desk: Desk, acme: Organization) -> None:
    desk.hold(acme, 1, rates=rate(requests_per_minute=2))
    desk.hold(acme, 1, rates=rate(requests_per_minute=2))
    desk.hold(acme, 1, rates=rate(requests_per_minute=3))
    assert over(desk.reserve(ask(acme, 1, rates=rate(requests_per_minute=1)))) == (
        RateKind.REQUESTS,
        180,
    )
    assert over(desk.reserve(ask(acme, 1, rates=rate(concurrent_requests=3))))
    check_the_books()


def test_call_is_refused_by_any_of_several_rates(desk: Desk, acme: Organization) -> None:
    both = (*rate(requests_per_minute=5), RateLimit(scope="policy:2", concurrent_requests=1))
    desk.hold(acme, 1, rates=both)
    answer = desk.reserve(ask(acme, 1, rates=both))
    assert over(answer) == (RateKind.CONCURRENT, 1)
    assert isinstance(answer, RateExceeded)
    assert answer.over.state.limit.scope == "policy:2"
    assert bucket(acme).requests_taken == UNITS  # only admitted calls count


def test_spent_limit_comes_before_rate_and_rate_before_held_limit(
    desk: Desk, acme: Organization
) -> None:
    limit = rate(concurrent_requests=1)
    desk.hold(acme, 60, limit=100, rates=limit)
    held = ask(acme, 60, limit=100, rates=limit)
    assert over(desk.reserve(held)) == (RateKind.CONCURRENT, 1)
    spent = desk.reserve(ask(acme, 101, limit=100, rates=limit))
    assert isinstance(spent, InsufficientRoom)
    assert not spent.is_held


@pytest.mark.parametrize(("wait_s", "rows"), [(0, 2), (59, 2), (60, 1)])
def test_call_whose_turn_may_come_leaves_no_row(
    desk: Desk, acme: Organization, wait_s: float, rows: int
) -> None:
    limit = rate(requests_per_minute=1, wait_s=wait_s)
    desk.hold(acme, 1, rates=limit)
    assert over(desk.reserve(ask(acme, 1, rates=limit, may_wait=True))) == (
        RateKind.REQUESTS,
        60,
    )
    assert AiRequestLog.objects.count() == rows
    desk.reserve(ask(acme, 1, rates=limit))
    assert AiRequestLog.objects.count() == rows + 1


def test_tenants_with_same_scope_have_their_own_buckets(
    desk: Desk, acme: Organization, globex: Organization
) -> None:
    limit = rate(requests_per_minute=1, concurrent_requests=1)
    answers, _ = desk.commit([ask(org, 1, rates=limit) for org in (acme, globex, acme, globex)])
    assert [type(each) for each in answers] == [Admitted, Admitted, RateExceeded, RateExceeded]
    check_the_books()


def test_repeated_commit_takes_rate_once(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 1, rates=rate(requests_per_minute=5), tokens=3)
    (again,), _ = desk.commit([asked], again=True)
    assert isinstance(again, Admitted)
    assert again.taken == admitted.taken
    assert (bucket(acme).requests_taken, bucket(acme).in_flight) == (UNITS, 1)
    check_the_books()


def test_reaper_and_withdrawal_free_places(desk: Desk, acme: Organization) -> None:
    limit = rate(concurrent_requests=2, requests_per_minute=5, tokens_per_minute=100)
    asked, _ = desk.hold(acme, 1, rates=limit, tokens=10)
    desk.hold(acme, 1, rates=limit, tokens=20)
    unsent = reaper.withdrawal(asked)
    assert reaper.settle_left(desk.store, desk.ledger, [unsent, unsent]) == 1
    row = bucket(acme)
    assert (row.in_flight, row.requests_taken) == (1, UNITS)
    assert row.tokens_taken == 20 * UNITS
    desk.pass_s(300)
    assert Reaper(desk.ledger).reap(desk.store).settled == 1
    assert bucket(acme).in_flight == 0
    check_the_books()


def test_unused_buckets_are_deleted(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 1, rates=rate(requests_per_minute=5))
    for age, left in ((UNUSED_FOR, 1), (2 * UNUSED_FOR, 1)):
        forget_unused(desk.store, now=desk.store.begin() + age)
        desk.store.commit()
        assert RateBucket.objects.count() == left  # in flight
    desk.settle(ended(asked, admitted, State.SETTLED, tokens=2))
    for age, left in ((UNUSED_FOR, 1), (UNUSED_FOR + timedelta(seconds=1), 0)):
        forget_unused(desk.store, now=desk.store.begin() + age)
        desk.store.commit()
        assert RateBucket.objects.count() == left
    desk.settle(ended(asked, admitted, State.SETTLED, tokens=2))
    desk.hold(acme, 1, rates=rate(requests_per_minute=5))
    check_the_books()


def test_database_refuses_negative_calls_in_flight(desk: Desk, acme: Organization) -> None:
    desk.hold(acme, 1, rates=rate(requests_per_minute=5))
    for column in ("in_flight", "requests_taken", "tokens_taken"):
        with pytest.raises(IntegrityError), transaction.atomic():
            RateBucket.objects.update(**{column: -1})


def test_verify_finds_difference_of_calls_in_flight(desk: Desk, acme: Organization) -> None:
    desk.hold(acme, 1, rates=rate(requests_per_minute=5))
    RateBucket.objects.update(in_flight=2)
    assert [each.check for each in verify().findings] == ["rate_bucket"]
    RateBucket.objects.update(in_flight=1)
    HoldBucket.objects.update(hold_id=new_id())
    assert [each.check for each in verify().findings] == ["rate_bucket", "hold_bucket"]


def test_calls_without_rates_touch_no_bucket(desk: Desk, acme: Organization) -> None:
    desk.hold(acme, 1)
    assert (RateBucket.objects.count(), HoldBucket.objects.count()) == (0, 0)


# --- races ------------------------------------------------------------------------------------


def test_calls_at_once_never_exceed_their_limit(
    new_writer: Callable[..., Writer], acme: Organization
) -> None:
    limit = rate(concurrent_requests=N)
    writers = [new_writer() for _ in range(4)]
    asks = [ask(acme, 1, rates=limit) for _ in range(N + 1)]
    answers = reserve_together(writers, asks)
    assert admitted_and_full(answers) == (N, 1)
    assert bucket(acme).in_flight == N
    settlements = [
        ended(asked, answer, State.SETTLED, tokens=2)
        for asked, answer in zip(asks, answers, strict=True)
        if isinstance(answer, Admitted)
    ]
    together(writers[0], *settlements[: N // 2])
    answers = reserve_together(writers, [ask(acme, 1, rates=limit) for _ in range(N)])
    assert admitted_and_full(answers) == (N // 2, N - N // 2)
    together(writers[1], *settlements)
    assert bucket(acme).in_flight == N // 2
    check_the_books()


def test_four_processes_share_rates_of_each_kind(database_url: str, acme: Organization) -> None:
    figures = {
        "requests": {"requests_per_minute": N},
        "tokens": {"tokens_per_minute": N * TOKENS},
        "concurrent": {"concurrent_requests": N},
    }
    wanted = {
        **{"org": str(acme.pk), "nanoeur": 1, "limit": None, "clients": 24},
        "rates": [{"scope": scope, **figure} for scope, figure in figures.items()],
    }
    results = raced(database_url, wanted, processes=4)
    buckets = {bucket.scope: bucket for bucket in RateBucket.objects.all()}
    assert buckets["concurrent"].in_flight == N
    # A request, or its tokens, are refilled in three seconds.
    first, last = Hold.objects.aggregate(first=Min("held_at"), last=Max("held_at")).values()
    refilled = int((last - first).total_seconds() * N / 60) + 1
    for kind in ("requests", "tokens"):
        assert N <= buckets[kind].in_flight <= N + refilled
    assert sum(admitted for admitted, _ in results) == sum(
        bucket.in_flight for bucket in buckets.values()
    )
    check_the_books()
