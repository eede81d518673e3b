"""What the last 24 hours were like: the figures above the list of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.models import AiRequestLog

HOURS: Final = 24
WINDOW: Final = timedelta(hours=HOURS)
# What is read at most; a busier organization sees its newest requests, and is told so.
ROWS_MAX: Final = 20_000
MODELS_MAX: Final = 5
LATENCY_PERCENT: Final = 95

# occurred_at, status, latency, model as called, model as asked for, cost
Row = tuple[datetime, str, int | None, str, str, int | None]


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
    refused: int
    failed: int
    unknown: int
    latency_p95_ms: int | None
    nanoeur: int
    models: tuple[ModelActivity, ...]


def last_day(*, organization_id: UUID, moment: datetime) -> Activity:
    """Return the organization's last 24 hours: one query along the list's own index."""
    rows = AiRequestLog.objects.filter(
        org=organization_id, occurred_at__gt=moment - WINDOW, occurred_at__lte=moment
    ).order_by("-occurred_at", "-id")
    found: list[Row] = list(
        rows.values_list(
            "occurred_at", "status", "latency_ms", "model", "requested_model", "cost_nanoeur"
        )[: ROWS_MAX + 1]
    )
    return summed(found[:ROWS_MAX], moment=moment, is_cut=len(found) > ROWS_MAX)


def summed(rows: Sequence[Row], *, moment: datetime, is_cut: bool = False) -> Activity:
    """Return what the rows add up to; they come newest first."""
    statuses = Counter(status for _, status, *_ in rows)
    answered = [
        latency for _, status, latency, *_ in rows if status == "ok" and latency is not None
    ]
    return Activity(
        since=rows[-1][0] if rows and is_cut else moment - WINDOW,
        is_cut=is_cut,
        requests=len(rows),
        refused=statuses["blocked"],
        failed=statuses["error"],
        unknown=statuses["unknown"],
        latency_p95_ms=percentile(answered, LATENCY_PERCENT),
        nanoeur=sum(cost or 0 for *_, cost in rows),
        models=_by_model(rows, moment),
    )


def percentile(values: Sequence[int], percent: int) -> int | None:
    """Return the smallest value that `percent` of all do not exceed (nearest rank)."""
    if not values:
        return None
    rank = -(-len(values) * percent // 100)
    return sorted(values)[max(0, rank - 1)]


def _by_model(rows: Sequence[Row], moment: datetime) -> tuple[ModelActivity, ...]:
    """Return the dearest models, then all others as one."""
    requests: Counter[str] = Counter()
    costs: dict[str, list[int]] = {}
    for occurred_at, _, _, called, asked, cost in rows:
        model = called or asked
        requests[model] += 1
        hours = costs.setdefault(model, [0] * HOURS)
        hours[HOURS - 1 - min(HOURS - 1, (moment - occurred_at) // timedelta(hours=1))] += cost or 0
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
