"""Closes the hours of prices by the hour: counts each that is over, and charges its calls.

Counting is one transaction, which writes the hour and the share of each call; the database lets one
process do it. Shares are charged in later ones, by any process: a call has at most one adjustment.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from costs.core.admission import Settlement
from costs.core.holds import State
from costs.core.hours import HOUR, HourlyStep, cost_of_hour, hours_priced, shares_of
from costs.core.rates import StoredRates
from costs.ledger.ledger import Ledger
from costs.ledger.reaper import as_mapping, as_text, settle_left
from costs.ledger.stores.base import SHORT_LOCK_WAIT_S, Store
from costs.ledger.stores.tables import HOUR_SHARE
from orgs.database import as_moment, as_uuid
from orgs.fields import new_id

# How long after its end an hour is counted: what was admitted by then is committed.
CLOSED_AFTER: Final = timedelta(minutes=5)
LOOKED_EVERY_S: Final = 60.0
# In one round, since requests wait behind it. To count an hour of 10,000 calls takes 0.25 s.
COUNTED_AT_ONCE_MAX: Final = 12
CHARGED_AT_ONCE_MAX: Final = 200

logger = logging.getLogger("pulse.ledger")

PRICES: Final = """
    SELECT provider, model, starts_at, CASE WHEN is_end THEN NULL ELSE nanoeur_per_hour END
    FROM hourly_price ORDER BY provider, model, starts_at
"""
LAST_COUNTED: Final = "SELECT max(starts_at) FROM hour_cost WHERE provider = %s AND model = %s"
STILL_HELD: Final = """
    SELECT 1 FROM hold JOIN rate_card ON rate_card.id = hold.rate_card_id
    WHERE hold.state = 'held' AND hold.held_at < %s AND rate_card.rates ->> 'provider' = %s LIMIT 1
"""
# Those whose charge is an estimate by this price. One statement, so that a call of unknown outcome
# that becomes known meanwhile is seen as one of both.
CALLS: Final = """
    SELECT hold.id, hold.state, hold.charged_nanoeur, e.input_tokens + e.output_tokens
    FROM organization o
    JOIN cost_event e ON e.org_id = o.id AND e.occurred_at >= %s AND e.occurred_at < %s
    JOIN rate_card ON rate_card.id = e.rate_card_id JOIN hold ON hold.id = e.hold_id
    WHERE e.provider = %s AND e.kind <> 'adjustment'
      AND rate_card.rates -> 'by_hour' ->> 'model' = %s
    ORDER BY hold.id
"""
COUNT: Final = """
    INSERT INTO hour_cost (id, provider, model, starts_at, ends_at, amount_nanoeur,
        unknown_nanoeur, divided_nanoeur, tokens, calls, counted_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (provider, model, starts_at) DO NOTHING RETURNING id
"""
# A known call has exactly one event with its tokens, which names what it is charged to.
SHARES: Final = """
    SELECT s.id, s.nanoeur, hold.request_id, hold.org_id, hold.charge_to, e.model, rate_card.id,
           rate_card.rates
    FROM hour_share s JOIN hold ON hold.id = s.id
    JOIN cost_event e ON e.hold_id = s.id AND e.input_tokens IS NOT NULL
    JOIN rate_card ON rate_card.id = e.rate_card_id
    WHERE s.charged_at IS NULL ORDER BY s.hour_cost_id, s.id LIMIT %s
"""
CHARGED: Final = """
    UPDATE hour_share SET charged_at = %s WHERE id = ANY(%s) AND EXISTS (
        SELECT 1 FROM cost_event WHERE hold_id = hour_share.id AND kind = 'adjustment')
    RETURNING id
"""
DONE: Final = """
    UPDATE hour_cost SET done_at = %s WHERE done_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM hour_share WHERE hour_cost_id = hour_cost.id AND charged_at IS NULL)
"""


class PricedHour(NamedTuple):
    """An hour that is over; `model` is empty for all of the provider."""

    provider: str
    model: str
    starts_at: datetime
    cost_nanoeur: int


class Closed(NamedTuple):
    """How many hours were counted and calls charged; `is_more` if there was more than a round."""

    counted: int
    charged: int
    is_more: bool


@dataclass(slots=True, eq=False)
class HourCloser:
    """Closes hours for one process, a part in each round."""

    ledger: Ledger
    at_once: int = CHARGED_AT_ONCE_MAX
    _next_at: float = 0.0

    def close_due(self, store: Store, *, is_used: bool | None) -> bool:
        """Do a round once a minute, and return whether it is to be done again at once.

        `is_used` is whether there are prices by the hour; None if that is not known yet. Raises
        StoreUnavailable.
        """
        if is_used is False or time.monotonic() < self._next_at:
            return False
        self._next_at = time.monotonic() + LOOKED_EVERY_S
        closed = self.close(store)
        if closed.is_more:
            self._next_at = 0.0
        return closed.is_more

    def close(self, store: Store) -> Closed:
        """Count hours that are over, and charge shares, some of each. Raises StoreUnavailable."""
        now = store.begin(lock_wait_s=SHORT_LOCK_WAIT_S)
        prices = store.query(PRICES)
        due = [*_due(store, prices, now)] if prices else []
        store.commit()
        counted = sum(_count(store, hour) for hour in due)
        found, charged = self._charge(store)
        is_more = len(due) == COUNTED_AT_ONCE_MAX or (found == self.at_once and charged > 0)
        return Closed(counted, charged, is_more)

    def _charge(self, store: Store) -> tuple[int, int]:
        """Charge some shares; return how many were found, and how many of them are charged now.

        Also by a process that has not come to mark it.
        """
        store.begin(lock_wait_s=SHORT_LOCK_WAIT_S)
        rows = store.query(SHARES, self.at_once)
        store.commit()
        settle_left(store, self.ledger, [_settlement(row) for row in rows])
        now = store.begin(lock_wait_s=SHORT_LOCK_WAIT_S)
        ids = [as_uuid(row[0]) for row in rows]
        charged = store.query(CHARGED, now, ids) if ids else []
        store.execute(DONE, now)
        store.commit()
        return len(rows), len(charged)


def _due(store: Store, prices: Sequence[Sequence[Any]], now: datetime) -> Iterator[PricedHour]:
    """Yield hours that are over and not counted, of each price in order, at most so many."""
    left = COUNTED_AT_ONCE_MAX
    for (provider, model), rows in groupby(prices, key=itemgetter(0, 1)):
        steps = [HourlyStep(as_moment(starts_at), nanoeur) for _, _, starts_at, nanoeur in rows]
        [(last,)] = store.query(LAST_COUNTED, provider, model)
        after = None if last is None else as_moment(last)
        for hour in hours_priced(steps, after=after, until=now - CLOSED_AFTER):
            if not left or store.query(STILL_HELD, hour + HOUR, provider):
                break
            left -= 1
            yield PricedHour(provider, model, hour, cost_of_hour(steps, hour))


def _count(store: Store, hour: PricedHour) -> int:
    """Write an hour with its calls' shares; return 0 if another process has."""
    now = store.begin(lock_wait_s=SHORT_LOCK_WAIT_S)
    ends_at = hour.starts_at + HOUR
    calls = store.query(CALLS, hour.starts_at, ends_at, hour.provider, hour.model)
    unknown_nanoeur = sum(charged for _, state, charged, _ in calls if state == State.UNKNOWN)
    known = [(as_uuid(id_), tokens) for id_, _, _, tokens in calls if tokens is not None]
    left_nanoeur = max(0, hour.cost_nanoeur - unknown_nanoeur)
    tokens = [count for _, count in known]
    shares = shares_of(left_nanoeur, tokens)
    values = (hour.cost_nanoeur, unknown_nanoeur, sum(shares), sum(tokens), len(known))
    id_ = new_id()
    is_ours = store.query(
        COUNT, id_, hour.provider, hour.model, hour.starts_at, ends_at, *values, now
    )
    if is_ours:
        rows = [
            {"id": hold_id, "hour_cost_id": id_, "nanoeur": nanoeur}
            for (hold_id, _), nanoeur in zip(known, shares, strict=True)
        ]
        store.insert(HOUR_SHARE, rows)
        if unknown_nanoeur > hour.cost_nanoeur:
            logger.warning(
                "%s, hour of %s: calls of unknown outcome are charged more than it costs",
                hour.provider,
                hour.starts_at,
            )
    store.commit()
    return len(is_ours)


def _settlement(row: Sequence[Any]) -> Settlement:
    hold_id, nanoeur, request_id, org_id, charge_to, model, card_id, rates = row
    return Settlement(
        hold_id=as_uuid(hold_id),
        request_id=as_uuid(request_id),
        org_id=as_uuid(org_id),
        period_ids=(),
        outcome=State.SETTLED,
        cost_nanoeur=nanoeur,
        usage=None,
        charge_to={**as_mapping(charge_to), "model": model},
        rates=StoredRates(as_uuid(card_id), as_text(rates)),
        entry=None,
        adjusts=True,
    )
