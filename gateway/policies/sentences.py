"""A policy and a backtest as plain sentences."""

from __future__ import annotations

from costs.core.money import format_eur
from gateway.console.dimensions import KNOWN_FIELDS, WORDS
from gateway.console.sentences import listed
from gateway.guards.policies import WAIT_S, HoldMode
from gateway.models import Policy
from gateway.policies.backtests.replay_report import Backtest
from gateway.policies.names import PolicyNames
from gateway.policies.operations import PolicyLimits


def policy_sentence(limits: PolicyLimits | Policy, names: PolicyNames) -> str:
    """Return a policy, also one that is not saved yet, as one sentence: what it applies to, what it
    limits. `names` are those of its keys and people.
    """
    text = "; ".join(_limits(limits))
    if limits.applies_to:
        to = f"Applies to {names.sentence(limits.applies_to)}"
        return f"{to}: {text or 'no limits'}."
    if not text:
        return "No limits: every request is allowed."
    return f"{text[0].upper()}{text[1:]}."


def _limits(limits: PolicyLimits | Policy) -> list[str]:
    allowed, blocked, rates = limits.allowed_models, limits.blocked_models, rates_of(limits)
    is_waited_for = limits.wait_s != WAIT_S and (rates or _costs(limits))
    return [
        *([f"allows only {listed(allowed)}"] if allowed else []),
        *([f"blocks {listed(blocked)}"] if blocked else []),
        *_dimension_sentences(limits),
        *(f"at most {format_eur(cost)} per {per}" for per, cost in _costs(limits).items()),
        *(f"at most {most:,} {what}" for what, most in _tokens(limits).items()),
        *_searches(limits.web_searches_per_request),
        *([f"at most {listed(rates)}"] if rates else []),
        *([_wait(limits.wait_s)] if is_waited_for else []),
        *(["streams held in slices"] if limits.hold == HoldMode.SLICES else []),
    ]


def _wait(wait_s: int) -> str:
    return f"a wait of up to {wait_s:,} s" if wait_s else "no wait"


def _costs(limits: PolicyLimits | Policy) -> dict[str, int]:
    costs = {
        "day": limits.max_cost_per_day_nanoeur,
        "session": limits.max_cost_per_session_nanoeur,
    }
    return {per: cost for per, cost in costs.items() if cost is not None}


def _tokens(limits: PolicyLimits | Policy) -> dict[str, int]:
    tokens = {
        "tokens per request": limits.max_tokens_per_request,
        "output tokens": limits.max_output_tokens,
    }
    return {what: most for what, most in tokens.items() if most is not None}


def rates_of(limits: PolicyLimits | Policy) -> list[str]:
    """Return the rates of a policy in words."""
    rates = (
        (limits.requests_per_minute, "request", "per minute"),
        (limits.tokens_per_minute, "token", "per minute"),
        (limits.concurrent_requests, "request", "at once"),
    )
    return [
        f"{most:,} {_plural(what, what + 's', most)} {when}" for most, what, when in rates if most
    ]


def _searches(most: int | None) -> list[str]:
    if most is None:
        return []
    if not most:
        return ["no web searches"]
    return [f"at most {most:,} web {_plural('search', 'searches', most)} per request"]


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
    named = " that it applies to" if report.names_calls else ""
    if not report.requests:
        return f"No requests{named} were allowed in {period}, so there is nothing to evaluate."
    of_all = f"{report.requests:,} requests of {period}{named}"
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
