"""The audit log as plain values: pages of requests, and one request with its ledger rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from costs.core.calendar.date_ranges import DateRange
from costs.core.calendar.moments import EARLIEST, LATEST
from costs.core.hours import hour_of
from costs.explorer.names import emails, values_named
from costs.explorer.spellings import spellings_in
from costs.models import CostEvent, Hold, HourCost, HourShare
from gateway.models import AiRequestLog, Budget
from gateway.policies.reports import watched_rows
from orgs.models import ApiKey

REQUESTS_PER_PAGE: Final = 50
# What is answered has no code, nor what runs.
HAVE_A_CODE: Final = ("blocked", "error", "unknown")
# Rows get their time before they are committed, and processes commit in any order: who follows
# the list looks back this far and knows by id what is new.
LOOKS_BACK: Final = timedelta(seconds=5)
# Where requests with the same prompt are looked for around a request; there is no index by prompt.
SAME_PROMPT_WITHIN: Final = timedelta(days=1)
SAME_PROMPT_ROWS_MAX: Final = 20_000
SAME_PROMPT_SHOWN: Final = 5
# Newest rows whose spellings of a name a filter knows, besides those of charges.
SPELLINGS_ROWS_MAX: Final = 5_000
# Queries of one page.
QUERIES_MAX: Final = 24
_DAY: Final = timedelta(days=1)


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
    """Filters of the list of requests; None matches any. `model` is as requested or as called.

    `named` are the values of dimensions, by column, of which each matches (see `with_names`).
    `estimated` are those with a cost that is an estimate, `watched` those that a watched policy
    would have refused.
    """

    since: datetime | None = None
    until: datetime | None = None
    before: Cursor | None = None
    after: Cursor | None = None
    request_id: UUID | None = None
    status: str | None = None
    code: str | None = None
    model: str | None = None
    provider: str | None = None
    key_id: UUID | None = None
    session_id: str | None = None
    agent_id: str | None = None
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    estimated: bool = False
    watched: bool = False


_EQUALS: Final = ("status", "code", "provider", "key_id", "session_id", "agent_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPage:
    """Some requests, newest first; `before` continues the list."""

    rows: list[AiRequestLog]
    before: Cursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerNames:
    """What ids of people and keys are called in the organization."""

    people: dict[str, str]
    keys: dict[UUID, str]


@dataclass(frozen=True, slots=True)
class RequestHour:
    """The hour of a call that is priced by the hour: None until it is counted.

    A call whose usage was not known by then has no share.
    """

    counted: HourCost | None
    has_share: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStory:
    """A request with everything that the ledger has of it, oldest first.

    `budget_ids` are those of its trace's budgets that are still there.
    """

    row: AiRequestLog
    holds: list[Hold]
    events: list[CostEvent]
    same_prompt: list[AiRequestLog]
    names: CallerNames
    budget_ids: frozenset[str] = frozenset()
    hour: RequestHour | None = None


def requests(
    *, organization_id: UUID, query: RequestQuery, limit: int = REQUESTS_PER_PAGE
) -> RequestPage:
    """Return the requests that match, newest first, one page of them, without their traces."""
    wanted = {column: value for column in _EQUALS if (value := getattr(query, column)) is not None}
    rows = rows_of(organization_id, estimated=query.estimated, watched=query.watched)
    rows = _between(rows, query).filter(**wanted)
    if query.request_id is not None:
        rows = rows.filter(id=query.request_id)
    # Several questions: of one with OR or IN, SQLite would look at every row or sort them.
    several = [rows]
    if query.code is not None and query.status is None:  # statuses have an index, codes have none
        several = [rows.filter(status=status) for status in HAVE_A_CODE]
    if query.model is not None:
        named = (Q(model=query.model), Q(requested_model=query.model))
        several = [some.filter(name) for some in several for name in named]
    for column, values in query.named.items():
        if len(several) * len(values) > QUERIES_MAX:
            several = [some.filter(**{f"{column}__in": values}) for some in several]
        else:
            several = [some.filter(**{column: value}) for some in several for value in values]
    once = {row.id: row for some in several for row in _newest(some, limit + 1)}.values()
    found = sorted(once, key=lambda row: (row.occurred_at, row.id), reverse=True)[: limit + 1]
    last = found[limit - 1] if len(found) > limit else None
    return RequestPage(
        rows=found[:limit],
        before=Cursor(occurred_at=last.occurred_at, id=last.id) if last else None,
    )


def rows_of(
    organization_id: UUID, *, estimated: bool = False, watched: bool = False
) -> QuerySet[AiRequestLog]:
    """Return the requests of an organization, or only those whose cost is an estimate, or that a
    watched policy would have refused.

    Those are few, and have indexes. For SQLite to use one with any other filter, it alone has
    this expression of the organization.
    """
    if watched:
        rows = watched_rows(organization_id)
    elif estimated:
        rows = AiRequestLog.objects.alias(its_org=Coalesce("org_id", "org_id"))
        rows = rows.filter(its_org=organization_id)
    else:
        rows = AiRequestLog.objects.filter(org=organization_id)
    return rows.filter(estimated_nanoeur__gt=0) if estimated else rows


def with_names(
    query: RequestQuery, names: Mapping[str, str], *, organization_id: UUID
) -> RequestQuery:
    """Return the query with the values of dimensions that names match, by column.

    Spellings are looked for among the charges of the query's dates and its newest rows; of what
    has come since `after`, among its rows alone. Raises Invalid for an email address that no
    user has.
    """
    newest = _between(rows_of(organization_id), query).order_by("-occurred_at", "-id")
    named: dict[str, tuple[str, ...]] = {}
    for column, name in names.items():
        recent = spellings_in(newest[:SPELLINGS_ROWS_MAX], column, name)
        named[column] = values_named(
            name,
            column=column,
            organization_id=organization_id,
            date_range=None if query.after else _days(query),
            recent=(*recent, name) if query.after else recent,
        )
    return replace(query, named=named)


def _days(query: RequestQuery) -> DateRange:
    """Return the days of a query in any time zone."""
    ends = [moment for moment in (query.until, query.before and query.before.occurred_at) if moment]
    first = _within_calendar(query.since.date()) if query.since else EARLIEST
    last = _within_calendar(min(ends).date()) if ends else LATEST
    return DateRange(first - _DAY, last + _DAY)


def _within_calendar(day: date) -> date:
    return max(EARLIEST, min(day, LATEST))


def _newest(rows: QuerySet[AiRequestLog], most: int) -> list[AiRequestLog]:
    newest_first = rows.order_by("-occurred_at", "-id")
    return list(newest_first.defer("decision", "usage", "attempts")[:most])


def _between(rows: QuerySet[AiRequestLog], query: RequestQuery) -> QuerySet[AiRequestLog]:
    if query.since is not None:
        rows = rows.filter(occurred_at__gte=query.since)
    if query.until is not None:
        rows = rows.filter(occurred_at__lt=query.until)
    if query.after is not None:
        rows = rows.filter(occurred_at__gt=query.after.occurred_at - LOOKS_BACK)
    return rows if query.before is None else rows_before(query.before, rows)


def rows_before(cursor: Cursor, rows: QuerySet[AiRequestLog]) -> QuerySet[AiRequestLog]:
    """Return the rows that come after the cursor in a list that has the newest first."""
    moment, row_id = cursor.occurred_at, cursor.id
    # The first condition says nothing new; it is the one that the index can begin with.
    return rows.filter(occurred_at__lte=moment).filter(Q(occurred_at__lt=moment) | Q(id__lt=row_id))


def ended(*, organization_id: UUID, request_ids: Collection[UUID]) -> list[AiRequestLog]:
    """Return those of the requests that are no longer pending."""
    if not request_ids:
        return []
    rows = AiRequestLog.objects.filter(org=organization_id, id__in=request_ids)
    return list(rows.exclude(status=AiRequestLog.Status.PENDING).defer("decision", "usage"))


def same_prompt(row: AiRequestLog) -> list[AiRequestLog]:
    """Return the newest requests with the row's prompt, of the day before it and the day after."""
    around = AiRequestLog.objects.filter(
        org=row.org_id,
        occurred_at__gte=row.occurred_at - SAME_PROMPT_WITHIN,
        occurred_at__lte=row.occurred_at + SAME_PROMPT_WITHIN,
    ).order_by("-occurred_at", "-id")
    rows = AiRequestLog.objects.filter(
        id__in=around.values("id")[:SAME_PROMPT_ROWS_MAX], prompt_hash=row.prompt_hash
    ).exclude(id=row.pk)
    return list(rows.order_by("-occurred_at", "-id").defer("decision", "usage")[:SAME_PROMPT_SHOWN])


def names_in(rows: Collection[AiRequestLog], *, organization_id: UUID) -> CallerNames:
    """Return the names of the members and keys that the rows mention: two queries."""
    keys = ApiKey.objects.filter(org=organization_id, id__in=_known(row.key_id for row in rows))
    return CallerNames(
        people=emails(organization_id=organization_id, user_ids=(row.user_id for row in rows)),
        keys=dict(keys.values_list("id", "name")),
    )


def story(row: AiRequestLog) -> RequestStory:
    """Return a request with its holds, its events and its likes."""
    of_request = Hold.objects.filter(org=row.org_id, request_id=row.id)
    holds = list(of_request.select_related("rate_card").order_by("id"))
    of_holds = CostEvent.objects.filter(
        org=row.org_id, hold_id__in=[hold.id for hold in holds], request_id=row.id
    )
    events = list(of_holds.select_related("rate_card").order_by("recorded_at", "id"))
    return RequestStory(
        row=row,
        holds=holds,
        events=events,
        hour=_hour_of(events),
        same_prompt=same_prompt(row),
        names=names_in([row], organization_id=row.org_id),
        budget_ids=_budgets_of(row),
    )


def _hour_of(events: Iterable[CostEvent]) -> RequestHour | None:
    """Return the hour of the last charge by the rates of a price by the hour, or None."""
    charged = [event for event in events if event.rate_card.rates.get("by_hour")]
    if not charged:
        return None
    event = charged[-1]
    counted = HourCost.objects.filter(
        provider=event.provider,
        model=event.rate_card.rates["by_hour"]["model"],
        starts_at=hour_of(event.occurred_at),
    ).first()
    return RequestHour(counted, HourShare.objects.filter(id=event.hold_id).exists())


def _budgets_of(row: AiRequestLog) -> frozenset[str]:
    trace = row.decision if isinstance(row.decision, dict) else {}
    if not trace.get("budgets"):
        return frozenset()
    ids = Budget.objects.filter(org=row.org_id).values_list("id", flat=True)
    return frozenset(map(str, ids))


def _known(ids: Iterable[UUID | None]) -> set[UUID]:
    return {row_id for row_id in ids if row_id is not None}
