"""A model of the ledger in plain Python: the expected state after each step."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from costs.core.calendar.periods import day_around


@dataclass(eq=False)
class Day:
    """A period: its limit is that of its last admission."""

    starts_at: datetime
    ends_at: datetime
    limit: int | None = None
    held: int = 0
    settled: int = 0
    overrun: int = 0


@dataclass(eq=False)
class Holding:
    """A hold, and the charges that were written for it."""

    org: UUID
    day: Day
    amount: int
    deadline_at: datetime
    state: str = "held"
    charges: list[int] = field(default_factory=list)


@dataclass
class Model:
    """Days and holds by their ids."""

    days: dict[UUID, list[Day]] = field(default_factory=dict)
    holds: dict[UUID, Holding] = field(default_factory=dict)

    def day(self, org: UUID, now: datetime, zone: str) -> Day:
        days = self.days.setdefault(org, [])
        if not days or days[-1].ends_at <= now:
            starts_at, ends_at = day_around(now, ZoneInfo(zone))
            days.append(Day(max([starts_at, *(day.ends_at for day in days)]), ends_at))
        return days[-1]

    def fits(self, day: Day, amount: int, limit: int | None) -> bool:
        spent = day.settled + day.held + day.overrun
        return limit is None or amount == 0 or spent + amount <= limit

    def hold(self, id_: UUID, hold: Holding, limit: int | None) -> None:
        self.holds[id_] = hold
        hold.day.held += hold.amount
        hold.day.limit = limit if hold.amount else hold.day.limit

    def grow(self, id_: UUID, amount: int) -> int:
        """Return what is held after a growth."""
        hold = self.holds[id_]
        more = amount - hold.amount
        spent = hold.day.settled + hold.day.held + hold.day.overrun
        has_room = hold.day.limit is None or spent + more <= hold.day.limit
        if hold.state == "held" and more > 0 and has_room:
            hold.amount = amount
            hold.day.held += more
        return hold.amount

    def settle(self, id_: UUID, outcome: str, cost: int | None) -> bool:
        """Return whether the outcome changed anything."""
        hold = self.holds[id_]
        if hold.state == "held":
            hold.day.held -= hold.amount
        elif hold.state == "unknown" and outcome != "unknown":
            hold.day.settled -= hold.amount
        else:
            return False
        charged = {"settled": cost or 0, "released": 0, "unknown": hold.amount}[outcome]
        hold.day.settled += min(charged, hold.amount)
        hold.day.overrun += max(0, charged - hold.amount)
        if not (hold.state == "held" and outcome == "released"):
            hold.charges.append(charged - sum(hold.charges))
        hold.state = "settled" if hold.state == "unknown" else outcome
        return True
