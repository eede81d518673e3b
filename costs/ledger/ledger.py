"""RESERVE, GROW and SETTLE: the only code that writes holds, balances and cost events.

It creates a period with its first hold; `costs.ledger.new_periods` creates that of a budget
which starts in the middle of its window, and `costs.ledger.time_zones` dates periods again.

One transaction takes a batch of all three. At every commit, for every period:
`settled + held + overrun <= limit`, or a provider billed more than its hold (the overrun).

Locks are taken in one order, so that batches of several processes never deadlock:
organizations, then periods, rate buckets and holds, each sorted by id. The organization's row makes
a change of policy, key or switch take effect immediately: such a change raises `config_version`
(by trigger), which needs the lock that RESERVE holds until it has committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from costs.core.admission import (
    Repeated,
    ReserveRequest,
    ReserveResult,
    Settled,
    Settlement,
    leaves_row,
)
from costs.core.growth import Grown, HoldGrowth
from costs.ledger.batch import Batch, Placed
from costs.ledger.buckets import taken_of
from costs.ledger.growing import grow
from costs.ledger.stores.base import LOCK_WAIT_S, RowKeys, Store
from orgs.database import as_uuid


class Journal(Protocol):
    """Writes the audit rows, in the ledger's transaction. Implemented by the gateway."""

    def repeats(
        self, store: Store, requests: Sequence[ReserveRequest], *, now: datetime
    ) -> Mapping[UUID, Repeated]:
        """Return, by request id, which Idempotency-Keys were already used; record the others."""
        ...

    def record(
        self,
        store: Store,
        decided: Sequence[tuple[ReserveRequest, ReserveResult]],
        *,
        now: datetime,
    ) -> None:
        """Write the audit rows of reservations."""
        ...

    def grow(self, store: Store, grown: Sequence[tuple[HoldGrowth, Grown]]) -> None:
        """Write in the audit rows what is held now."""
        ...

    def complete(
        self, store: Store, settled: Sequence[tuple[Settlement, Settled]], *, now: datetime
    ) -> None:
        """Complete the audit rows of settlements."""
        ...


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reserve and settle, for one process."""

    journal: Journal
    instance_id: UUID
    # Rates that this process knows to be committed, which need not be written again.
    _known_cards: set[UUID] = field(default_factory=set)

    def commit(  # noqa: PLR0913  keyword-only; three kinds of work, and how it is tried
        self,
        store: Store,
        *,
        requests: Sequence[ReserveRequest],
        settlements: Sequence[Settlement],
        growths: Sequence[HoldGrowth] = (),
        again: bool = False,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> tuple[list[ReserveResult], list[Settled], list[Grown]]:
        """Decide and write a whole batch in one transaction; return results in its order.

        Settlements first: what they free is available to growths, since calls that run come before
        new ones, and then to reservations. `again` means that an earlier try of the same batch may
        have committed unnoticed: a request whose hold exists was admitted, whatever has changed
        since. Raises StoreUnavailable, with either nothing or everything written; StoreLocked when
        a row stayed locked for `lock_wait_s`.
        """
        keys = _keys(requests, settlements, growths, again=again)
        locked = store.lock(keys, lock_wait_s=lock_wait_s)
        # After the locks: the earlier try may have committed only now, and held them until then.
        placed = placed_of(
            store, [request.id for request in requests if again and request.id in locked.holds]
        )
        batch = Batch(
            store=store,
            locked=locked,
            instance_id=self.instance_id,
            known_cards=self._known_cards,
            placed=placed,
            adjusted=_adjusted(store, [each.hold_id for each in settlements if each.adjusts]),
        )
        settled = [batch.settle(settlement) for settlement in settlements]
        grown = [grow(batch, growth) for growth in growths]
        repeats = self.journal.repeats(
            store,
            [request for request in requests if request.repeat and request.id not in placed],
            now=locked.now,
        )
        answers = [batch.reserve(request, repeats.get(request.id)) for request in requests]
        batch.write()
        self.journal.record(
            store,
            [pair for pair in zip(requests, answers, strict=True) if leaves_row(*pair)],
            now=locked.now,
        )
        self.journal.grow(store, list(zip(growths, grown, strict=True)))
        # One hold may be settled twice in a batch; its audit row is completed by the last.
        moved = {
            settlement.hold_id: (settlement, result)
            for settlement, result in zip(settlements, settled, strict=True)
            if result.changed
        }
        self.journal.complete(store, list(moved.values()), now=locked.now)
        store.commit()
        self._known_cards.update(batch.cards)
        return answers, settled, grown


def _keys(
    requests: Sequence[ReserveRequest],
    settlements: Sequence[Settlement],
    growths: Sequence[HoldGrowth],
    *,
    again: bool,
) -> RowKeys:
    """Return the rows of a batch, in the order in which they are locked."""
    of_holds: Sequence[Settlement | HoldGrowth] = (*settlements, *growths)
    placed = {request.id for request in requests if again}
    return RowKeys(
        org_ids=sorted({request.org_id for request in requests}),
        scopes=sorted({limit.scope for request in requests for limit in request.limits}),
        period_ids=sorted({id_ for each in of_holds for id_ in each.period_ids}),
        rate_scopes=sorted({rate.scope for each in requests for rate in each.rate_limits}),
        bucket_ids=sorted({rate.bucket_id for each in settlements for rate in each.taken}),
        hold_ids=sorted({each.hold_id for each in of_holds} | placed),
    )


def _adjusted(store: Store, hold_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of the locked holds have had their share of an hour."""
    if not hold_ids:
        return set()
    rows = store.query(
        "SELECT hold_id FROM cost_event WHERE kind = 'adjustment' AND hold_id = ANY(%s)", hold_ids
    )
    return {as_uuid(hold_id) for (hold_id,) in rows}


def placed_of(store: Store, hold_ids: Sequence[UUID]) -> dict[UUID, Placed]:
    """Return what each hold counts in, which never changes once written."""
    if not hold_ids:
        return {}
    rows = store.query(
        "SELECT hold_id, period_id FROM hold_period WHERE hold_id = ANY(%s)", hold_ids
    )
    periods: dict[UUID, tuple[UUID, ...]] = {}
    for hold_id, period_id in rows:
        periods[as_uuid(hold_id)] = (*periods.get(as_uuid(hold_id), ()), as_uuid(period_id))
    taken = taken_of(store, hold_ids)
    return {
        id_: Placed(period_ids=of_hold, taken=taken.get(id_, ()))
        for id_, of_hold in periods.items()
    }
