"""The rows that a settlement writes besides the hold: its cost event, daily and monthly lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from operator import add, itemgetter
from typing import Any, Final
from uuid import UUID

import orjson

from costs.core.admission import Settlement
from costs.core.daily import line_id
from costs.core.holds import EventKind, HoldCharge, Move, adjust, known, move
from costs.core.usage import Usage
from costs.ledger.stores.base import HoldRow, PeriodRow
from costs.ledger.stores.tables import CHARGED_TO, SESSION_NAMES, SESSION_SUMS, SUMS, Row

SOURCE: Final = "AI"
NOTHING: Final = (0,) * len(SUMS)
NOTHING_OF_SESSION: Final = (0,) * len(SESSION_SUMS)
CACHE_READS: Final = "cache_read"

ChargedTo = tuple[str | None, ...]
# The session and the agent of a charge.
OfSession = tuple[str | None, str | None]
Sums = tuple[int, ...]


def charged_to(charge_to: Mapping[str, Any]) -> ChargedTo:
    """Return the attributes of a charge, in the order of CHARGED_TO; absent ones are None."""
    return tuple([charge_to.get(name) for name in CHARGED_TO])


def session_of(charge_to: Mapping[str, Any]) -> OfSession | None:
    """Return the session and the agent of a charge, or None without a session."""
    session_id = charge_to.get("session_id")
    return None if session_id is None else (session_id, charge_to.get("agent_id"))


def step_of(hold: HoldRow, settlement: Settlement, *, was_adjusted: bool) -> Move | None:
    """Return what a settlement does to a locked hold; None for nothing."""
    charge = HoldCharge(hold.state, hold.amount_nanoeur, hold.charged_nanoeur)
    if not settlement.adjusts:
        return move(
            charge,
            outcome=settlement.outcome,
            cost_nanoeur=settlement.cost_nanoeur,
            is_estimate=settlement.is_estimate,
        )
    if was_adjusted:
        return None
    return adjust(charge, cost_nanoeur=known(settlement.cost_nanoeur))


def event_row(
    event_id: UUID, step: Move, settlement: Settlement, *, held_at: datetime, now: datetime
) -> Row:
    """Return the cost event of a hold's transition at `now`."""
    usage = settlement.usage
    return {
        "id": event_id,
        "org_id": settlement.org_id,
        "source": SOURCE,
        "kind": step.event_kind and step.event_kind.value,
        "occurred_at": held_at,
        "recorded_at": now,
        "amount_nanoeur": step.event_nanoeur,
        "estimated_nanoeur": step.estimated_change,
        "request_id": settlement.request_id,
        "hold_id": settlement.hold_id,
        **_columns(charged_to(settlement.charge_to)),
        **{name: settlement.charge_to.get(name) for name in SESSION_NAMES},
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "usage": orjson.dumps(usage.as_dict()).decode() if usage else None,
        "rate_card_id": settlement.rates.id,
    }


def sums_of(step: Move, usage: Usage | None) -> Sums:
    """Return what an event adds to its line, in the order of SUMS.

    A request is counted by its first event.
    """
    return (
        step.event_nanoeur or 0,
        step.estimated_change,
        1,
        int(step.event_kind not in (EventKind.CORRECTION, EventKind.ADJUSTMENT)),
        usage.input_tokens if usage else 0,
        usage.output_tokens if usage else 0,
    )


def session_sums(sums: Sums, usage: Usage | None) -> Sums:
    """Return what an event adds to its session's line, in the order of SESSION_SUMS."""
    return (*sums, usage.tokens_of(CACHE_READS) if usage else 0)


def added(sums: Iterable[int], more: Iterable[int]) -> Sums:
    """Return the sums of a line after an event."""
    return tuple(map(add, sums, more))


def day_rows(
    daily: Mapping[tuple[UUID, ChargedTo], Sums], periods: Mapping[UUID, PeriodRow]
) -> list[Row]:
    """Return what charges add to the daily lines.

    Their periods' rows are locked, so no other transaction adds to a line concurrently.
    """
    return [
        day_row(period_id, periods[period_id].org_id, periods[period_id].starts_on, named, sums)
        for (period_id, named), sums in daily.items()
    ]


def session_rows(
    sessions: Mapping[tuple[UUID, ChargedTo, OfSession], Sums], periods: Mapping[UUID, PeriodRow]
) -> list[Row]:
    """Return what charges add to the lines of sessions, under the lock of their day."""
    return [
        session_row(
            period_id, periods[period_id].org_id, periods[period_id].starts_on, named, of, sums
        )
        for (period_id, named, of), sums in sessions.items()
    ]


def month_rows(
    daily: Mapping[tuple[UUID, ChargedTo], Sums], periods: Mapping[UUID, PeriodRow]
) -> list[Row]:
    """Return what charges add to the monthly lines, in the order of their ids.

    Batches that settle different days of a month lock the same lines, always in that order.
    """
    months: dict[tuple[UUID, date, ChargedTo], Sums] = {}
    for (period_id, named), sums in daily.items():
        period = periods[period_id]
        line = (period.org_id, period.starts_on.replace(day=1), named)
        months[line] = added(months.get(line, NOTHING), sums)
    return sorted([month_row(*line, sums) for line, sums in months.items()], key=itemgetter("id"))


def day_row(period_id: UUID, org_id: UUID, day: date, named: ChargedTo, sums: Sums) -> Row:
    """Return a daily line; its id is derived from the day's period."""
    of_day = {"org_id": org_id, "period_id": period_id, "day": day}
    return {"id": line_id(period_id, (SOURCE, *named)), **of_day, **_line(named, sums)}


def session_row(  # noqa: PLR0913  in the order of the row
    period_id: UUID, org_id: UUID, day: date, named: ChargedTo, of: OfSession, sums: Sums
) -> Row:
    """Return a session's daily line; its id is derived from the day's period."""
    return {
        "id": line_id(period_id, (SOURCE, *named, *of)),
        "org_id": org_id,
        "period_id": period_id,
        "day": day,
        "source": SOURCE,
        **_columns(named),
        **dict(zip(SESSION_NAMES, of, strict=True)),
        **dict(zip(SESSION_SUMS, sums, strict=True)),
    }


def month_row(org_id: UUID, month: date, named: ChargedTo, sums: Sums) -> Row:
    """Return a monthly line; the month is its first day."""
    id_ = line_id(f"{org_id} {month}", (SOURCE, *named))
    return {"id": id_, "org_id": org_id, "month": month, **_line(named, sums)}


def _line(named: ChargedTo, sums: Sums) -> Row:
    return {"source": SOURCE, **_columns(named), **dict(zip(SUMS, sums, strict=True))}


def _columns(named: ChargedTo) -> Row:
    return dict(zip(CHARGED_TO, named, strict=True))
