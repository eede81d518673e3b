"""What the cost pages show, read from the days' lines and added up exactly.

`costs.core.daily` says what a line is. A year of a busy organization is some hundred thousand
lines, not a million events; a filter or a grouping never looks at anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from itertools import islice
from typing import Any, Final
from uuid import UUID

from django.db.models import BigIntegerField, Case, F, IntegerField, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from costs.core.spans import Span
from costs.models import DailyCost
from costs.names import emails, key_names

# What the table shows; what is beyond is one line, so that the lines still add up to the total.
GROUPS_MAX: Final = 500
GROUPS_AT_ONCE: Final = 1000
DAY: Final = "day"
NOT_SAID: Final = "not said"
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
    DAY: "day",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostQuery:
    """Which costs to add up, by one or two dimensions, and what to compare them with.

    `wanted` maps columns to a value, or to None for "the requests did not say"; `models` are the
    names that a wanted model means.
    """

    span: Span
    group_by: tuple[str, ...]
    before: Span | None = None
    wanted: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] | None = None

    @property
    def is_by_day(self) -> bool:
        return DAY in self.group_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Added-up lines."""

    amount_nanoeur: int = 0
    events: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CostGroup:
    """One line of the table: a value for each dimension (None: the requests did not say).

    `before_nanoeur` is what it was in the span compared with; None without a comparison, and in a
    table by day, whose days are others.
    """

    values: tuple[str | None, ...]
    labels: tuple[str, ...]
    sums: Sums
    before_nanoeur: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """The lines of a span, dearest first; days newest first. With `rest`, the sums of the groups
    that no line shows, they add up to `total`."""

    groups: tuple[CostGroup, ...]
    rest: CostGroup | None
    rest_groups: int
    total: Sums
    before_nanoeur: int | None


# --- the report ---------------------------------------------------------------------------------


def explore(*, organization_id: UUID, query: CostQuery) -> CostReport:
    """Return the costs by the query's dimensions. Only GROUPS_MAX lines are kept.

    One statement, so that lines and total are of one moment; tables by day, which compare with
    other days, take a second one for those.
    """
    groups: list[CostGroup] = []
    rest, rest_before, rest_groups, total = Sums(), 0, 0, Sums()
    before = 0
    for group in _groups(organization_id, query):
        total += group.sums
        before += group.before_nanoeur or 0
        if len(groups) < GROUPS_MAX:
            groups.append(group)
        else:
            rest, rest_groups = rest + group.sums, rest_groups + 1
            rest_before += group.before_nanoeur or 0
    if query.before and query.is_by_day:
        before = _amount(organization_id, query, query.before)
    compares = query.before is not None and not query.is_by_day
    return CostReport(
        groups=tuple(named(groups, organization_id=organization_id, group_by=query.group_by)),
        rest=CostGroup(
            values=(),
            labels=(),
            sums=rest,
            before_nanoeur=rest_before if compares else None,
        )
        if rest_groups
        else None,
        rest_groups=rest_groups,
        total=total,
        before_nanoeur=before if query.before else None,
    )


def every_group(*, organization_id: UUID, query: CostQuery) -> Iterator[CostGroup]:
    """Give all lines, however many, in the page's order; GROUPS_AT_ONCE of them are in memory."""
    groups = _groups(organization_id, query)
    while some := list(islice(groups, GROUPS_AT_ONCE)):
        yield from named(some, organization_id=organization_id, group_by=query.group_by)


def totals(*, organization_id: UUID, query: CostQuery) -> tuple[Sums, int | None]:
    """Return the sums of the span, and what was charged in the span compared with."""
    row = _lines(organization_id, query, query.span).aggregate(**_sums())
    before = _amount(organization_id, query, query.before) if query.before else None
    return _added(row), before


def by_day(*, organization_id: UUID, query: CostQuery, span: Span) -> dict[date, int]:
    """Return nano-euro by day, for the query's filters and the days of `span`."""
    rows = _lines(organization_id, query, span).values("day").order_by()
    return {row["day"]: int(row["charged"]) for row in rows.annotate(charged=Sum("amount_nanoeur"))}


def dearest(
    dimension: str, *, organization_id: UUID, query: CostQuery, most: int
) -> list[CostGroup]:
    """Return the dearest groups by one dimension, for the query's filters and days."""
    alone = replace(query, group_by=(dimension,), before=None)
    found = list(islice(_groups(organization_id, alone), most))
    return list(named(found, organization_id=organization_id, group_by=(dimension,)))


def by_day_and(
    dimension: str,
    *,
    organization_id: UUID,
    query: CostQuery,
    values: Sequence[str | None],
) -> dict[tuple[date, int | None], int]:
    """Return nano-euro by day and the place of the dimension's value in `values`.

    None is the place of all other values.
    """
    column = GROUP_COLUMNS[dimension]
    said = [When(**{column: value}, then=Value(n)) for n, value in enumerate(values) if value]
    not_said = [
        When(**{f"{column}__isnull": True}, then=Value(n))
        for n, value in enumerate(values)
        if value is None
    ]
    rows = (
        _lines(organization_id, query, query.span)
        .annotate(place=Case(*said, *not_said, default=None, output_field=IntegerField()))
        .values("day", "place")
        .annotate(charged=Sum("amount_nanoeur"))
        .order_by()
    )
    return {(row["day"], row["place"]): int(row["charged"]) for row in rows}


def named(
    groups: Sequence[CostGroup], *, organization_id: UUID, group_by: Sequence[str]
) -> Iterator[CostGroup]:
    """Give the groups with the names of people and keys: one query for either."""
    names: list[Mapping[str, str]] = []
    for place, dimension in enumerate(group_by):
        ids = [group.values[place] for group in groups]
        if dimension == "user":
            names.append(emails(organization_id=organization_id, user_ids=ids))
        elif dimension == "key":
            names.append(key_names(organization_id=organization_id, key_ids=ids))
        else:
            names.append({})
    for group in groups:
        labels = (
            known.get(value or "", value or NOT_SAID)
            for value, known in zip(group.values, names, strict=True)
        )
        yield replace(group, labels=tuple(labels))


# --- lines --------------------------------------------------------------------------------------


def _groups(organization_id: UUID, query: CostQuery) -> Iterator[CostGroup]:
    """Give the groups, unnamed: dearest first, within a day where days are asked for."""
    compared = None if query.is_by_day else query.before
    columns = [GROUP_COLUMNS[dimension] for dimension in query.group_by]
    spans = [query.span, compared] if compared else [query.span]
    rows = _lines(organization_id, query, *spans).values(*columns)
    rows = rows.annotate(**_sums(_within(query.span) if compared else None))
    if compared:
        rows = rows.annotate(before=Sum("amount_nanoeur", filter=_within(compared)))
    days_first = ["-day"] if query.is_by_day else []
    others = [F(column).asc(nulls_last=True) for column in columns if column != DAY]
    for row in rows.order_by(*days_first, "-sum_amount_nanoeur", *others).iterator():
        values = tuple(None if row[name] is None else str(row[name]) for name in columns)
        yield CostGroup(
            values=values,
            labels=values,  # type: ignore[arg-type]  # `named` fills in what is not said
            sums=_added(row),
            before_nanoeur=int(row["before"] or 0) if compared else None,
        )


def _lines(organization_id: UUID, query: CostQuery, *spans: Span) -> QuerySet[DailyCost]:
    days = Q()
    for span in spans:
        days |= _within(span)
    lines = DailyCost.objects.filter(days, org=organization_id)
    if query.models is not None:
        lines = lines.filter(model__in=query.models)
    for column, value in query.wanted.items():
        condition = {f"{column}__isnull": True} if value is None else {column: value}
        lines = lines.filter(**condition)
    return lines


def _within(span: Span) -> Q:
    return Q(day__gte=span.first, day__lte=span.last)


def _sums(only: Q | None = None) -> dict[str, Any]:
    """Return the sums of the lines, of those alone that are `only` where it is given."""
    return {
        f"sum_{f.name}": Coalesce(
            Sum(f.name, filter=only), Value(0), output_field=BigIntegerField()
        )
        for f in fields(Sums)
    }


def _added(row: Mapping[str, Any]) -> Sums:
    return Sums(**{f.name: int(row[f"sum_{f.name}"] or 0) for f in fields(Sums)})


def _amount(organization_id: UUID, query: CostQuery, span: Span) -> int:
    row = _lines(organization_id, query, span).aggregate(charged=Sum("amount_nanoeur"))
    return int(row["charged"] or 0)
