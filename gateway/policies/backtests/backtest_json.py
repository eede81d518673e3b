"""A policy's backtest as JSON, the same for the API and the command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from costs.core.money import euros
from gateway.policies.backtests.replay_report import Backtest, Hit


def backtest_as_json(report: Backtest) -> dict[str, Any]:
    """Return the report as plain values; amounts in EUR, exact to 1e-9."""
    return {
        "days": report.asked_days,
        "judgedDays": len(report.days),
        "complete": report.is_complete,
        "requests": report.requests,
        "refused": report.refused,
        "spentEur": _eur(report.spent_nanoeur),
        "notSpentEur": _eur(report.not_spent_nanoeur),
        "codes": dict(sorted(report.codes.items())),
        "userCount": report.user_count,
        "users": _hits(report.users, "userId"),
        "appCount": report.app_count,
        "apps": _hits(report.apps, "appId"),
        "examples": [
            {
                "requestId": str(example.request_id),
                "occurredAt": example.occurred_at.isoformat(),
                "model": example.model,
                "code": example.code,
                "error": example.sentence,
                "costEur": _eur(example.cost_nanoeur),
            }
            for example in report.examples
        ],
        "byDay": [
            {
                "day": day.on.isoformat(),
                "requests": day.requests,
                "refused": day.refused,
                "spentEur": _eur(day.spent_nanoeur),
                "notSpentEur": _eur(day.not_spent_nanoeur),
            }
            for day in report.days
        ],
    }


def _hits(hits: Iterable[Hit], name: str) -> list[dict[str, Any]]:
    return [
        {name: hit.value, "requests": hit.requests, "costEur": _eur(hit.nanoeur)} for hit in hits
    ]


def _eur(nanoeur: int) -> float:
    return float(euros(nanoeur))
