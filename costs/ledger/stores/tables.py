"""The tables that the ledger writes, with the columns of the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from django.db.models import ForeignKey, Model

from costs.models import (
    CostEvent,
    DailyCost,
    Hold,
    HoldBucket,
    HoldPeriod,
    HourShare,
    MonthlyCost,
    Period,
    RateBucket,
    RateCard,
    SessionCost,
)
from orgs.models import Organization

# A row by column name, and its values in the order of some columns.
Row = Mapping[str, Any]
Values = tuple[Any, ...]

POSTGRES_TYPES: Final = {
    "BigIntegerField": "bigint",
    "BooleanField": "boolean",
    "CharField": "text",
    "DateField": "date",
    "DateTimeField": "timestamptz",
    "IntegerField": "integer",
    "JSONField": "jsonb",
    "SlugField": "text",
    "UUIDField": "uuid",
}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table that the ledger or the journal writes: its columns with their PostgreSQL types.

    With `keeps_first`, inserting an existing id does nothing; with `adds_up`, it adds to these
    columns of the existing row.
    """

    name: str
    columns: Mapping[str, str]
    keeps_first: bool = False
    adds_up: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, model: type[Model], *, keeps_first: bool = False, adds_up: tuple[str, ...] = ()
    ) -> Table:
        """Return the table of a model."""
        columns: dict[str, str] = {}
        for field in model._meta.concrete_fields:
            typed = field.target_field if isinstance(field, ForeignKey) else field
            columns[str(field.column)] = POSTGRES_TYPES[typed.get_internal_type()]
        return cls(model._meta.db_table, columns, keeps_first, adds_up)

    @property
    def on_conflict(self) -> str:
        """The clause for an existing id, the same on both databases."""
        if self.adds_up:
            sums = ", ".join(
                f"{name} = {self.name}.{name} + excluded.{name}" for name in self.adds_up
            )
            return f" ON CONFLICT (id) DO UPDATE SET {sums}"
        return " ON CONFLICT (id) DO NOTHING" if self.keeps_first else ""

    def new_values(self, rows: Sequence[Row]) -> list[Values]:
        """Return rows to insert in the order of the columns; columns that a row omits are NULL.

        Raises ValueError for a name that is not a column.
        """
        columns = self.columns
        for row in rows:
            if not row.keys() <= columns.keys():
                raise ValueError(
                    f"{self.name} has no columns {sorted(row.keys() - columns.keys())}"
                )
        return [tuple(map(row.get, columns)) for row in rows]


def changed_values(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[Values]]:
    """Return the columns that rows change, and their values in that order after the id.

    Raises ValueError where not all rows change the same columns.
    """
    names = rows[0].keys()
    if any(row.keys() != names for row in rows):
        raise ValueError("all rows of an update must have the same columns")
    columns = tuple([name for name in names if name != "id"])
    return columns, list(map(itemgetter("id", *columns), rows))


ORGANIZATION: Final = Table.of(Organization)
RATE_CARD: Final = Table.of(RateCard, keeps_first=True)
HOLD: Final = Table.of(Hold)
HOLD_PERIOD: Final = Table.of(HoldPeriod)
PERIOD: Final = Table.of(Period)
RATE_BUCKET: Final = Table.of(RateBucket)
HOLD_BUCKET: Final = Table.of(HoldBucket)
COST_EVENT: Final = Table.of(CostEvent)
HOUR_SHARE: Final = Table.of(HourShare)
SUMS: Final = (
    "amount_nanoeur",
    "estimated_nanoeur",
    "events",
    "requests",
    "input_tokens",
    "output_tokens",
)
DAILY_COST: Final = Table.of(DailyCost, adds_up=SUMS)
MONTHLY_COST: Final = Table.of(MonthlyCost, adds_up=SUMS)
SESSION_SUMS: Final = (*SUMS, "cache_read_tokens")
SESSION_COST: Final = Table.of(SessionCost, adds_up=SESSION_SUMS)
# The key columns of daily and monthly lines, and those that a call's `charge_to` names. The ids of
# lines are derived from the latter in this order (`costs/core/daily.py`): it never changes.
LINE_NAMES: Final = tuple(
    name for name in MONTHLY_COST.columns if name not in {"id", "org_id", "month", *SUMS}
)
CHARGED_TO: Final = tuple(name for name in LINE_NAMES if name != "source")
# What only the lines of sessions have besides, after those.
SESSION_NAMES: Final = ("session_id", "agent_id")
