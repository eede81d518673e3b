"""Settles abandoned holds, and writes the heartbeat that tells which processes are alive.

Never released on elapsed time alone: an abandoned hold is charged at its full amount, as unknown.
If its process is still alive, its late settlement corrects the charge with a second event.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from costs.core.admission import ReserveRequest, Settlement
from costs.core.holds import State
from costs.core.rates import StoredRates
from costs.ledger.batch import Placed
from costs.ledger.ledger import Ledger, placed_of
from costs.ledger.stores.base import (
    SHORT_LOCK_WAIT_S,
    RowKeys,
    Store,
    StoreLocked,
    StoreUnavailable,
)
from orgs.database import as_uuid

# Six missed heartbeats. A process that was only stalled loses nothing: see above.
DEAD_AFTER_S: Final = 30.0
REAPED_AT_ONCE_MAX: Final = 500
# Between two tries of a hold that cannot be settled.
PAUSE_MIN: Final = timedelta(seconds=10)
PAUSE_MAX: Final = timedelta(hours=1)

logger = logging.getLogger("pulse.ledger")

FIND_ABANDONED: Final = """
    SELECT hold.id, hold.request_id, hold.org_id, hold.charge_to, rate_card.id, rate_card.rates
    FROM hold JOIN rate_card ON rate_card.id = hold.rate_card_id
    LEFT JOIN instance ON instance.id = hold.instance_id
    WHERE hold.state = 'held' AND (
        hold.deadline_at < %s OR instance.stopped_at IS NOT NULL OR instance.seen_at < %s)
    ORDER BY hold.deadline_at LIMIT %s
"""
BEAT: Final = """
    INSERT INTO instance (id, host, pid, started_at, seen_at) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
"""


class _Pause(NamedTuple):
    length: timedelta
    ends_at: datetime


class Reaped(NamedTuple):
    """How many abandoned holds were found, settled, and put aside, of these some as locked."""

    found: int
    settled: int
    put_aside: int
    locked: int = 0


@dataclass(slots=True, eq=False)
class Reaper:
    """Settles abandoned holds for one process, as unknown.

    A hold that cannot be settled is put aside: it is reported once, tried again after a pause that
    doubles, and never holds up the others. One whose rows are locked is tried again after the
    shortest pause. This is kept in memory: each process tries by itself.
    """

    ledger: Ledger
    at_once: int = REAPED_AT_ONCE_MAX
    _aside: dict[UUID, _Pause] = field(default_factory=dict)

    def reap(self, store: Store) -> Reaped:
        """Settle abandoned holds, at most `at_once`. Raises StoreUnavailable."""
        now, left = self.abandoned(store)
        have_failed: list[Settlement] = []
        are_locked: list[Settlement] = []

        def failed(settlement: Settlement) -> None:
            have_failed.append(settlement)
            self._put_aside(settlement.hold_id, now)

        def locked(settlements: Sequence[Settlement]) -> None:
            for each in settlements:
                self._aside[each.hold_id] = _Pause(PAUSE_MIN, now + PAUSE_MIN)
            are_locked.extend(settlements)

        settled = settle_left(store, self.ledger, left, failed=failed, locked=locked)
        put_aside = len(have_failed) + len(are_locked)
        return Reaped(len(left), settled, put_aside, locked=len(are_locked))

    def abandoned(self, store: Store) -> tuple[datetime, list[Settlement]]:
        """Return the database's clock and the settlements of abandoned holds.

        Without those that are put aside and whose pause is not over.
        """
        now = store.begin()
        dead_since = now - timedelta(seconds=DEAD_AFTER_S)
        rows = store.query(FIND_ABANDONED, now, dead_since, self.at_once + len(self._aside))
        store.commit()
        found = {as_uuid(row[0]): row for row in rows}
        self._aside = {id_: pause for id_, pause in self._aside.items() if id_ in found}
        paused = {id_ for id_, pause in self._aside.items() if now < pause.ends_at}
        due = [_as_unknown(row) for id_, row in found.items() if id_ not in paused]
        return now, due[: self.at_once]

    def _put_aside(self, hold_id: UUID, now: datetime) -> None:
        """Called while its exception is handled."""
        pause = self._aside.get(hold_id)
        if pause is None:
            logger.exception("hold %s cannot be settled and is put aside", hold_id)
        length = PAUSE_MIN if pause is None else min(2 * pause.length, PAUSE_MAX)
        self._aside[hold_id] = _Pause(length, now + length)


def _as_unknown(row: Sequence[Any]) -> Settlement:
    hold_id, request_id, org_id, charge_to, card_id, rates = row
    return Settlement(
        hold_id=as_uuid(hold_id),
        request_id=as_uuid(request_id),
        org_id=as_uuid(org_id),
        period_ids=(),
        outcome=State.UNKNOWN,
        cost_nanoeur=None,
        usage=None,
        charge_to=as_mapping(charge_to),
        rates=StoredRates(as_uuid(card_id), as_text(rates)),
        entry=None,
    )


def report_failed(settlement: Settlement) -> None:
    """Log a hold that cannot be settled. Called while its exception is handled."""
    logger.exception("hold %s cannot be settled", settlement.hold_id)


def report_locked(settlements: Sequence[Settlement]) -> None:
    """Log that rows of an organization are locked."""
    logger.warning("rows of organization %s are locked", settlements[0].org_id)


def settle_left(
    store: Store,
    ledger: Ledger,
    left: Sequence[Settlement],
    *,
    failed: Callable[[Settlement], None] = report_failed,
    locked: Callable[[Sequence[Settlement]], None] = report_locked,
) -> int:
    """Settle holds without a waiter, looking up their periods; return how many changed.

    One that cannot be written must not block the others: of a batch that fails, each half is tried
    by itself, and a single hold that fails is given to `failed`. Holds of an organization whose
    rows are locked are given to `locked`. Raises StoreUnavailable.
    """
    if not left:
        return 0
    left = sorted(left, key=attrgetter("org_id"))
    try:
        # A connection lost at COMMIT may have left the server still committing: its holds are
        # visible only when it is done, and its organization's lock tells when that is.
        org_ids = sorted({each.org_id for each in left})
        wait_s = SHORT_LOCK_WAIT_S  # requests wait behind it, and it can be done later
        store.lock(RowKeys(org_ids=org_ids), lock_wait_s=wait_s)
        placed = placed_of(store, [each.hold_id for each in left])
        store.commit()
        located = [_located(each, placed.get(each.hold_id)) for each in left]
        _, settled, _ = ledger.commit(store, requests=(), settlements=located, lock_wait_s=wait_s)
        return sum(each.changed for each in settled)
    except StoreLocked:
        store.rollback()
        if left[0].org_id == left[-1].org_id:
            locked(left)
            return 0
    except StoreUnavailable:
        raise
    except Exception:  # noqa: BLE001  `failed` reports it
        store.rollback()
        if len(left) == 1:
            failed(left[0])
            return 0
    middle = len(left) // 2
    halves = (left[:middle], left[middle:])
    return sum(settle_left(store, ledger, half, failed=failed, locked=locked) for half in halves)


def _located(settlement: Settlement, placed: Placed | None) -> Settlement:
    if placed is None:
        return settlement
    return replace(settlement, period_ids=placed.period_ids, taken=placed.taken)


def withdrawal(request: ReserveRequest) -> Settlement:
    """Return the settlement of a hold whose call was never sent, for `settle_left`."""
    return Settlement(
        hold_id=request.id,
        request_id=request.request_id,
        org_id=request.org_id,
        period_ids=(),
        outcome=State.RELEASED,
        cost_nanoeur=None,
        usage=None,
        charge_to=request.charge_to,
        rates=request.rates,
        entry=None,
        repeat=request.repeat,
        counts_as_request=False,
    )


def beat(store: Store, instance_id: UUID, *, host: str, pid: int) -> None:
    """Record that the instance is alive."""
    now = store.begin(lock_wait_s=SHORT_LOCK_WAIT_S)
    store.execute(BEAT, instance_id, host, pid, now, now)
    store.commit()


def record_stopped(store: Store, instance_id: UUID) -> None:
    """Record that the instance stopped; any other may settle its remaining holds."""
    now = store.begin()
    store.execute("UPDATE instance SET stopped_at = %s WHERE id = %s", now, instance_id)
    store.commit()


def as_text(rates: object) -> str:
    """Return a JSON column as text, whichever database it comes from."""
    return rates if isinstance(rates, str) else json.dumps(rates)


def as_mapping(value: Mapping[str, Any] | str) -> Mapping[str, Any]:
    """Return a JSON column that is an object, whichever database it comes from."""
    if isinstance(value, str):
        loaded: Mapping[str, Any] = json.loads(value)
        return loaded
    return value
