"""Finds the holds that nobody will settle, and keeps the heartbeat that tells who lives.

Never released on elapsed time alone: an abandoned hold is charged whole, as unknown. Should its
process be alive after all, its late settlement corrects the charge with a second event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from costs.core.admission import Settlement
from costs.core.holds import State
from costs.stores.base import Store

# Six missed heartbeats. A process that only stalled loses nothing: see above.
DEAD_AFTER_S: Final = 30.0
REAPED_AT_ONCE_MAX: Final = 500

FIND_ABANDONED: Final = """
    SELECT hold.id, hold.request_id, hold.org_id, hold.charge_to, hold.rates
    FROM hold LEFT JOIN instance ON instance.id = hold.instance_id
    WHERE hold.state = 'held' AND (
        hold.deadline_at < %s OR instance.stopped_at IS NOT NULL OR instance.seen_at < %s)
    ORDER BY hold.deadline_at LIMIT %s
"""
BEAT: Final = """
    INSERT INTO instance (id, host, pid, started_at, seen_at) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
"""


def abandoned(store: Store) -> list[Settlement]:
    """Return settlements as unknown for the holds that nobody will settle."""
    now = store.begin()
    rows = store.query(
        FIND_ABANDONED, now, now - timedelta(seconds=DEAD_AFTER_S), REAPED_AT_ONCE_MAX
    )
    store.commit()
    return located(
        store,
        [
            Settlement(
                hold_id=_uuid(hold_id),
                request_id=_uuid(request_id),
                org_id=_uuid(org_id),
                period_ids=(),
                outcome=State.UNKNOWN,
                cost_nanoeur=None,
                usage=None,
                charge_to=_mapping(charge_to),
                rates=rates if isinstance(rates, str) else json.dumps(rates),
                entry=None,
            )
            for hold_id, request_id, org_id, charge_to, rates in rows
        ],
    )


def located(store: Store, settlements: Sequence[Settlement]) -> list[Settlement]:
    """Return the settlements with the periods of their holds, which never change once written."""
    if not settlements:
        return []
    rows = store.query(
        "SELECT hold_id, period_id FROM hold_period WHERE hold_id = ANY(%s)",
        [each.hold_id for each in settlements],
    )
    periods: dict[UUID, list[UUID]] = {}
    for hold_id, period_id in rows:
        periods.setdefault(_uuid(hold_id), []).append(_uuid(period_id))
    return [replace(each, period_ids=tuple(periods.get(each.hold_id, ()))) for each in settlements]


def beat(store: Store, instance_id: UUID, *, host: str, pid: int) -> None:
    """Say that the instance lives."""
    now = store.begin()
    store.execute(BEAT, instance_id, host, pid, now, now)
    store.commit()


def say_stopped(store: Store, instance_id: UUID) -> None:
    """Say that the instance ended; what it still holds may be settled by any other."""
    now = store.begin()
    store.execute("UPDATE instance SET stopped_at = %s WHERE id = %s", now, instance_id)
    store.commit()


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _mapping(value: Mapping[str, Any] | str) -> Mapping[str, Any]:
    if isinstance(value, str):
        loaded: Mapping[str, Any] = json.loads(value)
        return loaded
    return value
