"""The changes of one ledger transaction: computed in memory on locked rows, written once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
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
    RateExceeded,
    RefusalRecorded,
    Repeated,
    ReserveRequest,
    ReserveResult,
    Settled,
    Settlement,
    place_without_room,
)
from costs.core.calendar.periods import clipped, local_day
from costs.core.holds import Move, State
from costs.core.rate_limits import RateState, TakenRate, over_rate
from costs.core.rates import StoredRates
from costs.ledger.buckets import Buckets
from costs.ledger.charges import (
    NOTHING,
    NOTHING_OF_SESSION,
    ChargedTo,
    OfSession,
    Sums,
    added,
    charged_to,
    day_rows,
    event_row,
    month_rows,
    session_of,
    session_rows,
    session_sums,
    step_of,
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
    SESSION_COST,
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
# What a session has cost, and what its calls hold that were admitted in earlier periods: they stay
# in those, and their charges count in none after. One statement, so that a settlement is in one.
SPENT_IN_SESSION: Final = """
    SELECT (SELECT COALESCE(SUM(amount_nanoeur), 0) FROM session_cost
            WHERE org_id = %s AND session_id = %s)
         + (SELECT COALESCE(SUM(held_nanoeur), 0) FROM period WHERE org_id = %s AND scope = %s)
"""
NO_CHANGE: Final = {"held_nanoeur": 0, "settled_nanoeur": 0, "overrun_nanoeur": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The periods that a hold counts in, and what it took of rates."""

    period_ids: tuple[UUID, ...]
    taken: tuple[TakenRate, ...]


class Batch:
    """The changes of one transaction. Call `settle` and `reserve` in order, then `write`."""

    def __init__(  # noqa: PLR0913  keyword-only; what was read after the locks
        self,
        *,
        store: Store,
        locked: Locked,
        instance_id: UUID,
        known_cards: Collection[UUID],
        placed: Mapping[UUID, Placed],
        adjusted: Collection[UUID] = (),
    ) -> None:
        self.store = store
        self.locked = locked
        self.placed = placed
        self.adjusted = {*adjusted}
        self.buckets = Buckets(locked.buckets.values(), now=locked.now)
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
        self.grown_holds: dict[UUID, Row] = {}
        self.events: list[Row] = []
        self.daily: dict[tuple[UUID, ChargedTo], Sums] = {}
        self.sessions: dict[tuple[UUID, ChargedTo, OfSession], Sums] = {}
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
            return self.locked.versions(config_version=0)
        placed = self.placed.get(request.id)
        if placed is not None:  # by an earlier try, which also stored the balances before it
            periods = [self._period_in_force(organization, limit) for limit in request.limits]
            before = tuple(map(self._balance, periods, request.limits))
            return Admitted(
                now=self.now,
                before=before,
                period_ids=placed.period_ids,
                rates=self.buckets.states(request.org_id, request.rate_limits),
                taken=placed.taken,
            )
        if not organization.ai_gateway_enabled:
            return GatewayDisabled(now=self.now, name=organization.name)
        current = self.locked.versions(config_version=organization.config_version)
        if current != request.versions:
            return current
        if request.amount_nanoeur is None:
            return RefusalRecorded(now=self.now)
        if repeated is not None:
            return repeated
        periods = [self._period_in_force(organization, limit) for limit in request.limits]
        before = tuple(map(self._balance, periods, request.limits))
        rates = self.buckets.states(request.org_id, request.rate_limits)
        refusal = self._refusal(request, request.amount_nanoeur, before, rates)
        if refusal is not None:
            return refusal
        self._hold(request, request.amount_nanoeur, periods)
        return Admitted(
            now=self.now,
            before=before,
            period_ids=tuple([period.id for period in periods]),
            rates=rates,
            taken=self.buckets.take(request),
        )

    def _refusal(
        self,
        request: ReserveRequest,
        amount_nanoeur: int,
        before: tuple[Balance, ...],
        rates: tuple[RateState, ...],
    ) -> InsufficientRoom | RateExceeded | None:
        """Return what keeps out a call: a limit that is spent, a rate, or calls in flight."""
        full = place_without_room(before, amount_nanoeur)
        is_held = full is not None and not before[full].is_too_full_for(amount_nanoeur)
        if rates and (full is None or is_held):
            over = over_rate(rates, request.tokens)
            if over is not None:
                return RateExceeded(now=self.now, over=over, before=before, rates=rates)
        if full is None:
            return None
        return InsufficientRoom(
            now=self.now,
            limit=request.limits[full],
            balance=before[full],
            before=before,
            is_held=is_held,
        )

    def _balance(self, period: PeriodRow, limit: Limit) -> Balance:
        return Balance(
            limit_nanoeur=limit.nanoeur_at(self.now),
            charged_nanoeur=period.charged_nanoeur,
            held_nanoeur=period.held_nanoeur,
            ends_at=period.ends_at,
        )

    def _hold(
        self, request: ReserveRequest, amount_nanoeur: int, periods: Sequence[PeriodRow]
    ) -> None:
        for period, limit in zip(periods, request.limits, strict=True):
            self.change(period, held=amount_nanoeur)
            self.hold_periods.append({"hold_id": request.id, "period_id": period.id})
            if amount_nanoeur:  # a call that costs nothing is admitted past the limit
                self._limit(period, limit.nanoeur_at(self.now))
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
            carried_nanoeur=self._carried(org_id, limit),
        )
        self.in_force[org_id, scope] = period
        self.new_periods.append(asdict(period))  # as it is before its first hold
        return period

    def _carried(self, org_id: UUID, limit: Limit) -> int:
        """Return what counts in a limit before its new period.

        Settlements of the session in this batch are not written yet: they are added.
        """
        if limit.session_id is None:
            return 0
        values = (org_id, limit.session_id, org_id, limit.scope)
        [(spent_nanoeur,)] = self.store.query(SPENT_IN_SESSION, *values)
        periods = self.locked.periods
        charged = (
            sums[0]
            for (period_id, _, (session_id, _)), sums in self.sessions.items()
            if session_id == limit.session_id and periods[period_id].org_id == org_id
        )
        held = (
            change["held_nanoeur"]
            for period_id, change in self.period_changes.items()
            if (period := periods.get(period_id)) is not None
            and (period.org_id, period.scope) == (org_id, limit.scope)
        )
        spent: int = int(spent_nanoeur) + sum(charged) + sum(held)
        return max(0, spent)

    # --- settle -------------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> Settled:
        """Move one hold to its final state, or return its current one."""
        hold = self.locked.holds.get(settlement.hold_id)
        if hold is None:  # a reservation that never committed
            return Settled(
                changed=False, state=State.RELEASED, charged_nanoeur=0, overrun_nanoeur=0
            )
        step = step_of(hold, settlement, was_adjusted=hold.id in self.adjusted)
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
        if hold.state is State.HELD:
            self.buckets.give_back(settlement, step.state, held_at=hold.held_at)
        hold.state, hold.charged_nanoeur = step.state, step.charged_nanoeur
        for period_id in settlement.period_ids:
            self.change(
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
        if settlement.adjusts:
            self.adjusted.add(hold.id)

    def _charge(self, step: Move, hold: HoldRow, settlement: Settlement) -> None:
        """Add the cost event, and count it in the costs of its day."""
        self._card(settlement.rates)
        self.events.append(
            event_row(new_id(), step, settlement, held_at=hold.held_at, now=self.now)
        )
        named, more = charged_to(settlement.charge_to), sums_of(step, settlement.usage)
        of, of_session = session_of(settlement.charge_to), session_sums(more, settlement.usage)
        for period_id in settlement.period_ids:
            if self.locked.periods[period_id].scope != ORG_SCOPE:
                continue
            self.daily[period_id, named] = added(self.daily.get((period_id, named), NOTHING), more)
            if of is not None:
                line = (period_id, named, of)
                known = self.sessions.get(line, NOTHING_OF_SESSION)
                self.sessions[line] = added(known, of_session)

    def _card(self, card: StoredRates) -> UUID:
        """Return the id of rates, which are written with the first row that refers to them."""
        if card.id not in self.known_cards:
            self.cards[card.id] = card
        return card.id

    # --- write --------------------------------------------------------------------------------

    def change(
        self, period: PeriodRow, *, held: int = 0, settled: int = 0, overrun: int = 0
    ) -> None:
        """Add to what a locked period holds and has charged."""
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
        changes = [each for each in self.period_changes.values() if any(map(each.get, NO_CHANGE))]
        # Of a refused call none: callers choose the values for which there are periods.
        begun = [each for each in self.new_periods if each["id"] in self.period_changes]
        store.insert(PERIOD, begun)
        store.update(PERIOD, list(self.limits.values()))
        store.add(PERIOD, changes)
        store.insert(RATE_CARD, [asdict(card) for card in self.cards.values()])
        store.insert(HOLD, self.holds)
        store.insert(HOLD_PERIOD, self.hold_periods)
        self.buckets.write(store)
        store.update(HOLD, list(self.hold_changes.values()))
        store.update(HOLD, list(self.grown_holds.values()))
        store.insert(COST_EVENT, self.events)
        periods = self.locked.periods
        store.insert(DAILY_COST, day_rows(self.daily, periods))
        store.insert(SESSION_COST, session_rows(self.sessions, periods))
        store.insert(MONTHLY_COST, month_rows(self.daily, periods))
