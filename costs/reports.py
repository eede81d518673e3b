"""What the cost pages show, read from the ledger's events and added up exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncDate

from costs.core.periods import first_instant
from costs.models import CostEvent
from orgs.models import User

# What the table shows; what is beyond is one line, so that the lines still add up to the total.
GROUPS_MAX: Final = 500
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
    DAY: "occurred_at",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostQuery:
    """Which events to add up, and by what. The days are local and both included.

    None in a filter is "whatever it is".
    """

    first_day: date
    last_day: date
    group_by: str
    source: str | None = None
    model: str | None = None
    provider: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    app_id: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Added-up events."""

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
    """One line: `value` is the dimension's (None: the requests did not say), `label` its name."""

    value: str | None
    label: str
    sums: Sums
    share_percent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """The lines of a period. With `rest`, the sums of the groups that no line shows, they add up
    to `total`."""

    groups: tuple[CostGroup, ...]
    rest: Sums | None
    rest_groups: int
    total: Sums


def explore(*, organization_id: UUID, zone: ZoneInfo, query: CostQuery) -> CostReport:
    """Return the organization's costs by one dimension, dearest first; days newest first.

    One statement, so that lines and total are of one moment. Only GROUPS_MAX lines are kept.
    """
    groups: list[CostGroup] = []
    rest, rest_groups, total = Sums(), 0, Sums()
    for row in _grouped(_events(organization_id, zone, query), zone, query.group_by):
        sums = Sums(**{f.name: int(row[f"sum_{f.name}"] or 0) for f in fields(Sums)})
        total += sums
        if len(groups) < GROUPS_MAX:
            value = None if row["value"] is None else str(row["value"])
            groups.append(CostGroup(value=value, label=value or "not said", sums=sums))
        else:
            rest, rest_groups = rest + sums, rest_groups + 1
    labels = _labels(organization_id, groups) if query.group_by == "user" else {}
    return CostReport(
        groups=tuple(_finished(group, labels, total) for group in groups),
        rest=rest if rest_groups else None,
        rest_groups=rest_groups,
        total=total,
    )


def emails(*, organization_id: UUID, user_ids: Iterable[str | None]) -> dict[str, str]:
    """Return the e-mail addresses of those ids that are members of the organization.

    A dimension may hold anything a caller wrote: an id of somebody else stays an id.
    """
    ids = {user_id for text in user_ids if (user_id := _uuid(text))}
    if not ids:
        return {}
    members = User.objects.filter(memberships__org=organization_id, id__in=ids)
    return {str(user_id): email for user_id, email in members.values_list("id", "email")}


def _events(organization_id: UUID, zone: ZoneInfo, query: CostQuery) -> QuerySet[CostEvent]:
    wanted = {
        column: value
        for column in (
            *("source", "model", "provider"),
            *("user_id", "team_id", "project_id", "app_id", "client_id"),
        )
        if (value := getattr(query, column)) is not None
    }
    return CostEvent.objects.filter(
        org=organization_id,
        occurred_at__gte=first_instant(query.first_day, zone),
        occurred_at__lt=first_instant(query.last_day + timedelta(days=1), zone),
    ).filter(**wanted)


def _grouped(
    events: QuerySet[CostEvent], zone: ZoneInfo, group_by: str
) -> Iterable[Mapping[str, Any]]:
    column = GROUP_COLUMNS[group_by]
    value = TruncDate(column, tzinfo=zone) if group_by == DAY else F(column)
    sums = (
        events.annotate(value=value)
        .values("value")
        .annotate(
            sum_amount_nanoeur=Sum("amount_nanoeur"),
            sum_events=Count("id"),
            sum_requests=Count("request_id", distinct=True),
            sum_input_tokens=Sum("input_tokens"),
            sum_output_tokens=Sum("output_tokens"),
        )
    )
    order = ("-value",) if group_by == DAY else ("-sum_amount_nanoeur", "value")
    return sums.order_by(*order).iterator()


def _labels(organization_id: UUID, groups: Iterable[CostGroup]) -> dict[str, str]:
    return emails(organization_id=organization_id, user_ids=(group.value for group in groups))


def _finished(group: CostGroup, labels: dict[str, str], total: Sums) -> CostGroup:
    return CostGroup(
        value=group.value,
        label=labels.get(group.value or "", group.label),
        sums=group.sums,
        share_percent=share_percent(group.sums.amount_nanoeur, total.amount_nanoeur),
    )


def share_percent(part: int, whole: int) -> str | None:
    """Return how much of the whole the part is, such as `12.5`, or None of nothing."""
    if whole <= 0:
        return None
    per_mille = (2 * abs(part) * 1000 + whole) // (2 * whole)
    sign = "-" if part < 0 and per_mille else ""
    return f"{sign}{per_mille // 10}.{per_mille % 10}"


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
