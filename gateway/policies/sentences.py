"""A policy and a backtest as plain sentences."""

from __future__ import annotations

from costs.core.money import format_eur
from gateway.console.dimensions import KNOWN_FIELDS, WORDS
from gateway.console.sentences import listed
from gateway.models import Policy
from gateway.policies.backtests.replay_report import Backtest
from gateway.policies.operations import PolicyLimits


def limits_sentence(limits: PolicyLimits | Policy) -> str:
    """Return the limits of a policy, also of one that is not saved yet, as one sentence."""
    parts: list[str] = []
    if limits.allowed_models:
        parts.append(f"allows only {listed(limits.allowed_models)}")
    if limits.blocked_models:
        parts.append(f"blocks {listed(limits.blocked_models)}")
    parts += _dimension_sentences(limits)
    if limits.max_cost_per_day_nanoeur is not None:
        parts.append(f"at most {format_eur(limits.max_cost_per_day_nanoeur)} per day")
    if limits.max_tokens_per_request is not None:
        parts.append(f"at most {limits.max_tokens_per_request:,} tokens per request")
    if limits.max_output_tokens is not None:
        parts.append(f"at most {limits.max_output_tokens:,} output tokens")
    if not parts:
        return "No limits: every request is allowed."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _dimension_sentences(limits: PolicyLimits | Policy) -> list[str]:
    required = [dimension_word(name) for name in limits.required_dimensions]
    return [
        *([f"requires {listed(required)}"] if required else []),
        *(
            f"knows only {dimension_word(name)} {listed(limits.known_values[name])}"
            for name in KNOWN_FIELDS
            if limits.known_values.get(name)
        ),
    ]


def dimension_word(name: str) -> str:
    """Return what a sentence calls a dimension: a required user is a proved one."""
    return "a proved user" if name == "user_id" else WORDS[name].replace("-", " ")


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
