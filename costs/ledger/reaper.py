"""Settles abandoned holds, and writes the heartbeat that tells which processes are alive.

Never released on elapsed time alone: an abandoned hold is charged at its full amount, as unknown.
If its process is still alive, its late settlement corrects the charge with a second event.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from costs.core.admission import ReserveRequest, Settlement
from costs.core.holds import State
from costs.core.pricing import StoredRates
from costs.ledger.ledger import Ledger, periods_of
from costs.ledger.stores.base import Store, StoreUnavailable
from orgs.database import as_uuid

# Six missed heartbeats. A process that was only stalled loses nothing: see above.
DEAD_AFTER_S: Final = 30.0
REAPED_AT_ONCE_MAX: Final = 500

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


def reap(store: Store, ledger: Ledger) -> int:
    """Settle abandoned holds as unknown, at most REAPED_AT_ONCE_MAX; return how many.

    Raises StoreUnavailable.
    """
    return settle_left(store, ledger, abandoned(store))


def abandoned(store: Store) -> list[Settlement]:
    """Return settlements as unknown for the abandoned holds."""
    now = store.begin()
    rows = store.query(
        FIND_ABANDONED, now, now - timedelta(seconds=DEAD_AFTER_S), REAPED_AT_ONCE_MAX
    )
    store.commit()
    return [
        Settlement(
            hold_id=as_uuid(hold_id),
            request_id=as_uuid(request_id),
            org_id=as_uuid(org_id),
            period_ids=(),
            outcome=State.UNKNOWN,
            cost_nanoeur=None,
            usage=None,
            charge_to=_mapping(charge_to),
            rates=StoredRates(as_uuid(card_id), _text(rates)),
            entry=None,
        )
        for hold_id, request_id, org_id, charge_to, card_id, rates in rows
    ]


def settle_left(store: Store, ledger: Ledger, left: Sequence[Settlement]) -> int:
    """Settle holds without a waiter, looking up their periods; return how many changed.

    One that cannot be written must not block the others. Raises StoreUnavailable.
    """
    if not left:
        return 0
    try:
        # A connection lost at COMMIT may have left the server still committing: its holds are
        # visible only when it is done, and its organization's lock tells when that is.
        org_ids = sorted({each.org_id for each in left})
        store.lock(org_ids=org_ids, scopes=(), period_ids=(), hold_ids=())
        periods = periods_of(store, [each.hold_id for each in left])
        store.commit()
        located = [replace(each, period_ids=periods.get(each.hold_id, ())) for each in left]
        _, settled = ledger.commit(store, requests=(), settlements=located)
        return sum(each.changed for each in settled)
    except StoreUnavailable:
        raise
    except Exception:
        store.rollback()
        if len(left) == 1:
            logger.exception("hold %s cannot be settled", left[0].hold_id)
            return 0
        return sum(settle_left(store, ledger, [each]) for each in left)


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
    )


def beat(store: Store, instance_id: UUID, *, host: str, pid: int) -> None:
    """Record that the instance is alive."""
    now = store.begin()
    store.execute(BEAT, instance_id, host, pid, now, now)
    store.commit()


def record_stopped(store: Store, instance_id: UUID) -> None:
    """Record that the instance stopped; any other may settle its remaining holds."""
    now = store.begin()
    store.execute("UPDATE instance SET stopped_at = %s WHERE id = %s", now, instance_id)
    store.commit()


def _text(rates: object) -> str:
    return rates if isinstance(rates, str) else json.dumps(rates)


def _mapping(value: Mapping[str, Any] | str) -> Mapping[str, Any]:
    if isinstance(value, str):
        loaded: Mapping[str, Any] = json.loads(value)
        return loaded
    return value
