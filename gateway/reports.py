"""What the console shows of requests and of today's money, as plain values."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet

from costs.models import CostEvent, Hold, Period
from costs.names import emails
from gateway.models import AiRequestLog, ModelAlias, Policy
from orgs.models import ApiKey

REQUESTS_PER_PAGE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in the list of requests, newest first: right after this row."""

    occurred_at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{self.occurred_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}_{self.id}"

    @classmethod
    def from_text(cls, text: str) -> Cursor:
        """Return the cursor that `str` wrote; raises ValueError for anything else."""
        moment, _, row_id = text.partition("_")
        occurred_at = datetime.strptime(moment, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
        return cls(occurred_at=occurred_at, id=UUID(row_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestQuery:
    """Which requests to list; None is "whatever it is". `model` is as asked for or as called."""

    since: datetime | None = None
    until: datetime | None = None
    before: Cursor | None = None
    request_id: UUID | None = None
    status: str | None = None
    model: str | None = None
    provider: str | None = None
    key_id: UUID | None = None
    user_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    app_id: str | None = None
    client_id: str | None = None
    task_type: str | None = None


_EQUALS: Final = (
    *("status", "provider", "key_id", "task_type"),
    *("user_id", "team_id", "project_id", "app_id", "client_id"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPage:
    """Some requests, newest first; `before` continues the list."""

    rows: list[AiRequestLog]
    before: Cursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What ids of people and keys are called in the organization."""

    people: dict[str, str]
    keys: dict[UUID, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendToday:
    """The organization's day: `charged` is what its events add up to, `left` is never negative.

    `limit_nanoeur` is the tightest daily limit of the enabled policies, None without one.
    """

    policy_name: str | None
    limit_nanoeur: int | None
    charged_nanoeur: int
    held_nanoeur: int
    left_nanoeur: int | None
    overrun_nanoeur: int
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStory:
    """A request with everything that the ledger has of it, oldest first."""

    row: AiRequestLog
    holds: list[Hold]
    events: list[CostEvent]
    names: Names


def requests(
    *, organization_id: UUID, query: RequestQuery, limit: int = REQUESTS_PER_PAGE
) -> RequestPage:
    """Return the requests that match, newest first, one page of them, without their traces."""
    wanted = {column: value for column in _EQUALS if (value := getattr(query, column)) is not None}
    rows = _between(AiRequestLog.objects.filter(org=organization_id), query).filter(**wanted)
    if query.request_id is not None:
        rows = rows.filter(id=query.request_id)
    if query.model is not None:
        rows = rows.filter(Q(model=query.model) | Q(requested_model=query.model))
    newest_first = rows.order_by("-occurred_at", "-id").defer("decision", "usage", "attempts")
    found = list(newest_first[: limit + 1])
    last = found[limit - 1] if len(found) > limit else None
    return RequestPage(
        rows=found[:limit],
        before=Cursor(occurred_at=last.occurred_at, id=last.id) if last else None,
    )


def _between(rows: QuerySet[AiRequestLog], query: RequestQuery) -> QuerySet[AiRequestLog]:
    if query.since is not None:
        rows = rows.filter(occurred_at__gte=query.since)
    if query.until is not None:
        rows = rows.filter(occurred_at__lt=query.until)
    return rows if query.before is None else rows_before(query.before, rows)


def rows_before(cursor: Cursor, rows: QuerySet[AiRequestLog]) -> QuerySet[AiRequestLog]:
    """Return the rows that come after the cursor in a list that has the newest first."""
    moment, row_id = cursor.occurred_at, cursor.id
    # The first condition says nothing new; it is the one that the index can begin with.
    return rows.filter(occurred_at__lte=moment).filter(Q(occurred_at__lt=moment) | Q(id__lt=row_id))


def names_in(rows: Collection[AiRequestLog], *, organization_id: UUID) -> Names:
    """Return the names of the members and keys that the rows mention: two queries."""
    keys = ApiKey.objects.filter(org=organization_id, id__in=_said(row.key_id for row in rows))
    return Names(
        people=emails(organization_id=organization_id, user_ids=(row.user_id for row in rows)),
        keys=dict(keys.values_list("id", "name")),
    )


def spend_today(*, organization_id: UUID, moment: datetime) -> SpendToday:
    """Return what the organization's day has cost so far, against its tightest limit."""
    policy = (
        Policy.objects.filter(
            org=organization_id, enabled=True, max_cost_per_day_nanoeur__isnull=False
        )
        .order_by("max_cost_per_day_nanoeur", "created_at")
        .first()
    )
    limit = policy.max_cost_per_day_nanoeur if policy else None
    period = (
        Period.objects.filter(
            org=organization_id, scope="org", starts_at__lte=moment, ends_at__gt=moment
        )
        .order_by("-starts_at")
        .first()
    )
    overrun = period.overrun_nanoeur if period else 0
    charged = period.settled_nanoeur + overrun if period else 0
    held = period.held_nanoeur if period else 0
    return SpendToday(
        policy_name=policy.name if policy else None,
        limit_nanoeur=limit,
        charged_nanoeur=charged,
        held_nanoeur=held,
        left_nanoeur=None if limit is None else max(0, limit - charged - held),
        overrun_nanoeur=overrun,
        ends_at=period.ends_at if period else None,
    )


def story(row: AiRequestLog) -> RequestStory:
    """Return a request with its holds and events."""
    of_request = Hold.objects.filter(org=row.org_id, request_id=row.id)
    holds = list(of_request.select_related("rate_card").order_by("id"))
    events = CostEvent.objects.filter(
        org=row.org_id, hold_id__in=[hold.id for hold in holds], request_id=row.id
    )
    return RequestStory(
        row=row,
        holds=holds,
        events=list(events.order_by("recorded_at", "id")),
        names=names_in([row], organization_id=row.org_id),
    )


def policies(*, organization_id: UUID) -> list[Policy]:
    """Return the organization's policies in the order in which they are judged."""
    return list(Policy.objects.filter(org=organization_id))


def aliases(*, organization_id: UUID) -> list[ModelAlias]:
    """Return the organization's aliases, oldest first."""
    return list(ModelAlias.objects.filter(org=organization_id))


def alias_names(*, organization_id: UUID, but: UUID | None = None) -> list[str]:
    """Return what the organization's aliases are called, without the alias `but`."""
    rows = ModelAlias.objects.filter(org=organization_id).values_list("id", "name")
    return [name for alias_id, name in rows if alias_id != but]


def _said(ids: Iterable[UUID | None]) -> set[UUID]:
    return {row_id for row_id in ids if row_id is not None}
