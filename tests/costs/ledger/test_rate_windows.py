"""No stretch of time has more than the bucket and its refill, by what calls have used."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from itertools import count
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from costs.core.admission import ReserveRequest, Settlement
from costs.core.holds import State
from costs.core.rate_limits import RateLimit, over_rate
from costs.core.usage import Usage
from costs.ledger.buckets import Buckets
from costs.ledger.stores.base import BucketRow
from orgs.fields import new_id
from tests.costs.books import NOON, RATES

ORG = new_id()
SECOND_US = 10**6
PER_MINUTE = 600
LIMIT = RateLimit(scope="policy:1", tokens_per_minute=PER_MINUTE, requests_per_minute=PER_MINUTE)


class Try(NamedTuple):
    """A call: how long after the one before, what it reserves and uses, and how long it takes."""

    after_us: int
    tokens: int
    used: int
    takes_us: int
    is_sent: bool


# Around a minute, in which a bucket is refilled, and in pieces of it: most others never collide.
TIMES = st.one_of(
    st.sampled_from([second * SECOND_US for second in (0, 1, 30, 59, 60)]),
    st.integers(0, 90 * SECOND_US),
)
TOKENS = st.one_of(st.sampled_from([PER_MINUTE, PER_MINUTE - 10]), st.integers(1, PER_MINUTE))
TRIES = st.lists(
    st.builds(
        lambda after, tokens, share, takes, sent: Try(
            after, tokens, tokens * share // 4, takes, sent
        ),
        TIMES,
        TOKENS,
        st.sampled_from([0, 1, 4]),
        TIMES,
        st.booleans(),
    ),
    min_size=3,
    max_size=6,
)


def request(tokens: int) -> ReserveRequest:
    id_ = new_id()
    return ReserveRequest(
        id=id_,
        request_id=id_,
        org_id=ORG,
        config_version=1,
        prices_version=1,
        providers_version=0,
        amount_nanoeur=1,
        limits=(),
        deadline_s=1,
        charge_to={},
        rates=RATES,
        entry=None,
        rate_limits=(LIMIT,),
        tokens=tokens,
    )


class Simulation:
    """One bucket, whose row goes from one transaction to the next."""

    def __init__(self) -> None:
        self.rows: list[BucketRow] = []
        self.used: list[tuple[datetime, int, int]] = []
        self.ends: list[tuple[datetime, int, Settlement, datetime]] = []
        self.numbers = count()

    def reserve(self, each: Try, now: datetime) -> None:
        self.settle_until(now)
        buckets = Buckets(self.rows, now=now)
        if over_rate(buckets.states(ORG, (LIMIT,)), each.tokens) is not None:
            return
        asked = request(each.tokens)
        taken = buckets.take(asked)
        self.rows = list(buckets._by_id.values())
        used = each.used if each.is_sent else 0
        settled = Settlement(
            hold_id=asked.id,
            request_id=asked.id,
            org_id=ORG,
            period_ids=(),
            outcome=State.SETTLED if used else State.RELEASED,
            cost_nanoeur=None,
            usage=Usage(input_uncached=used) if used else None,
            charge_to={},
            rates=RATES,
            entry=None,
            taken=taken,
            counts_as_request=each.is_sent,
        )
        ends_at = now + timedelta(microseconds=each.takes_us)
        heapq.heappush(self.ends, (ends_at, next(self.numbers), settled, now))
        self.used.append((now, int(each.is_sent), used))

    def settle_until(self, now: datetime) -> None:
        while self.ends and self.ends[0][0] <= now:
            ends_at, _, settled, held_at = heapq.heappop(self.ends)
            buckets = Buckets(self.rows, now=ends_at)
            buckets.give_back(settled, settled.outcome, held_at=held_at)


# The first uses nothing, and ends when all but a second's worth of it is refilled and taken again.
LATE_END = [
    Try(0, PER_MINUTE, 0, 59 * SECOND_US + 1, is_sent=True),
    Try(59 * SECOND_US, PER_MINUTE - 10, PER_MINUTE - 10, 0, is_sent=True),
    Try(SECOND_US, PER_MINUTE, PER_MINUTE, 0, is_sent=True),
]


@example(tries=LATE_END)
@given(tries=TRIES)
def test_no_window_exceeds_bucket_and_refill(tries: list[Try]) -> None:
    simulation, now = Simulation(), NOON
    for each in tries:
        now += timedelta(microseconds=each.after_us)
        simulation.reserve(each, now)
    used = simulation.used
    for first, (begins_at, _, _) in enumerate(used):
        requests = tokens = 0
        for at, its_requests, its_tokens in used[first:]:
            requests, tokens = requests + its_requests, tokens + its_tokens
            allowed = PER_MINUTE * (1 + (at - begins_at) / timedelta(minutes=1))
            assert max(requests, tokens) <= allowed + 1e-6
