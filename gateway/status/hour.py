"""What the audit rows of the last hour show of each provider: the same in every process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Final
from uuid import UUID

from django.db.models.fields.json import KeyTransform

from gateway.core.errors import Rejected
from gateway.core.traces import integer, items, text
from gateway.models import AiRequestLog
from gateway.providers.routing.breaker import FAILURES_MAX
from orgs.core.frozen import frozen

HOUR: Final = timedelta(hours=1)
# An id is as old as its request, which may have waited before it was admitted.
_ADMITTED_WITHIN: Final = timedelta(minutes=1)
# The newest requests that are read: a page does not read the hour of a busy installation.
REQUESTS_MAX: Final = 10_000
_ENDED: Final = (AiRequestLog.Status.OK, AiRequestLog.Status.ERROR, AiRequestLog.Status.UNKNOWN)


@frozen
class ProviderHour:
    """The calls of a provider that ended in the last hour, of every process.

    `failed` are those that the provider failed, by code. Latencies are those of answered calls, to
    the end of the answer, without waiting for room; None without one. `is_failing` if the newest
    FAILURES_MAX of them, or all of fewer, failed.
    """

    calls: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    answered_at: datetime | None = None
    p50_ms: int | None = None
    p95_ms: int | None = None
    is_failing: bool = False

    @property
    def error_rate(self) -> float | None:
        """The share of calls that the provider failed; None without calls."""
        return sum(self.failed.values()) / self.calls if self.calls else None


# The code of an error that the provider answered with. Its own failures are marked.
PROVIDER_ERROR: Final = Rejected.code
NO_CALLS: Final = ProviderHour()


@frozen
class LastHour:
    """The last hour by provider; `is_cut` if only the newest REQUESTS_MAX requests were read."""

    providers: Mapping[str, ProviderHour]
    is_cut: bool


@dataclass(slots=True)
class _ProviderCalls:
    """The calls of a provider, newest first."""

    ends: list[str | None] = field(default_factory=list)  # the code of a failure, None: answered
    latencies_ms: list[int] = field(default_factory=list)
    answered_at: datetime | None = None

    def report(self) -> ProviderHour:
        failed = Counter(code for code in self.ends if code is not None)
        latencies_ms = sorted(self.latencies_ms)
        return ProviderHour(
            calls=len(self.ends),
            failed=dict(failed),
            answered_at=self.answered_at,
            p50_ms=_quantile(latencies_ms, 0.5),
            p95_ms=_quantile(latencies_ms, 0.95),
            is_failing=bool(self.ends) and None not in self.ends[:FAILURES_MAX],
        )


def last_hour(now: datetime) -> LastHour:
    """Read the last hour of all organizations by the requests' ids, which are in order of time."""
    rows = AiRequestLog.objects.filter(
        id__gte=_first_id(now - HOUR - _ADMITTED_WITHIN),
        occurred_at__gte=now - HOUR,
        provider__isnull=False,
        status__in=_ENDED,
    ).order_by("-id")
    found: dict[str, _ProviderCalls] = {}
    read = 0
    for row in rows.values_list(
        *("provider", "status", "code", "latency_ms", "completed_at", "attempts"),
        KeyTransform("provider_failed", "usage"),
        KeyTransform("ms", KeyTransform("waited", "decision")),
    )[:REQUESTS_MAX]:
        read += 1
        _add(found, *row)
    return LastHour(
        providers={name: calls.report() for name, calls in found.items()},
        is_cut=read == REQUESTS_MAX,
    )


def _add(  # noqa: PLR0913  the columns
    found: dict[str, _ProviderCalls],
    provider: str,
    status: str,
    code: str | None,
    latency_ms: int | None,
    completed_at: datetime | None,
    attempts: object,
    is_failure: object,
    waited_ms: object,
) -> None:
    """Add how a request's attempts ended, the last first."""
    calls = found.setdefault(provider, _ProviderCalls())
    if is_failure is True:
        calls.ends.append(code or "")
    elif status == AiRequestLog.Status.OK or code == PROVIDER_ERROR:
        calls.ends.append(None)
        calls.answered_at = calls.answered_at or completed_at
    earlier = items(attempts)
    if status == AiRequestLog.Status.OK and latency_ms is not None and not earlier:
        calls.latencies_ms.append(max(0, latency_ms - (integer(waited_ms) or 0)))
    for attempt in reversed(earlier):
        if attempt.get("provider_failed") is True and (name := text(attempt.get("provider"))):
            found.setdefault(name, _ProviderCalls()).ends.append(text(attempt.get("code")) or "")


def _first_id(moment: datetime) -> UUID:
    """Return the least UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _quantile(ordered: Sequence[int], share: float) -> int | None:
    """Return what this share of the values does not exceed; None without values."""
    return ordered[ceil(share * len(ordered)) - 1] if ordered else None
