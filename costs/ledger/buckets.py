"""Rates in a ledger transaction: what calls take of locked buckets, and give back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from costs.core.admission import ReserveRequest, Settlement
from costs.core.holds import State
from costs.core.rate_limits import UNITS, RateLimit, RateState, TakenRate, state_at
from costs.ledger.stores.base import BucketRow, Store
from costs.ledger.stores.tables import HOLD_BUCKET, RATE_BUCKET, Row
from orgs.database import as_uuid
from orgs.fields import new_id

# A bucket is full after a minute without calls, but most are used again.
UNUSED_FOR: Final = timedelta(days=1)
SET_BACK: Final = timedelta(minutes=1)
TAKEN_OF: Final = """
    SELECT hold_id, bucket_id, tokens, requests_per_minute, tokens_per_minute
    FROM hold_bucket WHERE hold_id = ANY(%s)
"""
FORGET: Final = "DELETE FROM rate_bucket WHERE in_flight = 0 AND refilled_at < %s"
_CHANGING: Final = ("id", "refilled_at", "requests_taken", "tokens_taken", "in_flight")


class Buckets:
    """The locked buckets of one transaction, and their changes."""

    def __init__(self, locked: Iterable[BucketRow], *, now: datetime) -> None:
        self.now = now
        self._by_id = {bucket.id: bucket for bucket in locked}
        self._by_scope = {(bucket.org_id, bucket.scope): bucket for bucket in self._by_id.values()}
        self._new: dict[UUID, BucketRow] = {}
        self._changed: dict[UUID, BucketRow] = {}
        self._taken: list[Row] = []

    def states(self, org_id: UUID, limits: Sequence[RateLimit]) -> tuple[RateState, ...]:
        """Return the states of an organization's rates."""
        by_scope = self._by_scope
        return tuple(
            [state_at(self.now, limit, by_scope.get((org_id, limit.scope))) for limit in limits]
        )

    def take(self, request: ReserveRequest) -> tuple[TakenRate, ...]:
        """Take a request out of its rates, in which it fits: of watched ones maybe not."""
        taken: list[TakenRate] = []
        for limit in request.rate_limits:
            bucket = self._refilled(request.org_id, limit)
            if limit.is_watched and any(state_at(self.now, limit, bucket).lacking(request.tokens)):
                continue
            rate = TakenRate(
                bucket_id=bucket.id,
                tokens=limit.tokens_of(request.tokens),
                requests_per_minute=limit.requests_per_minute,
                tokens_per_minute=limit.tokens_per_minute,
            )
            bucket.in_flight += 1
            bucket.requests_taken += UNITS if limit.requests_per_minute is not None else 0
            bucket.tokens_taken += rate.tokens * UNITS
            self._changed[bucket.id] = bucket
            self._taken.append(
                {
                    "hold_id": request.id,
                    "bucket_id": rate.bucket_id,
                    "tokens": rate.tokens,
                    "requests_per_minute": rate.requests_per_minute,
                    "tokens_per_minute": rate.tokens_per_minute,
                }
            )
            taken.append(rate)
        return tuple(taken)

    def give_back(self, settlement: Settlement, outcome: State, *, held_at: datetime) -> None:
        """Count a call that has ended: as what it used, if that is known."""
        elapsed = max(timedelta(0), self.now - held_at)
        usage = settlement.usage
        for rate in settlement.taken:
            bucket = self._by_id.get(rate.bucket_id)
            if bucket is None:  # deleted by hand
                continue
            bucket.in_flight -= 1
            self._changed[bucket.id] = bucket
            used = rate.tokens
            if outcome is State.RELEASED:
                used = 0
            elif outcome is State.SETTLED and usage is not None:
                used = usage.input_tokens + usage.output_tokens
            unused = rate.unused_tokens(used, elapsed=elapsed)
            bucket.tokens_taken = max(0, bucket.tokens_taken - unused)
            if not settlement.counts_as_request:
                unused = rate.unused_request(elapsed=elapsed)
                bucket.requests_taken = max(0, bucket.requests_taken - unused)

    def write(self, store: Store) -> None:
        """Write every change."""
        new, changed = self._new.values(), self._changed.keys() - self._new.keys()
        rows = [self._changed[id_] for id_ in sorted(changed)]
        store.insert(RATE_BUCKET, [asdict(bucket) for bucket in new if bucket.id in self._changed])
        store.update(
            RATE_BUCKET, [{name: getattr(row, name) for name in _CHANGING} for row in rows]
        )
        store.insert(HOLD_BUCKET, self._taken)

    def _refilled(self, org_id: UUID, limit: RateLimit) -> BucketRow:
        """Return the bucket of a scope as it is now, creating it for its first call."""
        bucket = self._by_scope.get((org_id, limit.scope))
        if bucket is None:
            bucket = BucketRow(id=new_id(), org_id=org_id, scope=limit.scope, refilled_at=self.now)
            self._by_id[bucket.id] = self._by_scope[org_id, limit.scope] = bucket
            self._new[bucket.id] = bucket
        state = state_at(self.now, limit, bucket)
        bucket.requests_taken, bucket.tokens_taken = state.requests_taken, state.tokens_taken
        # A batch that waited for locks may be earlier than the last one: what passed between them
        # is refilled once. Only a clock that was set back is much earlier.
        was_set_back = bucket.refilled_at - self.now > SET_BACK
        bucket.refilled_at = self.now if was_set_back else max(bucket.refilled_at, self.now)
        return bucket


def taken_of(store: Store, hold_ids: Sequence[UUID]) -> dict[UUID, tuple[TakenRate, ...]]:
    """Return what each hold took of rates, which never changes once written."""
    taken: dict[UUID, tuple[TakenRate, ...]] = {}
    if not hold_ids:
        return taken
    for hold_id, bucket_id, tokens, requests_per_minute, tokens_per_minute in store.query(
        TAKEN_OF, hold_ids
    ):
        rate = TakenRate(
            bucket_id=as_uuid(bucket_id),
            tokens=tokens,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
        taken[as_uuid(hold_id)] = (*taken.get(as_uuid(hold_id), ()), rate)
    return taken


def forget_unused(store: Store, *, now: datetime) -> None:
    """Delete the buckets that were not used for a day, as those of deleted policies."""
    store.execute(FORGET, now - UNUSED_FOR)
