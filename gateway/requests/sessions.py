"""One session of an agent as plain values: its requests in order, its costs by agent, its limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import F, Max, Min, Q, QuerySet, Sum

from costs.core.admission import session_scope
from costs.models import Period, SessionCost
from gateway.guards.policies import PolicyMode
from gateway.models import AiRequestLog, Policy
from gateway.requests.reports import Cursor, RequestPage

REQUESTS_PER_PAGE: Final = 100
# The last requests of a session between which the longest silence is looked for.
SILENCE_ROWS_MAX: Final = 20_000
# Agents that the page lists, those that cost most.
AGENTS_MAX: Final = 50
_SUMS: Final = (
    *("amount_nanoeur", "estimated_nanoeur", "requests"),
    *("input_tokens", "output_tokens", "cache_read_tokens"),
)
_SUMMED: Final = {f"sum_{name}": Sum(name) for name in _SUMS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSums:
    """What charged requests of a session, or of one of its agents, add up to.

    `agent_id` is None for the main agent. `cache_read_tokens` are among the input tokens.
    """

    agent_id: str | None
    amount_nanoeur: int
    estimated_nanoeur: int
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int

    @property
    def cache_read_percent(self) -> str | None:
        """The cache reads among all input tokens, or None without any."""
        if not self.input_tokens:
            return None
        return f"{100 * self.cache_read_tokens / self.input_tokens:.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """The longest time in which no request of a session ran, between two of them."""

    starts_at: datetime
    length: timedelta
    is_of_last: bool  # there are more requests than were looked at

    @property
    def words(self) -> str:
        """Its length, such as `4 min 12 s`, in the two largest units that it has."""
        minutes, seconds = divmod(round(self.length.total_seconds()), 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24)
        parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
        first = next((at for at, (number, _) in enumerate(parts) if number), len(parts) - 1)
        return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2])


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimit:
    """The tightest limit that a policy sets to a session, and what its running calls hold."""

    policy: str
    limit_nanoeur: int
    held_nanoeur: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSession:
    """A session: all its requests, also those that were not charged, and the sums of its charges.

    `agents` are those that cost most, all of them unless `has_more_agents`.
    """

    id: str
    requests: int
    first_at: datetime
    last_at: datetime
    total: SessionSums
    agents: tuple[SessionSums, ...]
    has_more_agents: bool
    silence: Silence | None
    limit: SessionLimit | None


def session(*, organization_id: UUID, session_id: str, moment: datetime) -> AgentSession | None:
    """Return a session, or None if no request names it."""
    rows = rows_of(organization_id, session_id)
    span = rows.aggregate(first=Min("occurred_at"), last=Max("occurred_at"))
    if span["first"] is None:
        return None
    count = rows.count()
    lines = SessionCost.objects.filter(org=organization_id, session_id=session_id)
    agents = _agents(lines)
    return AgentSession(
        id=session_id,
        requests=count,
        first_at=span["first"],
        last_at=span["last"],
        total=_sums(None, lines.aggregate(**_SUMMED)),
        agents=tuple(agents[:AGENTS_MAX]),
        has_more_agents=len(agents) > AGENTS_MAX,
        silence=_longest_silence(rows, is_more=count > SILENCE_ROWS_MAX),
        limit=_limit(organization_id, session_id, moment),
    )


def rows_of(organization_id: UUID, session_id: str) -> QuerySet[AiRequestLog]:
    """Return the requests of a session."""
    return AiRequestLog.objects.filter(org=organization_id, session_id=session_id)


def requests_in_order(
    *, organization_id: UUID, session_id: str, after: Cursor | None = None
) -> RequestPage:
    """Return the requests of a session, oldest first, one page of them; `before` is then the
    place after its last one.
    """
    rows = rows_of(organization_id, session_id)
    if after is not None:
        later = Q(occurred_at__gt=after.occurred_at) | Q(id__gt=after.id)
        rows = rows.filter(occurred_at__gte=after.occurred_at).filter(later)
    oldest_first = rows.order_by("occurred_at", "id").defer("decision", "usage", "attempts")
    found = list(oldest_first[: REQUESTS_PER_PAGE + 1])
    shown = found[:REQUESTS_PER_PAGE]
    last = shown[-1] if len(found) > REQUESTS_PER_PAGE else None
    return RequestPage(
        rows=shown, before=Cursor(occurred_at=last.occurred_at, id=last.id) if last else None
    )


def _agents(lines: QuerySet[SessionCost]) -> list[SessionSums]:
    """Return what each agent costs, the highest cost first, one more than the page lists."""
    sums = (
        lines.values("agent_id")
        .annotate(**_SUMMED)
        .order_by(F("sum_amount_nanoeur").desc(), "agent_id")
    )
    return [_sums(row["agent_id"], row) for row in sums[: AGENTS_MAX + 1]]


def _sums(agent_id: str | None, row: Mapping[str, Any]) -> SessionSums:
    return SessionSums(agent_id=agent_id, **{name: int(row[f"sum_{name}"] or 0) for name in _SUMS})


def _longest_silence(rows: QuerySet[AiRequestLog], *, is_more: bool) -> Silence | None:
    """Return the longest time between the end of all requests so far and the next one's start."""
    newest = rows.order_by("-occurred_at", "-id").values_list("occurred_at", "completed_at")
    longest, starts_at = timedelta(0), None
    ended_at: datetime | None = None
    for began_at, completed_at in reversed(newest[:SILENCE_ROWS_MAX]):
        if ended_at is not None and began_at - ended_at > longest:
            longest, starts_at = began_at - ended_at, ended_at
        ended_at = max(ended_at or began_at, completed_at or began_at)
    if starts_at is None:
        return None
    return Silence(starts_at=starts_at, length=longest, is_of_last=is_more)


def _limit(organization_id: UUID, session_id: str, moment: datetime) -> SessionLimit | None:
    limited = Policy.objects.filter(
        org=organization_id,
        mode=PolicyMode.ON,
        applies_to={},
        max_cost_per_session_nanoeur__isnull=False,
    )
    policy = limited.order_by("max_cost_per_session_nanoeur", "created_at", "id").first()
    if policy is None:
        return None
    periods = Period.objects.filter(
        org=organization_id,
        scope=session_scope(session_id),
        starts_at__lte=moment,
        ends_at__gt=moment,
    )
    held = periods.aggregate(held=Sum("held_nanoeur"))["held"]
    return SessionLimit(
        policy=policy.name,
        limit_nanoeur=policy.max_cost_per_session_nanoeur or 0,
        held_nanoeur=int(held or 0),
    )
