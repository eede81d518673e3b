"""Writes invented requests as the gateway would have left them: holds, events, days, audit rows.

Straight into the tables, a day in one transaction: the ledger itself would take ten times as
long. `ledger verify` and `audit verify` hold it to the same books.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from costs.core.daily import line_id
from costs.core.periods import first_instant
from costs.core.pricing import RateCard, Rates, bound_nanoeur, cost_nanoeur
from costs.core.usage import Usage
from costs.stores.base import Store, Table
from costs.tables import (
    CHARGED_TO,
    COST_EVENT,
    DAILY_COST,
    HOLD,
    HOLD_PERIOD,
    MONTHLY_COST,
    PERIOD,
    RATE_CARD,
)
from gateway.invention import MODELS, Invented
from gateway.journal import AI_REQUEST_LOG

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
# end -> status, code, hold's state; what is refused has none
ENDINGS: Final[dict[str, tuple[str, str | None, str]]] = {
    "ok": ("ok", None, "settled"),
    "over": ("ok", None, "settled"),
    "late": ("ok", None, "settled"),
    "error": ("error", "provider_error", "released"),
    "unknown": ("unknown", "provider_timeout", "unknown"),
}


@dataclass(slots=True)
class Day:
    """The rows of one day, as they are gathered."""

    org_id: UUID
    day: date
    zone: ZoneInfo
    rng: Random
    prompt_hashes: Sequence[str]
    holds: list[Sequence[Any]] = field(default_factory=list)
    events: list[Sequence[Any]] = field(default_factory=list)
    log: list[Sequence[Any]] = field(default_factory=list)
    cards: dict[UUID, RateCard] = field(default_factory=dict)
    lines: dict[tuple[str | None, ...], list[int]] = field(default_factory=dict)
    settled_nanoeur: int = 0
    overrun_nanoeur: int = 0

    def add(self, asked: Invented, rates: Rates) -> None:
        """Add one request with everything that it leaves."""
        if asked.end == "blocked":
            self._refused(asked)
        else:
            self._admitted(asked, rates)

    def write(self, store: Store) -> None:
        """Write the day in one transaction."""
        store.begin()
        starts_at = first_instant(self.day, self.zone)
        ends_at = first_instant(self.day + timedelta(days=1), self.zone)
        period_id = self._id(starts_at)
        period = _row(
            PERIOD,
            id=period_id,
            org_id=self.org_id,
            scope="org",
            starts_on=self.day,
            starts_at=starts_at,
            ends_at=ends_at,
            held_nanoeur=0,
            settled_nanoeur=self.settled_nanoeur,
            overrun_nanoeur=self.overrun_nanoeur,
            carried_nanoeur=0,
        )
        store.insert(PERIOD, [period])
        store.insert(RATE_CARD, [(card.id, card.rates) for card in self.cards.values()])
        store.insert(HOLD, self.holds)
        store.insert(HOLD_PERIOD, [(hold[0], period_id) for hold in self.holds])
        store.insert(COST_EVENT, self.events)
        store.insert(AI_REQUEST_LOG, self.log)
        store.insert(DAILY_COST, list(self._daily_rows(period_id)))
        store.insert(MONTHLY_COST, list(self._monthly_rows()))
        store.commit()

    def _monthly_rows(self) -> Iterator[Sequence[Any]]:
        month = self.day.replace(day=1)
        for named, sums in self.lines.items():
            id_ = line_id(f"{self.org_id} {month}", ("AI", *named))
            yield (id_, self.org_id, month, "AI", *named, *sums)

    def _daily_rows(self, period_id: UUID) -> Iterator[Sequence[Any]]:
        for named, sums in self.lines.items():
            id_ = line_id(period_id, ("AI", *named))
            yield (id_, self.org_id, period_id, self.day, "AI", *named, *sums)

    # --- one request --------------------------------------------------------------------------

    def _refused(self, asked: Invented) -> None:
        code, sentence = self.rng.choice(REFUSALS)
        model = MODELS[asked.model][1]
        error = sentence.format(model=model, tokens=asked.input_tokens + OUTPUT_CAP)
        outcome = ("blocked", code, error, None, None, None, None, 0, 1)
        self._log(asked, self._id(asked.at), model, outcome, usage=None, decision={"policies": []})

    def _admitted(self, asked: Invented, rates: Rates) -> None:
        usage = Usage(input_uncached=asked.input_tokens, output_text=asked.output_tokens)
        cost = cost_nanoeur(usage, rates)
        bound = bound_nanoeur(
            input_tokens_at_most=4 * asked.input_tokens,
            output_tokens_at_most=OUTPUT_CAP,
            rates=rates,
        )
        held = cost - cost // 10 if asked.end == "over" else bound
        status, code, state = ENDINGS[asked.end]
        charged = {"released": 0, "unknown": held}.get(state, cost)
        request_id, hold_id = self._id(asked.at), self._id(asked.at)
        ended_at = asked.at + timedelta(milliseconds=asked.latency_ms)
        known = usage if state == "settled" else None
        charge_to = self._charge_to(asked)
        self.cards[rates.card.id] = rates.card
        self.holds.append(
            _row(
                HOLD,
                id=hold_id,
                org_id=self.org_id,
                request_id=request_id,
                state=state,
                amount_nanoeur=held,
                charged_nanoeur=charged,
                held_at=asked.at,
                deadline_at=asked.at + DEADLINE,
                resolved_at=ended_at,
                instance_id=self.org_id,
                charge_to=json.dumps(charge_to),
                rate_card_id=rates.card.id,
            )
        )
        self.settled_nanoeur += min(charged, held)
        self.overrun_nanoeur += max(0, charged - held)
        for kind, nanoeur, tokens in _charges(asked.end, held, cost, known):
            of_request = (asked.at, ended_at, nanoeur, request_id, hold_id)
            self._charge(kind, of_request, charge_to, tokens, rates)
        tokens_said = (asked.input_tokens, asked.output_tokens) if known else (None, None)
        finish = "stop" if status == "ok" else None
        error = "The provider did not answer as it should" if code else None
        outcome = (status, code, error, finish, *tokens_said, held, charged, asked.latency_ms)
        decision = {"bound_nanoeur": held, "output_cap": OUTPUT_CAP, "policies": []}
        self._log(
            asked, request_id, str(charge_to["model"]), outcome, usage=known, decision=decision
        )

    def _charge(
        self,
        kind: str,
        of_request: tuple[datetime, datetime, int, UUID, UUID],
        charge_to: dict[str, str | None],
        usage: Usage | None,
        rates: Rates,
    ) -> None:
        at, ended_at, nanoeur, request_id, hold_id = of_request
        named = tuple(charge_to[name] for name in CHARGED_TO)
        counts = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
        buckets = json.dumps(usage.as_dict()) if usage else None
        recorded_at = ended_at + CORRECTED_AFTER if kind == "correction" else ended_at
        self.events.append(
            _row(
                COST_EVENT,
                id=self._id(recorded_at),
                org_id=self.org_id,
                source="AI",
                kind=kind,
                occurred_at=at,
                recorded_at=recorded_at,
                amount_nanoeur=nanoeur,
                request_id=request_id,
                hold_id=hold_id,
                **charge_to,
                input_tokens=counts[0],
                output_tokens=counts[1],
                usage=buckets,
                rate_card_id=rates.card.id,
            )
        )
        sums = self.lines.setdefault(named, [0, 0, 0, 0, 0])
        added = (nanoeur, 1, kind != "correction", counts[0] or 0, counts[1] or 0)
        sums[:] = map(sum, zip(sums, added, strict=True))

    def _log(  # noqa: PLR0913  the parts of one row
        self,
        asked: Invented,
        request_id: UUID,
        model: str,
        outcome: tuple[Any, ...],
        *,
        usage: Usage | None,
        decision: dict[str, Any],
    ) -> None:
        source = asked.source
        status, code, error, finish, tokens_in, tokens_out, held, charged, latency_ms = outcome
        provider, requested, _, _ = MODELS[asked.model]
        kept = {"buckets": usage.as_dict(), "adds_up": True} if usage else None
        self.log.append(
            _row(
                AI_REQUEST_LOG,
                id=request_id,
                org_id=self.org_id,
                occurred_at=asked.at,
                completed_at=asked.at + timedelta(milliseconds=latency_ms),
                channel="api" if source.key_id else "sdk",
                stream=False,
                requested_model=requested,
                model=model,
                provider=provider,
                status=status,
                code=code,
                error=error,
                finish_reason=finish,
                prompt_hash=self.rng.choice(self.prompt_hashes),
                input_tokens=tokens_in,
                output_tokens=tokens_out,
                hold_nanoeur=held,
                cost_nanoeur=charged,
                latency_ms=latency_ms,
                user_id=source.user_id,
                team_id=source.team_id,
                project_id=source.project_id,
                app_id=source.app_id,
                client_id=asked.client_id,
                task_type=asked.task_type,
                key_id=source.key_id,
                usage=json.dumps(kept) if kept else None,
                decision=json.dumps(decision),
            )
        )

    def _charge_to(self, asked: Invented) -> dict[str, str | None]:
        provider, requested, answered, _ = MODELS[asked.model]
        source = asked.source
        return {
            "model": answered if ENDINGS[asked.end][0] == "ok" else requested,
            "provider": provider,
            "user_id": source.user_id,
            "team_id": source.team_id,
            "project_id": source.project_id,
            "app_id": source.app_id,
            "client_id": asked.client_id,
            "task_type": asked.task_type,
            "key_id": str(source.key_id) if source.key_id else None,
        }

    def _id(self, at: datetime) -> UUID:
        """Return a UUIDv7 of that moment, as the gateway would have made it then."""
        ms = int(at.timestamp() * 1000)
        chance = self.rng.getrandbits(74)
        low = (0b10 << 62) | (chance & (1 << 62) - 1)
        return UUID(int=(ms << 80) | (0x7 << 76) | (chance >> 62) << 64 | low)


def _row(table: Table, **values: Any) -> Sequence[Any]:
    """Return a row in the order of the table's columns; what is not given is NULL."""
    return [values.get(column) for column in table.columns]


def _charges(
    end: str, held: int, cost: int, usage: Usage | None
) -> Iterable[tuple[str, int, Usage | None]]:
    """Return the events of an ending as (kind, nano-euro, usage)."""
    if end == "error":
        return ()
    if end == "unknown":
        return (("bound", held, None),)
    if end == "late":
        return (("bound", held, None), ("correction", cost - held, usage))
    return (("usage", cost, usage),)
