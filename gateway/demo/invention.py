"""Invents a company's year of requests: who sends them, when, to which model, and how they end.

Plain values from a seed, the same each time; `gateway.demo.invented_rows` makes rows of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from costs.core.calendar.periods import first_instant

# provider, the requested name, the model that answers, how often it is chosen
MODELS: Final = (
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", 30),
    ("openai", "gpt-4o", "gpt-4o-2024-08-06", 14),
    ("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", 9),
    ("openai", "o3-mini", "o3-mini-2025-01-31", 3),
    ("anthropic", "claude-3-5-sonnet-20241022", "claude-3-5-sonnet-20241022", 10),
    ("anthropic", "claude-3-5-haiku-20241022", "claude-3-5-haiku-20241022", 8),
    ("google", "gemini-2.0-flash", "gemini-2.0-flash", 14),
    ("google", "gemini-1.5-pro", "gemini-1.5-pro", 3),
    ("mistral", "mistral-large-latest", "mistral-large-2411", 5),
    ("mistral", "mistral-small-latest", "mistral-small-2503", 4),
)
TEAMS: Final = ("data", "growth", "legal", "payments", "platform", "research", "sales", "support")
# app, team, project, whether it serves clients, its share of the services' requests
SERVICES: Final = (
    ("support-bot", "support", "helpdesk", True, 26),
    ("ticket-triage", "support", "helpdesk", False, 12),
    ("search", "platform", "catalog", False, 18),
    ("translations", "growth", "website", False, 9),
    ("campaign-texts", "growth", "campaigns", False, 5),
    ("invoice-reader", "payments", "invoices", True, 11),
    ("fraud-notes", "payments", "risk", False, 4),
    ("contract-review", "legal", "contracts", False, 3),
    ("lead-scoring", "sales", "crm", False, 6),
    ("report-writer", "data", "reporting", False, 4),
    ("embeddings-eval", "research", "evaluation", False, 2),
)
CLIENTS: Final = tuple(f"client-{number:03d}" for number in range(1, 41))
TASKS: Final = ("code-review", "drafting", "summary", "translation", None, None)
# How busy each hour of a day is.
HOURS: Final = (
    *(1, 1, 1, 1, 1, 1, 2, 5, 12, 18, 20, 19),
    *(13, 16, 19, 18, 16, 11, 7, 5, 4, 3, 2, 1),
)
# How requests end, and how many of a thousand do so.
ENDS: Final = (
    *(("ok", 933), ("blocked", 40), ("error", 13)),
    *(("unknown", 4), ("cut", 4), ("late", 4), ("over", 1), ("unpriced", 1)),
)
SERVICES_SHARE: Final = 0.68
IDE: Final = "ide"
SESSION_S: Final = 5 * 3600
WEEKEND: Final = {5: 0.32, 6: 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who sends requests: a service with its key, or a person."""

    user_id: str | None
    team_id: str
    project_id: str
    app_id: str | None
    key_id: UUID | None
    has_clients: bool
    models: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invented:
    """One request. `end` is one of ENDS."""

    at: datetime
    source: Source
    client_id: str | None
    task_type: str | None
    model: int
    input_tokens: int
    output_tokens: int
    latency_ms: int
    end: str
    session_id: str | None = None
    agent_id: str | None = None


def sources(
    rng: Random, *, user_ids: Sequence[str], key_ids: Sequence[UUID]
) -> tuple[list[Source], list[float]]:
    """Return who sends requests, one service for each key, and how much each of them sends."""
    found, weights = [], []
    total = sum(service[-1] for service in SERVICES)
    for key_id, (app, team, project, has_clients, share) in zip(key_ids, SERVICES, strict=True):
        models = tuple(_models(rng, 2))
        found.append(_source(None, team, project, app, key_id, has_clients, models))
        weights.append(SERVICES_SHARE * share / total)
    busy = [rng.paretovariate(1.3) for _ in user_ids]
    for user_id, amount in zip(user_ids, busy, strict=True):
        team = rng.choice(TEAMS)
        used = rng.choice(("chat", IDE, None))
        models = tuple(_models(rng, 3))
        found.append(_source(user_id, team, f"{team}-internal", used, None, False, models))
        weights.append((1 - SERVICES_SHARE) * amount / sum(busy))
    return found, weights


def requests_a_day(rng: Random, *, last: date, days: int, requests: int) -> list[tuple[date, int]]:
    """Return how many requests each day has: fewer at weekends, more towards the end."""
    all_days = [last - timedelta(days=days - 1 - n) for n in range(days)]
    weights = [
        WEEKEND.get(day.weekday(), 1.0) * (0.6 + 0.8 * n / days) * rng.uniform(0.9, 1.1)
        for n, day in enumerate(all_days)
    ]
    total, sent, reached, counts = sum(weights), 0, 0.0, []
    for day, weight in zip(all_days, weights, strict=True):
        reached += weight
        count = round(requests * reached / total) - sent
        sent += count
        counts.append((day, count))
    return counts


def day_of_requests(  # noqa: PLR0913  keyword-only
    rng: Random,
    *,
    day: date,
    count: int,
    zone: ZoneInfo,
    until: datetime,
    sources: Sequence[Source],
    weights: Sequence[float],
) -> Iterator[Invented]:
    """Return one local day's requests in order of time; none is later than `until`."""
    starts_at, ends_at = first_instant(day, zone), first_instant(day + timedelta(days=1), zone)
    length_s = (min(ends_at, until) - starts_at).total_seconds()
    hours = rng.choices(range(24), HOURS, k=count)
    moments = sorted(min((hour + rng.random()) * 3600, length_s - 1e-3) for hour in hours)
    chosen = rng.choices(sources, weights, k=count)
    ends = rng.choices([end for end, _ in ENDS], [often for _, often in ENDS], k=count)
    turns: Counter[str] = Counter()
    for second, source, end in zip(moments, chosen, ends, strict=True):
        tokens = min(100_000, int(rng.lognormvariate(6.2, 1.0)) + 8)
        session_id, agent_id = _session(source, day, second, turns)
        yield Invented(
            at=starts_at + timedelta(seconds=second),
            source=source,
            client_id=rng.choice(CLIENTS) if source.has_clients else None,
            task_type=rng.choice(TASKS) if source.user_id else None,
            model=rng.choice(source.models),
            input_tokens=tokens,
            output_tokens=min(4_000, int(rng.lognormvariate(5.0, 0.9)) + 1),
            latency_ms=int(rng.lognormvariate(7.1, 0.6)),
            end=end,
            session_id=session_id,
            agent_id=agent_id,
        )


def _session(
    source: Source, day: date, second: float, turns: Counter[str]
) -> tuple[str | None, str | None]:
    """Return the session and the agent of a request: who works in an IDE begins one every few
    hours, and one turn in four is a subagent's.
    """
    if source.app_id != IDE or source.user_id is None:
        return None, None
    session_id = str(uuid5(UUID(source.user_id), f"{day} {int(second) // SESSION_S}"))
    turns[session_id] += 1
    turn = turns[session_id]
    return session_id, f"agent-{turn // 12 + 1}" if turn % 4 == 0 else None


def _models(rng: Random, count: int) -> list[int]:
    return rng.choices(range(len(MODELS)), [model[-1] for model in MODELS], k=count)


def _source(  # noqa: PLR0913  in the order of the fields
    user_id: str | None,
    team_id: str,
    project_id: str,
    app_id: str | None,
    key_id: UUID | None,
    has_clients: bool,
    models: tuple[int, ...],
) -> Source:
    return Source(
        user_id=user_id,
        team_id=team_id,
        project_id=project_id,
        app_id=app_id,
        key_id=key_id,
        has_clients=has_clients,
        models=models,
    )
