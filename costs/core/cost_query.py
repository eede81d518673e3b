"""Queries of the cost explorer: filters, date range, grouping and comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from costs.core.calendar.date_ranges import DateRange

DAY: Final = "day"
# The dimensions that costs can be grouped by, and their columns.
GROUP_COLUMNS: Final = {
    "model": "model",
    "provider": "provider",
    "team": "team_id",
    "project": "project_id",
    "app": "app_id",
    "client": "client_id",
    "user": "user_id",
    "task": "task_type",
    "key": "key_id",
    "session": "session_id",
    "agent": "agent_id",
    DAY: "day",
}
SESSION_COLUMNS: Final = ("session_id", "agent_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostQuery:
    """Which costs to sum, by one or two dimensions (the day first), and what to compare them with.

    `wanted` maps columns to a value, to several of which each matches, or to None for requests
    without one; `models` are the names that match the model filter. `merged` has, by the columns
    that it groups by, the spellings that are shown as another one. `today` only tells which days
    have no lines yet.
    """

    date_range: DateRange
    group_by: tuple[str, ...]
    before: DateRange | None = None
    wanted: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] | None = None
    merged: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    today: date = date.max

    def __post_init__(self) -> None:
        if DAY in self.group_by[1:]:
            raise ValueError("group_by must name the day first")

    @property
    def is_filtered(self) -> bool:
        return bool(self.wanted) or self.models is not None

    @property
    def is_of_sessions(self) -> bool:
        """Whether it groups or filters by what only the lines of sessions have."""
        columns = {GROUP_COLUMNS[dimension] for dimension in self.group_by} | self.wanted.keys()
        return not columns.isdisjoint(SESSION_COLUMNS)

    @property
    def is_by_day(self) -> bool:
        return DAY in self.group_by

    @property
    def compares_groups(self) -> bool:
        """Whether each group has a previous one; the days of two date ranges differ."""
        return self.before is not None and not self.is_by_day
