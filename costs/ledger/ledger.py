"""RESERVE and SETTLE: the only code that writes holds, balances and cost events.

It makes a period with its first hold; `costs.ledger.new_periods` makes that of a budget which
begins in the middle of its span.

One transaction takes a batch of both. At every commit, for every period:
`settled + held + overrun <= limit`, or a provider billed more than its hold (the overrun).

Locks are taken in one order, so that batches of several processes never wait in a circle:
organizations, then periods, then holds, each sorted by id. The organization's row is what makes
a change of policy, key or switch take effect at once: such a change raises `config_version`
(by trigger), which needs the lock that RESERVE holds until it has committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from costs.core.admission import (
    InsufficientRoom,
    Repeated,
    ReserveRequest,
    ReserveResult,
    Settled,
    Settlement,
    Stale,
)
from costs.ledger.batch import Batch
from costs.ledger.stores.base import Store
from orgs.database import as_uuid


class Journal(Protocol):
    """Keeps the audit rows, in the ledger's transaction. The gateway brings it."""

    def repeats(
        self, store: Store, requests: Sequence[ReserveRequest], *, now: datetime
    ) -> Mapping[UUID, Repeated]:
        """Return, by the request's id, which Idempotency-Keys were used before; note the others."""
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

    def complete(
        self, store: Store, settled: Sequence[tuple[Settlement, Settled]], *, now: datetime
    ) -> None:
        """Complete the audit rows of what was settled."""
        ...


@dataclass(frozen=True, slots=True)
class Ledger:
    """The two operations, for one process."""

    journal: Journal
    instance_id: UUID
    # Rates that this process has seen committed, which need not be written again.
    _known_cards: set[UUID] = field(default_factory=set)

    def commit(
        self,
        store: Store,
        *,
        requests: Sequence[ReserveRequest],
        settlements: Sequence[Settlement],
        again: bool = False,
    ) -> tuple[list[ReserveResult], list[Settled]]:
        """Decide and write a whole batch in one transaction; answers come in its order.

        Settlements first: what they give back is there for reservations. `again` says that an
        earlier try of the same batch may have committed unseen: one whose hold is there was
        admitted, whatever has changed since. Raises StoreUnavailable, with nothing written or
        all of it.
        """
        locked = store.lock(
            org_ids=sorted({request.org_id for request in requests}),
            scopes=sorted({limit.scope for request in requests for limit in request.limits}),
            period_ids=sorted({id_ for each in settlements for id_ in each.period_ids}),
            hold_ids=sorted(
                {each.hold_id for each in settlements}
                | {request.id for request in requests if again}
            ),
        )
        # After the locks: the earlier try may only now have committed, and had them till then.
        placed = periods_of(
            store, [request.id for request in requests if again and request.id in locked.holds]
        )
        batch = Batch(
            store=store,
            locked=locked,
            instance_id=self.instance_id,
            known_cards=self._known_cards,
            placed=placed,
        )
        settled = [batch.settle(settlement) for settlement in settlements]
        repeats = self.journal.repeats(
            store,
            [request for request in requests if request.repeat and request.id not in placed],
            now=locked.now,
        )
        answers = [batch.reserve(request, repeats.get(request.id)) for request in requests]
        batch.write()
        self.journal.record(
            store,
            [pair for pair in zip(requests, answers, strict=True) if _leaves_a_row(*pair)],
            now=locked.now,
        )
        # One hold may be settled twice in a batch; its audit row is completed by the last.
        moved = {
            settlement.hold_id: (settlement, result)
            for settlement, result in zip(settlements, settled, strict=True)
            if result.changed
        }
        self.journal.complete(store, list(moved.values()), now=locked.now)
        store.commit()
        self._known_cards.update(batch.cards)
        return answers, settled


def periods_of(store: Store, hold_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    """Return the periods that each hold counts in, which never change once written."""
    if not hold_ids:
        return {}
    rows = store.query(
        "SELECT hold_id, period_id FROM hold_period WHERE hold_id = ANY(%s)", hold_ids
    )
    periods: dict[UUID, tuple[UUID, ...]] = {}
    for hold_id, period_id in rows:
        periods[as_uuid(hold_id)] = (*periods.get(as_uuid(hold_id), ()), as_uuid(period_id))
    return periods


def _leaves_a_row(request: ReserveRequest, answer: ReserveResult) -> bool:
    if isinstance(answer, Stale):
        return False
    return request.record_if_full or not isinstance(answer, InsufficientRoom)
