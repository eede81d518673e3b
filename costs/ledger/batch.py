"""The changes of one ledger transaction: computed in memory on locked rows, written once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from operator import itemgetter
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from costs.core.admission import (
    ORG_SCOPE,
    Admitted,
    Balance,
    GatewayDisabled,
    InsufficientRoom,
    Limit,
    RefusalRecorded,
    Repeated,
    ReserveRequest,
    ReserveResult,
    Settled,
    Settlement,
    Stale,
    place_without_room,
)
from costs.core.calendar.periods import clipped, local_day
from costs.core.holds import HoldCharge, Move, State, move
from costs.core.rates import StoredRates
from costs.ledger.charges import (
    NOTHING,
    ChargedTo,
    Sums,
    added,
    charged_to,
    day_row,
    event_row,
    month_row,
    sums_of,
)
from costs.ledger.stores.base import (
    HoldRow,
    Locked,
    OrganizationRow,
    PeriodRow,
    Store,
)
from costs.ledger.stores.tables import (
    COST_EVENT,
    DAILY_COST,
    HOLD,
    HOLD_PERIOD,
    MONTHLY_COST,
    PERIOD,
    RATE_CARD,
    Row,
)
from orgs.database import as_moment
from orgs.fields import new_id

# The end of the last period begun by a moment, and the start of the next one.
NEIGHBOURS: Final = """
    SELECT max(ends_at) FILTER (WHERE starts_at <= %s),
           min(starts_at) FILTER (WHERE starts_at > %s)
    FROM period WHERE org_id = %s AND scope = %s
"""
NO_CHANGE: Final = {"held_nanoeur": 0, "settled_nanoeur": 0, "overrun_nanoeur": 0}


class Batch:
    """The changes of one transaction. Call `settle` and `reserve` in order, then `write`."""

    def __init__(
        self,
        *,
        store: Store,
        locked: Locked,
        instance_id: UUID,
        known_cards: Collection[UUID],
        placed: Mapping[UUID, tuple[UUID, ...]],
    ) -> None:
        self.store = store
        self.locked = locked
        self.placed = placed
        self.now = locked.now
        self.instance_id = instance_id
        self.known_cards = known_cards
        self.cards: dict[UUID, StoredRates] = {}
        self.new_periods: list[Row] = []
        self.period_changes: dict[UUID, dict[str, Any]] = {}
        self.limits: dict[UUID, Row] = {}
        self.holds: list[Row] = []
        self.hold_periods: list[Row] = []
        self.hold_changes: dict[UUID, Row] = {}
        self.events: list[Row] = []
        self.daily: dict[tuple[UUID, ChargedTo], Sums] = {}
        self.in_force: dict[tuple[UUID, str], PeriodRow] = {
            (period.org_id, period.scope): period
            for period in locked.periods.values()
            if period.starts_at <= self.now < period.ends_at
        }

    # --- reserve ------------------------------------------------------------------------------

    def reserve(self, request: ReserveRequest, repeated: Repeated | None) -> ReserveResult:
        """Admit one call or return why not, in order of arrival."""
        organization = self.locked.organizations.get(request.org_id)
        if organization is None:
            return Stale(config_version=0, prices_version=self.locked.prices_version)
        if request.id in self.placed:  # by an earlier try, which also stored the balances before it
            periods = [self._period_in_force(organization, limit) for limit in request.limits]
            before = tuple(map(_balance, periods, request.limits))
            return Admitted(now=self.now, before=before, period_ids=self.placed[request.id])
        if not organization.ai_gateway_enabled:
            return GatewayDisabled(now=self.now, name=organization.name)
        config_version, prices_version = organization.config_version, self.locked.prices_version
        if (config_version, prices_version) != (request.config_version, request.prices_version):
            return Stale(config_version=config_version, prices_version=prices_version)
        if request.amount_nanoeur is None:
            return RefusalRecorded(now=self.now)
        if repeated is not None:
            return repeated
        periods = [self._period_in_force(organization, limit) for limit in request.limits]
        before = tuple(map(_balance, periods, request.limits))
        full = place_without_room(before, request.amount_nanoeur)
        if full is not None:
            return InsufficientRoom(
                now=self.now, limit=request.limits[full], balance=before[full], before=before
            )
        self._hold(request, request.amount_nanoeur, periods)
        return Admitted(
            now=self.now, before=before, period_ids=tuple([period.id for period in periods])
        )

    def _hold(
        self, request: ReserveRequest, amount_nanoeur: int, periods: Sequence[PeriodRow]
    ) -> None:
        for period, limit in zip(periods, request.limits, strict=True):
            self._change(period, held=amount_nanoeur)
            self.hold_periods.append({"hold_id": request.id, "period_id": period.id})
            if amount_nanoeur:  # a call that costs nothing is admitted past the limit
                self._limit(period, limit.limit_nanoeur)
        self.holds.append(
            {
                "id": request.id,
                "org_id": request.org_id,
                "request_id": request.request_id,
                "state": State.HELD.value,
                "amount_nanoeur": amount_nanoeur,
                "charged_nanoeur": 0,
                "held_at": self.now,
                "deadline_at": self.now + timedelta(seconds=request.deadline_s),
                "instance_id": self.instance_id,
                "charge_to": orjson.dumps(request.charge_to).decode(),
                "rate_card_id": self._card(request.rates),
            }
        )

    def _limit(self, period: PeriodRow, limit_nanoeur: int | None) -> None:
        """Store the limit that a hold fits in with the period, where a trigger enforces it."""
        own = None if limit_nanoeur is None else limit_nanoeur - period.carried_nanoeur
        if period.limit_nanoeur != own:
            period.limit_nanoeur = own
            self.limits[period.id] = {"id": period.id, "limit_nanoeur": own}

    def _period_in_force(self, organization: OrganizationRow, limit: Limit) -> PeriodRow:
        """Return the period that a limit counts in now, creating it for its first call."""
        org_id, scope = organization.id, limit.scope
        period = self.in_force.get((org_id, scope))
        if period is not None:
            return period
        [found] = self.store.query(NEIGHBOURS, self.now, self.now, org_id, scope)
        previous_ends_at, next_starts_at = (moment and as_moment(moment) for moment in found)
        zone = ZoneInfo(organization.timezone)
        day = local_day(self.now, zone)
        starts_at, ends_at = clipped(
            limit.span.around(day, zone),
            previous_ends_at=previous_ends_at,
            next_starts_at=next_starts_at,
        )
        period = PeriodRow(
            id=new_id(),
            org_id=org_id,
            scope=scope,
            starts_on=limit.span.days_around(day)[0],
            starts_at=starts_at,
            ends_at=ends_at,
            limit_nanoeur=None,
            held_nanoeur=0,
            settled_nanoeur=0,
            overrun_nanoeur=0,
            carried_nanoeur=0,
        )
        self.in_force[org_id, scope] = period
        self.new_periods.append(asdict(period))  # as it is before its first hold
        return period

    # --- settle -------------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> Settled:
        """Move one hold to its final state, or return its current one."""
        hold = self.locked.holds.get(settlement.hold_id)
        if hold is None:  # a reservation that never committed
            return Settled(
                changed=False, state=State.RELEASED, charged_nanoeur=0, overrun_nanoeur=0
            )
        step = move(
            HoldCharge(hold.state, hold.amount_nanoeur, hold.charged_nanoeur),
            outcome=settlement.outcome,
            cost_nanoeur=settlement.cost_nanoeur,
            is_estimate=settlement.is_estimate,
        )
        if step is not None:
            if not settlement.period_ids:
                raise ValueError(f"hold {hold.id} counts in no period")
            self._apply(step, hold, settlement)
        is_estimate = hold.state is State.UNKNOWN or settlement.is_estimate
        return Settled(
            changed=step is not None,
            state=hold.state,
            charged_nanoeur=hold.charged_nanoeur,
            overrun_nanoeur=max(0, hold.charged_nanoeur - hold.amount_nanoeur),
            estimated_nanoeur=hold.charged_nanoeur if is_estimate else 0,
        )

    def _apply(self, step: Move, hold: HoldRow, settlement: Settlement) -> None:
        hold.state, hold.charged_nanoeur = step.state, step.charged_nanoeur
        for period_id in settlement.period_ids:
            self._change(
                self.locked.periods[period_id],
                held=step.held_change,
                settled=step.settled_change,
                overrun=step.overrun_change,
            )
        self.hold_changes[hold.id] = {
            "id": hold.id,
            "state": step.state.value,
            "charged_nanoeur": step.charged_nanoeur,
            "resolved_at": self.now,
        }
        if step.event_kind is not None:
            self._charge(step, hold, settlement)

    def _charge(self, step: Move, hold: HoldRow, settlement: Settlement) -> None:
        """Add the cost event, and count it in the costs of its day."""
        self._card(settlement.rates)
        self.events.append(
            event_row(new_id(), step, settlement, held_at=hold.held_at, now=self.now)
        )
        named, more = charged_to(settlement.charge_to), sums_of(step, settlement.usage)
        for period_id in settlement.period_ids:
            if self.locked.periods[period_id].scope == ORG_SCOPE:
                sums = self.daily.get((period_id, named), NOTHING)
                self.daily[period_id, named] = added(sums, more)

    def _card(self, card: StoredRates) -> UUID:
        """Return the id of rates, which are written with the first row that refers to them."""
        if card.id not in self.known_cards:
            self.cards[card.id] = card
        return card.id

    # --- write --------------------------------------------------------------------------------

    def _change(
        self, period: PeriodRow, *, held: int = 0, settled: int = 0, overrun: int = 0
    ) -> None:
        period.held_nanoeur += held
        period.settled_nanoeur += settled
        period.overrun_nanoeur += overrun
        change = self.period_changes.setdefault(period.id, {"id": period.id, **NO_CHANGE})
        change["held_nanoeur"] += held
        change["settled_nanoeur"] += settled
        change["overrun_nanoeur"] += overrun

    def write(self) -> None:
        """Write every change, each table in one statement."""
        store = self.store
        store.insert(PERIOD, self.new_periods)
        store.update(PERIOD, list(self.limits.values()))
        store.add(PERIOD, list(self.period_changes.values()))
        store.insert(RATE_CARD, [asdict(card) for card in self.cards.values()])
        store.insert(HOLD, self.holds)
        store.insert(HOLD_PERIOD, self.hold_periods)
        store.update(HOLD, list(self.hold_changes.values()))
        store.insert(COST_EVENT, self.events)
        store.insert(DAILY_COST, self._daily_rows())
        store.insert(MONTHLY_COST, self._monthly_rows())

    def _daily_rows(self) -> list[Row]:
        """Return what the batch adds to the daily lines.

        Their periods' rows are locked, so no other transaction adds to a line concurrently.
        """
        periods = self.locked.periods
        return [
            day_row(period_id, periods[period_id].org_id, periods[period_id].starts_on, named, sums)
            for (period_id, named), sums in self.daily.items()
        ]

    def _monthly_rows(self) -> list[Row]:
        """Return what the batch adds to the monthly lines, in the order of their ids.

        Batches that settle different days of a month lock the same lines, always in that order.
        """
        months: dict[tuple[UUID, date, ChargedTo], Sums] = {}
        for (period_id, named), sums in self.daily.items():
            period = self.locked.periods[period_id]
            line = (period.org_id, period.starts_on.replace(day=1), named)
            months[line] = added(months.get(line, NOTHING), sums)
        rows = [month_row(*line, sums) for line, sums in months.items()]
        return sorted(rows, key=itemgetter("id"))


def _balance(period: PeriodRow, limit: Limit) -> Balance:
    return Balance(
        limit_nanoeur=limit.limit_nanoeur,
        charged_nanoeur=period.charged_nanoeur,
        held_nanoeur=period.held_nanoeur,
        ends_at=period.ends_at,
    )
