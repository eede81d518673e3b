"""Writes invented requests as the gateway would have left them: holds, events, days, audit rows.

Straight into the tables, a day in one transaction, as finished rows: all that the ledger does in
one transaction happens at one instant, so that requests which each have their own would take two
transactions each, 2.4 times as long on PostgreSQL and 11 times on SQLite. The rows come of the
ledger's own functions, and `ledger verify` and `audit verify` hold them to the same books.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from costs.core.admission import ORG_SCOPE, Settlement
from costs.core.calendar.periods import first_instant
from costs.core.holds import EventKind, HoldCharge, State, move
from costs.core.pricing import UsagePrice, bound_nanoeur, price_of
from costs.core.rates import Rates, StoredRates
from costs.core.usage import STANDARD_TIER, Usage, UsageCeiling
from costs.ledger.charges import (
    NOTHING,
    NOTHING_OF_SESSION,
    ChargedTo,
    OfSession,
    Sums,
    added,
    charged_to,
    day_row,
    event_row,
    month_row,
    session_of,
    session_row,
    session_sums,
    sums_of,
)
from costs.ledger.stores.base import Store
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
from gateway.call.records.journal import AI_REQUEST_LOG
from gateway.core.calls import Session
from gateway.demo.invention import MODELS, Invented

OUTPUT_CAP: Final = 4096
DEADLINE: Final = timedelta(seconds=150)
CORRECTED_AFTER: Final = timedelta(minutes=9)
REFUSALS: Final = (
    ("model_blocked", 'Model {model} is blocked by policy "Production"'),
    (
        "token_limit",
        'Request needs up to {tokens} tokens; policy "Production" allows 5000 per request',
    ),
)
UNPRICED_TIER: Final = "ultrafast"
# end -> status, code, and how the hold was settled, one after another; what is refused has none
ENDINGS: Final[dict[str, tuple[str, str | None, tuple[State, ...]]]] = {
    "ok": ("ok", None, (State.SETTLED,)),
    "over": ("ok", None, (State.SETTLED,)),
    "late": ("ok", None, (State.UNKNOWN, State.SETTLED)),
    "error": ("error", "provider_error", (State.RELEASED,)),
    "unpriced": ("ok", None, (State.SETTLED,)),
    "unknown": ("unknown", "provider_timeout", (State.UNKNOWN,)),
    "cut": ("unknown", "client_disconnected", (State.UNKNOWN,)),
}


@dataclass(slots=True)
class InventedDay:
    """The rows of one day, as they are gathered."""

    org_id: UUID
    day: date
    zone: ZoneInfo
    rng: Random
    prompt_hashes: Sequence[str]
    holds: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    log: list[Row] = field(default_factory=list)
    cards: dict[UUID, StoredRates] = field(default_factory=dict)
    lines: dict[ChargedTo, Sums] = field(default_factory=dict)
    sessions: dict[tuple[ChargedTo, OfSession], Sums] = field(default_factory=dict)
    settled_nanoeur: int = 0
    overrun_nanoeur: int = 0

    def add(self, request: Invented, rates: Rates) -> None:
        """Add one request with everything that it leaves."""
        if request.end == "blocked":
            self._refused(request)
        else:
            self._admitted(request, rates)

    def write(self, store: Store) -> None:
        """Write the day in one transaction."""
        store.begin()
        starts_at = first_instant(self.day, self.zone)
        period_id, month = self._id(starts_at), self.day.replace(day=1)
        period = {
            "id": period_id,
            "org_id": self.org_id,
            "scope": ORG_SCOPE,
            "starts_on": self.day,
            "starts_at": starts_at,
            "ends_at": first_instant(self.day + timedelta(days=1), self.zone),
            "held_nanoeur": 0,
            "settled_nanoeur": self.settled_nanoeur,
            "overrun_nanoeur": self.overrun_nanoeur,
            "carried_nanoeur": 0,
        }
        placed = [{"hold_id": hold["id"], "period_id": period_id} for hold in self.holds]
        lines = self.lines.items()
        store.insert(PERIOD, [period])
        store.insert(RATE_CARD, list(map(asdict, self.cards.values())))
        store.insert(HOLD, self.holds)
        store.insert(HOLD_PERIOD, placed)
        store.insert(COST_EVENT, self.events)
        store.insert(AI_REQUEST_LOG, self.log)
        store.insert(
            DAILY_COST, [day_row(period_id, self.org_id, self.day, *line) for line in lines]
        )
        store.insert(
            SESSION_COST,
            [
                session_row(period_id, self.org_id, self.day, named, of, sums)
                for (named, of), sums in self.sessions.items()
            ],
        )
        store.insert(MONTHLY_COST, [month_row(self.org_id, month, *line) for line in lines])
        store.commit()

    # --- one request --------------------------------------------------------------------------

    def _refused(self, request: Invented) -> None:
        code, sentence = self.rng.choice(REFUSALS)
        model = MODELS[request.model][1]
        self._log(
            request,
            id=self._id(request.at),
            completed_at=request.at + timedelta(milliseconds=1),
            model=model,
            status="blocked",
            code=code,
            error=sentence.format(model=model, tokens=request.input_tokens + OUTPUT_CAP),
            cost_nanoeur=0,
            latency_ms=1,
            decision=json.dumps({"policies": []}),
        )

    def _admitted(self, request: Invented, rates: Rates) -> None:
        usage = _usage(request)
        most = UsageCeiling(input_tokens=4 * request.input_tokens, output_tokens=OUTPUT_CAP)
        price, bound = price_of(usage, rates), bound_nanoeur(most, rates)
        held = price.nanoeur * 9 // 10 if request.end == "over" else bound
        cost = max(price.nanoeur, held) if price.unpriced else price.nanoeur
        status, code, outcomes = ENDINGS[request.end]
        request_id, charge_to = self._id(request.at), _charge_to(request)
        hold: dict[str, Any] = {
            "id": self._id(request.at),
            "org_id": self.org_id,
            "request_id": request_id,
            "state": State.HELD,
            "amount_nanoeur": held,
            "charged_nanoeur": 0,
            "held_at": request.at,
            "deadline_at": request.at + DEADLINE,
            "resolved_at": request.at + timedelta(milliseconds=request.latency_ms),
            "instance_id": self.org_id,
            "charge_to": json.dumps(charge_to),
            "rate_card_id": rates.card.id,
        }
        self.cards[rates.card.id] = rates.card
        self.holds.append(hold)
        for outcome in outcomes:
            known = outcome is State.SETTLED
            settlement = Settlement(
                hold_id=hold["id"],
                request_id=request_id,
                org_id=self.org_id,
                period_ids=(),
                outcome=outcome,
                # What is cut is an estimate: what was seen of the answer.
                cost_nanoeur=cost if known or request.end == "cut" else None,
                is_estimate=price.is_estimate,
                usage=usage if known else None,
                charge_to=charge_to,
                rates=rates.card,
                entry=None,
            )
            self._settle(hold, settlement)
        self._log(
            request,
            id=request_id,
            completed_at=hold["resolved_at"],
            model=charge_to["model"],
            status=status,
            code=code,
            error="The provider returned an error" if code else None,
            finish_reason="stop" if status == "ok" else None,
            input_tokens=request.input_tokens if known else None,
            output_tokens=request.output_tokens if known else None,
            hold_nanoeur=held,
            cost_nanoeur=hold["charged_nanoeur"],
            estimated_nanoeur=0 if known and not price.is_estimate else hold["charged_nanoeur"],
            latency_ms=request.latency_ms,
            usage=_reported(usage, price) if known else None,
            decision=json.dumps({"bound_nanoeur": held, "output_cap": OUTPUT_CAP, "policies": []}),
        )

    def _settle(self, hold: dict[str, Any], settlement: Settlement) -> None:
        step = move(
            HoldCharge(State(hold["state"]), hold["amount_nanoeur"], hold["charged_nanoeur"]),
            outcome=settlement.outcome,
            cost_nanoeur=settlement.cost_nanoeur,
            is_estimate=settlement.is_estimate,
        )
        if step is None:
            raise AssertionError("an invented hold must be settled in valid steps")
        hold |= {"state": step.state.value, "charged_nanoeur": step.charged_nanoeur}
        self.settled_nanoeur += step.settled_change
        self.overrun_nanoeur += step.overrun_change
        if step.event_kind is None:
            return
        is_late = step.event_kind is EventKind.CORRECTION
        moment = hold["resolved_at"] + (CORRECTED_AFTER if is_late else timedelta())
        row = event_row(self._id(moment), step, settlement, held_at=hold["held_at"], now=moment)
        self.events.append(row)
        named, more = charged_to(settlement.charge_to), sums_of(step, settlement.usage)
        self.lines[named] = added(self.lines.get(named, NOTHING), more)
        of = session_of(settlement.charge_to)
        if of is not None:
            known = self.sessions.get((named, of), NOTHING_OF_SESSION)
            self.sessions[named, of] = added(known, session_sums(more, settlement.usage))

    def _log(self, request: Invented, **columns: Any) -> None:
        source = request.source
        provider, requested, _, _ = MODELS[request.model]
        self.log.append(
            {
                "org_id": self.org_id,
                "occurred_at": request.at,
                "channel": "api" if source.key_id else "sdk",
                "stream": False,
                "requested_model": requested,
                "provider": provider,
                "prompt_hash": self.rng.choice(self.prompt_hashes),
                **_dimensions(request),
                **_session(request),
                "key_id": source.key_id,
                **columns,
            }
        )

    def _id(self, at: datetime) -> UUID:
        """Return a UUIDv7 of that moment, as the gateway would have made it then."""
        ms = int(at.timestamp() * 1000)
        chance = self.rng.getrandbits(74)
        low = (0b10 << 62) | (chance & (1 << 62) - 1)
        return UUID(int=(ms << 80) | (0x7 << 76) | (chance >> 62) << 64 | low)


def _usage(request: Invented) -> Usage:
    # An agent's turn reads most of the conversation again.
    cached = 0 if request.session_id is None else request.input_tokens * 4 // 5
    return Usage(
        input_uncached=request.input_tokens - cached,
        cache_read=cached,
        output_text=request.output_tokens,
        service_tier=UNPRICED_TIER if request.end == "unpriced" else STANDARD_TIER,
    )


def _reported(usage: Usage, price: UsagePrice) -> str:
    return json.dumps({"buckets": usage.as_dict(), "adds_up": True, "unpriced": price.unpriced})


def _dimensions(request: Invented) -> dict[str, str | None]:
    source = request.source
    return {
        "user_id": source.user_id,
        "team_id": source.team_id,
        "project_id": source.project_id,
        "app_id": source.app_id,
        "client_id": request.client_id,
        "task_type": request.task_type,
    }


def _session(request: Invented) -> dict[str, str]:
    if request.session_id is None:
        return {}
    return Session(id=request.session_id, agent_id=request.agent_id).as_dict()


def _charge_to(request: Invented) -> dict[str, str | None]:
    provider, requested, answered, _ = MODELS[request.model]
    key_id = request.source.key_id
    return {
        "model": answered if ENDINGS[request.end][0] == "ok" else requested,
        "provider": provider,
        **_dimensions(request),
        "key_id": str(key_id) if key_id else None,
        **_session(request),
    }
