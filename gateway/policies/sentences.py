"""A policy and a backtest as plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from costs.core.money import format_eur
from gateway.console.sentences import listed
from gateway.policies.operations import PolicyLimits
from gateway.policies.replay_report import Backtest


def policy_sentence(
    *,
    allowed: Sequence[str],
    blocked: Sequence[str],
    max_cost_per_day_nanoeur: int | None,
    max_tokens_per_request: int | None,
) -> str:
    """Return a policy's limits as one sentence."""
    parts: list[str] = []
    if allowed:
        parts.append(f"allows only {listed(allowed)}")
    if blocked:
        parts.append(f"blocks {listed(blocked)}")
    if max_cost_per_day_nanoeur is not None:
        parts.append(f"at most {format_eur(max_cost_per_day_nanoeur)} per day")
    if max_tokens_per_request is not None:
        parts.append(f"at most {max_tokens_per_request:,} tokens per request")
    if not parts:
        return "No limits: every request is allowed."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def limits_sentence(limits: PolicyLimits) -> str:
    """Return a policy's limits as one sentence, also where there is no policy yet."""
    return policy_sentence(
        allowed=limits.allowed_models,
        blocked=limits.blocked_models,
        max_cost_per_day_nanoeur=limits.max_cost_per_day_nanoeur,
        max_tokens_per_request=limits.max_tokens_per_request,
    )


def backtest_sentence(report: Backtest) -> str:
    """Return what a backtest found, as a sentence."""
    judged, requested = len(report.days), report.asked_days
    period = (
        f"the last {requested} days"
        if report.is_complete
        else f"the last {judged} of {requested} days"
    )
    if not report.requests:
        return f"No requests were allowed in {period}, so there is nothing to evaluate."
    of_all = f"{report.requests:,} requests of {period}"
    if not report.refused:
        return f"It would have blocked none of the {of_all}."
    people = f"{report.user_count:,} {_plural('person', 'people', report.user_count)}"
    apps = f"{report.app_count:,} {_plural('app', 'apps', report.app_count)}"
    return (
        f"It would have blocked {report.refused:,} of the {of_all}, from {people} and {apps}; "
        f"{format_eur(report.not_spent_nanoeur)} of {format_eur(report.spent_nanoeur)} "
        "would have been saved."
    )


def _plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many
