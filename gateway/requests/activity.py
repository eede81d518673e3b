"""The last 24 hours: the figures above the list of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection

from orgs.database import as_moment, kept_id

HOURS: Final = 24
WINDOW: Final = timedelta(hours=HOURS)
# Rows read at most; a busier organization sees its newest requests and a note.
ROWS_MAX: Final = 20_000
MODELS_MAX: Final = 5
LATENCY_PERCENT: Final = 95

# hour (the oldest is 0), status, model as called or else as requested, requests, nano-euro
Group = tuple[int, str, str, int, int]
# The newest rows along the list's own index, read once and added up where they are: a day of 9,500
# requests takes 22 ms so, 35 where they are read for their latency too, 90 as rows of Python's.
# The last row has the latency alone, that of the nearest rank.
FOUND: Final = f"""
    WITH newest AS (
        SELECT CASE {" ".join(["WHEN occurred_at > %s THEN %s"] * (HOURS - 1))} ELSE 0 END AS hour,
               status, COALESCE(NULLIF(model, ''), requested_model) AS model, cost_nanoeur,
               occurred_at, CASE WHEN status = 'ok' THEN latency_ms END AS latency_ms
        FROM ai_request_log WHERE org_id = %s AND occurred_at > %s AND occurred_at <= %s
        ORDER BY occurred_at DESC, id DESC LIMIT %s
    )
    SELECT hour, status, model, COUNT(*), SUM(cost_nanoeur), MIN(occurred_at), NULL
    FROM newest GROUP BY hour, status, model
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, latency_ms FROM (
        SELECT latency_ms FROM newest WHERE latency_ms IS NOT NULL ORDER BY latency_ms
        LIMIT 1 OFFSET (
            SELECT CASE WHEN COUNT(latency_ms) > 0
                        THEN (COUNT(latency_ms) * {LATENCY_PERCENT} + 99) / 100 - 1 ELSE 0 END
            FROM newest
        )
    ) answered
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelActivity:
    """A model's part. `hours` has its cost in nano-euro for each hour, the oldest first.

    `model` is None for all the models that have no line of their own.
    """

    model: str | None
    requests: int
    nanoeur: int
    hours: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The last 24 hours, or what ROWS_MAX rows reach of them (`is_cut`)."""

    since: datetime
    is_cut: bool
    requests: int
    blocked: int
    failed: int
    unknown: int
    latency_p95_ms: int | None
    nanoeur: int
    models: tuple[ModelActivity, ...]


def last_day(*, organization_id: UUID, moment: datetime, most: int = ROWS_MAX) -> Activity:
    """Return the organization's last 24 hours, or the `most` newest requests of them."""
    at = connection.ops.adapt_datetimefield_value
    edges = [
        value for hour in range(HOURS - 1, 0, -1) for value in (at(_starts_at(hour, moment)), hour)
    ]
    newest = (kept_id(organization_id), at(moment - WINDOW), at(moment), most)
    with connection.cursor() as cursor:
        cursor.execute(FOUND, [*edges, *newest])
        rows = cursor.fetchall()
    found = [row for row in rows if row[0] is not None]
    groups = [
        (hour, status, model, n, int(cost or 0)) for hour, status, model, n, cost, *_ in found
    ]
    is_cut = sum(n for *_, n, _ in groups) >= most
    return summed(
        groups,
        since=min(as_moment(row[5]) for row in found) if is_cut else moment - WINDOW,
        latency_p95_ms=next((latency for *_, latency in rows if latency is not None), None),
        is_cut=is_cut,
    )


def summed(
    groups: Sequence[Group],
    *,
    since: datetime,
    latency_p95_ms: int | None = None,
    is_cut: bool = False,
) -> Activity:
    """Return what the groups add up to."""
    statuses: Counter[str] = Counter()
    for _, status, _, requests, _ in groups:
        statuses[status] += requests
    return Activity(
        since=since,
        is_cut=is_cut,
        requests=statuses.total(),
        blocked=statuses["blocked"],
        failed=statuses["error"],
        unknown=statuses["unknown"],
        latency_p95_ms=latency_p95_ms,
        nanoeur=sum(nanoeur for *_, nanoeur in groups),
        models=_by_model(groups),
    )


def _starts_at(hour: int, moment: datetime) -> datetime:
    return moment - timedelta(hours=HOURS - hour)


def _by_model(groups: Sequence[Group]) -> tuple[ModelActivity, ...]:
    """Return the most expensive models, then all others as one."""
    requests: Counter[str] = Counter()
    costs: dict[str, list[int]] = {}
    for hour, _, model, number, nanoeur in groups:
        requests[model] += number
        costs.setdefault(model, [0] * HOURS)[hour] += nanoeur
    ranked = sorted(costs, key=lambda model: (-sum(costs[model]), -requests[model], model))
    shown, rest = ranked[:MODELS_MAX], ranked[MODELS_MAX:]
    lines = [
        ModelActivity(
            model=model,
            requests=requests[model],
            nanoeur=sum(costs[model]),
            hours=tuple(costs[model]),
        )
        for model in shown
    ]
    if rest:
        together = tuple(sum(costs[model][hour] for model in rest) for hour in range(HOURS))
        lines.append(
            ModelActivity(
                model=None,
                requests=sum(requests[model] for model in rest),
                nanoeur=sum(together),
                hours=together,
            )
        )
    return tuple(lines)
