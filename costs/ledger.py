"""RESERVE and SETTLE: the only code that writes holds, periods and cost events.

One transaction takes a batch of both. At every commit, for every period:
`settled + held + overrun <= limit`, or a provider billed more than its hold (the overrun).

Locks are taken in one order, so that batches of several processes never wait in a circle:
organizations, then periods, then holds, each sorted by id. The organization's row is what makes
a change of policy, key or switch take effect at once: such a change raises `config_version`
(by trigger), which needs the lock that RESERVE holds until it has committed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from costs.core.admission import (
    ORG_SCOPE,
    Admitted,
    Answer,
    Ask,
    Balance,
    Full,
    Recorded,
    Repeated,
    Settled,
    Settlement,
    Stale,
    SwitchedOff,
)
from costs.core.holds import Move, State, move
from costs.core.periods import clipped, day_around
from costs.stores.base import HoldRow, Locked, PeriodRow, Store, Table
from orgs.fields import new_id

HOLD: Final = Table(
    "hold",
    {
        "id": "uuid",
        "org_id": "uuid",
        "request_id": "uuid",
        "state": "text",
        "amount_nanoeur": "bigint",
        "charged_nanoeur": "bigint",
        "held_at": "timestamptz",
        "deadline_at": "timestamptz",
        "resolved_at": "timestamptz",
        "instance_id": "uuid",
        "charge_to": "jsonb",
        "rates": "jsonb",
    },
)
HOLD_PERIOD: Final = Table("hold_period", {"hold_id": "uuid", "period_id": "uuid"})
PERIOD: Final = Table(
    "period",
    {
        "id": "uuid",
        "org_id": "uuid",
        "scope": "text",
        "starts_at": "timestamptz",
        "ends_at": "timestamptz",
        "limit_nanoeur": "bigint",
        "held_nanoeur": "bigint",
        "settled_nanoeur": "bigint",
        "overrun_nanoeur": "bigint",
    },
)
COST_EVENT: Final = Table(
    "cost_event",
    {
        "id": "uuid",
        "org_id": "uuid",
        "source": "text",
        "kind": "text",
        "occurred_at": "timestamptz",
        "recorded_at": "timestamptz",
        "amount_nanoeur": "bigint",
        "request_id": "uuid",
        "hold_id": "uuid",
        "model": "text",
        "provider": "text",
        "user_id": "text",
        "team_id": "text",
        "project_id": "text",
        "app_id": "text",
        "client_id": "text",
        "task_type": "text",
        "key_id": "uuid",
        "input_tokens": "bigint",
        "output_tokens": "bigint",
        "usage": "jsonb",
        "rates": "jsonb",
    },
)
# The columns of a cost event that come from `charge_to`, in the table's order.
CHARGED_TO: Final = tuple(COST_EVENT.columns)[9:18]


class Journal(Protocol):
    """Keeps the audit rows, in the ledger's transaction. The gateway brings it."""

    def repeats(
        self, store: Store, asks: Sequence[Ask], *, now: datetime
    ) -> Mapping[UUID, Repeated]:
        """Return, by the ask's id, which Idempotency-Keys were used before; note the others."""
        ...

    def record(self, store: Store, decided: Sequence[tuple[Ask, Answer]], *, now: datetime) -> None:
        """Write the audit rows of what was asked."""
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

    def commit(
        self,
        store: Store,
        *,
        asks: Sequence[Ask],
        settlements: Sequence[Settlement],
        again: bool = False,
    ) -> tuple[list[Answer], list[Settled]]:
        """Decide and write a whole batch in one transaction; answers come in its order.

        Settlements first: what they give back is there for the asks. `again` says that an
        earlier try of the same batch may have committed unseen. Raises StoreUnavailable, with
        nothing written or all of it.
        """
        locked = store.lock(
            org_ids=sorted({ask.org_id for ask in asks}),
            period_ids=sorted({id_ for each in settlements for id_ in each.period_ids}),
            hold_ids=sorted(
                {each.hold_id for each in settlements} | {ask.id for ask in asks if again}
            ),
        )
        batch = _Batch(store=store, locked=locked, instance_id=self.instance_id)
        settled = [batch.settle(settlement) for settlement in settlements]
        repeats = self.journal.repeats(
            store,
            [ask for ask in asks if ask.repeat and ask.id not in locked.holds],
            now=locked.now,
        )
        answers = [batch.reserve(ask, repeats.get(ask.id)) for ask in asks]
        batch.write()
        self.journal.record(
            store,
            [pair for pair in zip(asks, answers, strict=True) if _leaves_a_row(*pair)],
            now=locked.now,
        )
        self.journal.complete(store, list(zip(settlements, settled, strict=True)), now=locked.now)
        store.commit()
        return answers, settled


def _leaves_a_row(ask: Ask, answer: Answer) -> bool:
    if isinstance(answer, Stale):
        return False
    return ask.record_if_full or not isinstance(answer, Full)


class _Batch:
    """One transaction's changes, decided in memory on locked rows and written once."""

    def __init__(self, *, store: Store, locked: Locked, instance_id: UUID) -> None:
        self.store = store
        self.locked = locked
        self.now = locked.now
        self.instance_id = instance_id
        self.new_periods: list[PeriodRow] = []
        self.period_changes: dict[UUID, list[int]] = {}
        self.limits: dict[UUID, int | None] = {}
        self.holds: list[Sequence[Any]] = []
        self.hold_periods: list[Sequence[Any]] = []
        self.hold_changes: list[Sequence[Any]] = []
        self.events: list[Sequence[Any]] = []
        self.in_force: dict[tuple[UUID, str], PeriodRow] = {
            (period.org_id, period.scope): period
            for period in locked.periods.values()
            if period.starts_at <= self.now < period.ends_at
        }

    # --- reserve ------------------------------------------------------------------------------

    def reserve(self, ask: Ask, repeated: Repeated | None) -> Answer:
        """Admit one call or say why not, in order of arrival."""
        organization = self.locked.organizations.get(ask.org_id)
        if organization is None:
            return Stale()
        if not organization.enabled:
            return SwitchedOff(now=self.now, name=organization.name)
        if (organization.config_version, self.locked.prices_version) != (
            ask.config_version,
            ask.prices_version,
        ):
            return Stale()
        if ask.amount_nanoeur is None:
            return Recorded(now=self.now)
        if repeated is not None:
            return repeated
        period = self._period_in_force(ask.org_id, zone=ZoneInfo(organization.timezone))
        before = replace(_balance(period), limit_nanoeur=ask.limit_nanoeur)
        if ask.id in self.locked.holds:  # committed by an earlier try of this batch
            return Admitted(now=self.now, before=before, period_ids=(period.id,))
        if not before.has_room_for(ask.amount_nanoeur):
            return Full(now=self.now, balance=before)
        self._hold(ask, period)
        return Admitted(now=self.now, before=before, period_ids=(period.id,))

    def _hold(self, ask: Ask, period: PeriodRow) -> None:
        amount_nanoeur = ask.amount_nanoeur or 0
        period.held_nanoeur += amount_nanoeur
        self._change(period.id, held=amount_nanoeur)
        self.limits[period.id] = ask.limit_nanoeur
        self.holds.append(
            (
                ask.id,
                ask.org_id,
                ask.request_id,
                State.HELD.value,
                amount_nanoeur,
                0,
                self.now,
                self.now + timedelta(seconds=ask.deadline_s),
                None,
                self.instance_id,
                json.dumps(ask.charge_to),
                ask.rates,
            )
        )
        self.hold_periods.append((ask.id, period.id))

    def _period_in_force(self, org_id: UUID, *, zone: ZoneInfo) -> PeriodRow:
        """Return the organization's day, making it when this is its first call."""
        period = self.in_force.get((org_id, ORG_SCOPE))
        if period is not None:
            return period
        previous_ends_at, next_starts_at = self.store.neighbours(
            org_id=org_id, scope=ORG_SCOPE, moment=self.now
        )
        starts_at, ends_at = clipped(
            day_around(self.now, zone),
            previous_ends_at=previous_ends_at,
            next_starts_at=next_starts_at,
        )
        period = PeriodRow(
            id=new_id(),
            org_id=org_id,
            scope=ORG_SCOPE,
            starts_at=starts_at,
            ends_at=ends_at,
            limit_nanoeur=None,
            held_nanoeur=0,
            settled_nanoeur=0,
            overrun_nanoeur=0,
        )
        self.in_force[org_id, ORG_SCOPE] = period
        self.new_periods.append(period)
        return period

    # --- settle -------------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> Settled:
        """Move one hold to its final state, or say where it already is."""
        hold = self.locked.holds.get(settlement.hold_id)
        if hold is None:  # a reservation that never committed
            return Settled(
                changed=False, state=State.RELEASED, charged_nanoeur=0, overrun_nanoeur=0
            )
        step = move(
            state=hold.state,
            amount_nanoeur=hold.amount_nanoeur,
            outcome=settlement.outcome,
            cost_nanoeur=settlement.cost_nanoeur,
        )
        if step is not None:
            self._apply(step, hold, settlement)
        return Settled(
            changed=step is not None,
            state=hold.state,
            charged_nanoeur=hold.charged_nanoeur,
            overrun_nanoeur=max(0, hold.charged_nanoeur - hold.amount_nanoeur),
        )

    def _apply(self, step: Move, hold: HoldRow, settlement: Settlement) -> None:
        hold.state, hold.charged_nanoeur = step.state, step.charged_nanoeur
        for period_id in settlement.period_ids:
            period = self.locked.periods[period_id]
            period.held_nanoeur += step.held_change
            period.settled_nanoeur += step.settled_change
            period.overrun_nanoeur += step.overrun_change
            self._change(
                period_id,
                held=step.held_change,
                settled=step.settled_change,
                overrun=step.overrun_change,
            )
        self.hold_changes.append((hold.id, step.state.value, step.charged_nanoeur, self.now))
        if step.event_kind is None:
            return
        usage = settlement.usage
        self.events.append(
            (
                new_id(),
                settlement.org_id,
                "AI",
                step.event_kind.value,
                hold.held_at,
                self.now,
                step.event_nanoeur,
                settlement.request_id,
                hold.id,
                *(settlement.charge_to.get(name) for name in CHARGED_TO),
                usage.input_tokens if usage else None,
                usage.output_tokens if usage else None,
                json.dumps(usage.as_dict()) if usage else None,
                settlement.rates,
            )
        )

    # --- write --------------------------------------------------------------------------------

    def _change(
        self, period_id: UUID, *, held: int = 0, settled: int = 0, overrun: int = 0
    ) -> None:
        sums = self.period_changes.setdefault(period_id, [0, 0, 0])
        sums[0] += held
        sums[1] += settled
        sums[2] += overrun

    def write(self) -> None:
        """Send every change, each table in one statement."""
        store = self.store
        store.insert(
            PERIOD,
            [
                (row.id, row.org_id, row.scope, row.starts_at, row.ends_at, None, 0, 0, 0)
                for row in self.new_periods
            ],
        )
        store.update(PERIOD, ("limit_nanoeur",), list(self.limits.items()))
        store.add(
            PERIOD,
            ("held_nanoeur", "settled_nanoeur", "overrun_nanoeur"),
            [(period_id, *sums) for period_id, sums in self.period_changes.items()],
        )
        store.insert(HOLD, self.holds)
        store.insert(HOLD_PERIOD, self.hold_periods)
        store.update(HOLD, ("state", "charged_nanoeur", "resolved_at"), self.hold_changes)
        store.insert(COST_EVENT, self.events)


def _balance(period: PeriodRow) -> Balance:
    return Balance(
        limit_nanoeur=period.limit_nanoeur,
        charged_nanoeur=period.settled_nanoeur + period.overrun_nanoeur,
        held_nanoeur=period.held_nanoeur,
        ends_at=period.ends_at,
    )
