"""Requests as lines of a list, of the page and of the API, in plain values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from costs.core.money import euros
from gateway.core.request_body import NAME_IN_JSON, SESSION_IN_JSON
from gateway.models import AiRequestLog
from gateway.requests import reports, timeline
from gateway.requests.reports import CallerNames


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLine:
    """A request as the list shows it. `place` orders lines: later requests have greater ones."""

    row: AiRequestLog
    place: str
    status: timeline.Status
    tokens: int | None
    who: str | None
    where: tuple[str, ...]


def request_lines(rows: Collection[AiRequestLog], *, organization_id: UUID) -> list[RequestLine]:
    """Return the rows as lines, with the names of people and keys: two queries."""
    names = reports.names_in(rows, organization_id=organization_id)
    return [_line(row, names) for row in rows]


def who_sent(row: AiRequestLog, names: CallerNames) -> str | None:
    """Return the person's email address, else the id as it was sent.

    A user that nothing proved is marked: the caller only claimed to be that person.
    """
    if not row.user_id:
        return None
    name = names.people.get(row.user_id, row.user_id)
    return f"{name} (unproved)" if row.user_proved is False else name


def dimensions_of(row: AiRequestLog) -> list[tuple[str, str]]:
    """Return the request's dimensions, except the user, and the subagent that made it.

    A client that the caller only named is marked.
    """
    is_unproved = row.client_id is not None and row.client_proved is False
    dimensions = (
        ("team", row.team_id),
        ("project", row.project_id),
        ("app", row.app_id),
        ("client", f"{row.client_id} (unproved)" if is_unproved else row.client_id),
        ("task", row.task_type),
        ("agent", row.agent_id),
    )
    return [(name, value) for name, value in dimensions if value]


def request_as_json(row: AiRequestLog) -> dict[str, Any]:
    """Return a request as the API lists it."""
    return {
        "requestId": str(row.id),
        "occurredAt": row.occurred_at.isoformat(),
        "completedAt": row.completed_at.isoformat() if row.completed_at else None,
        "status": row.status,
        "code": row.code,
        "error": row.error,
        "channel": row.channel,
        "stream": row.stream,
        "requestedModel": row.requested_model,
        "model": row.model,
        "provider": row.provider,
        "inputTokens": row.input_tokens,
        "outputTokens": row.output_tokens,
        "costEur": as_eur(row.cost_nanoeur),
        "estimatedEur": as_eur(estimated_of(row)),
        "latencyMs": row.latency_ms,
        "keyId": str(row.key_id) if row.key_id else None,
        **{
            spelled: getattr(row, name)
            for names in (NAME_IN_JSON, SESSION_IN_JSON)
            for name, spelled in names.items()
        },
        "userProved": row.user_proved,
        "clientProved": row.client_proved,
    }


def estimated_of(row: AiRequestLog) -> int | None:
    """Return how much of the cost is an estimate; rows of versions without any have none."""
    return None if row.cost_nanoeur is None else row.estimated_nanoeur or 0


def as_eur(nanoeur: int | None) -> float | None:
    """Return an amount as JSON has it."""
    return None if nanoeur is None else float(euros(nanoeur))


def _line(row: AiRequestLog, names: CallerNames) -> RequestLine:
    counts = [count for count in (row.input_tokens, row.output_tokens) if count is not None]
    key_name = names.keys.get(row.key_id) if row.key_id else None
    return RequestLine(
        row=row,
        place=f"{reports.Cursor(occurred_at=row.occurred_at, id=row.pk)}",
        status=timeline.status_badge(row.status),
        tokens=sum(counts) if counts else None,
        who=who_sent(row, names) or key_name or row.channel,
        where=tuple(f"{name} {value}" for name, value in dimensions_of(row)),
    )
