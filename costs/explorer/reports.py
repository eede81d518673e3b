"""Reports of the cost pages: exact sums of daily and monthly lines, with names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from typing import Final, NamedTuple
from uuid import UUID

from costs.core.calendar.date_ranges import DateRange
from costs.core.cost_query import CostQuery
from costs.explorer import lines
from costs.explorer.lines import Row
from costs.explorer.names import DimensionNames
from costs.explorer.parts import SUMS

# Lines shown by the table; the others are one line, so that the lines still add up to the total.
GROUPS_MAX: Final = 100
GROUPS_AT_ONCE: Final = 1000
NO_VALUE: Final = "(none)"


class Sums(NamedTuple):
    """Sums of lines, in the order of SUMS. The amount includes what is estimated."""

    amount_nanoeur: int = 0
    estimated_nanoeur: int = 0
    events: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CostGroup:
    """One line of the table: a value for each dimension (None: absent from the requests).

    `before_nanoeur` is the amount in the previous date range; None without a comparison, and in a
    table by day, whose days differ.
    """

    values: tuple[str | None, ...]
    labels: tuple[str, ...]
    sums: Sums
    before_nanoeur: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """The lines of a date range, highest cost first; days newest first. With `rest`, the sums of
    the groups that are not shown, they add up to `total`. A table by day does not count those.

    `top` are the values of the requested dimension with the highest costs.
    """

    groups: tuple[CostGroup, ...]
    rest: CostGroup | None
    rest_groups: int | None
    total: Sums
    before_nanoeur: int | None
    top: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacks:
    """Labels of some values of a dimension, and nano-euro by day and index among them; the index
    None stands for all others."""

    labels: tuple[str, ...]
    amounts: Mapping[tuple[date, int | None], int]


# --- the report ---------------------------------------------------------------------------------


def explore(
    *, query: CostQuery, names: DimensionNames, dimension: str | None = None, top: int = 0
) -> CostReport:
    """Return the costs by the query's dimensions, of the names' organization.

    Only GROUPS_MAX lines are kept, and the `top` values of one of the dimensions. Lines and total
    are from one statement, and so of one moment.
    """
    found = lines.table(names.organization_id, query, most=GROUPS_MAX, dimension=dimension, top=top)
    groups = [_group(row, len(query.group_by)) for row in found.lines]
    *sums, all_before = found.total
    total, before = _sums(sums), int(all_before or 0)
    of_each = zip(total, *(group.sums for group in groups), strict=True)
    left = Sums._make(whole - sum(parts) for whole, *parts in of_each)
    shown_before = sum(group.before_nanoeur or 0 for group in groups)
    rest = CostGroup(
        values=(),
        labels=(),
        sums=left,
        before_nanoeur=before - shown_before if query.compares_groups else None,
    )
    rest_groups = None if found.groups is None else found.groups - len(groups)
    is_more = rest.sums.events > 0 if rest_groups is None else rest_groups > 0
    return CostReport(
        groups=tuple(_named(groups, query, names)),
        rest=rest if is_more else None,
        rest_groups=rest_groups,
        total=total,
        before_nanoeur=before if query.before else None,
        top=tuple(_value(value) for value in found.top),
    )


def every_group(*, organization_id: UUID, query: CostQuery) -> Iterator[CostGroup]:
    """Yield all lines in the page's order, with GROUPS_AT_ONCE of them in memory."""
    rows, names = lines.grouped(organization_id, query), DimensionNames(organization_id)
    while some := [_group(row, len(query.group_by)) for row in islice(rows, GROUPS_AT_ONCE)]:
        yield from _named(some, query, names)


def totals(*, organization_id: UUID, query: CostQuery) -> tuple[Sums, int | None]:
    """Return the sums of the date range, and the amount of the previous one."""
    *sums, before = lines.totals(organization_id, query)
    return _sums(sums), int(before or 0) if query.before else None


def by_day(
    *, organization_id: UUID, query: CostQuery, date_range: DateRange, by_month: bool = False
) -> dict[date, int]:
    """Return nano-euro by day, for the query's filters and the days of `date_range`.

    With `by_month`, the amounts of a month may be at its first day in the date range.
    """
    found: dict[date, int] = {}
    for day, nanoeur in lines.dated(organization_id, query, date_range, by_month=by_month):
        key = _date_in(date_range, day)
        found[key] = found.get(key, 0) + int(nanoeur)
    return found


def stacks(
    dimension: str,
    values: Sequence[str | None],
    *,
    query: CostQuery,
    names: DimensionNames,
    by_month: bool = False,
) -> Stacks:
    """Return what these values of a dimension cost by day, and all others; `by_month` as in
    `by_day`."""
    amounts: dict[tuple[date, int | None], int] = {}
    rows = lines.dated(
        names.organization_id,
        query,
        query.date_range,
        by_month=by_month,
        dimension=dimension,
        values=values,
    )
    for day, *parts, total in rows:
        key = _date_in(query.date_range, day)
        shown: dict[int | None, int] = {
            place: int(part) for place, part in enumerate(parts) if part is not None
        }
        if others := int(total) - sum(shown.values()):
            shown[None] = others
        for place, nanoeur in shown.items():
            amounts[key, place] = amounts.get((key, place), 0) + nanoeur
    known = names.of(dimension, values)
    return Stacks(labels=tuple(_label(value, known) for value in values), amounts=amounts)


def _named(
    groups: Sequence[CostGroup], query: CostQuery, names: DimensionNames
) -> Iterator[CostGroup]:
    known = [
        names.of(dimension, (group.values[place] for group in groups))
        for place, dimension in enumerate(query.group_by)
    ]
    for group in groups:
        labels = (_label(value, some) for value, some in zip(group.values, known, strict=True))
        yield replace(group, labels=tuple(labels))


def _label(value: str | None, names: Mapping[str, str]) -> str:
    return names.get(value, value) if value else NO_VALUE


def _group(row: Row, width: int) -> CostGroup:
    values = tuple(_value(value) for value in row[:width])
    end = width + len(SUMS)
    before = row[end]
    return CostGroup(
        values=values,
        labels=tuple(value or NO_VALUE for value in values),
        sums=_sums(row[width:end]),
        before_nanoeur=None if before is None else int(before),
    )


def _value(value: object) -> str | None:
    return None if value is None else f"{value}"


def _sums(row: Sequence[int | None]) -> Sums:
    return Sums._make(int(value or 0) for value in row)


def _date_in(date_range: DateRange, day: date | str) -> date:
    """Return the date of a row; for a month that begins before the date range, its first day."""
    return max(date.fromisoformat(f"{day}"), date_range.first)
