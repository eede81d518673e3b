"""Check a request against an organization's policies: values in, a refusal or None out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR
from itertools import zip_longest
from math import ceil
from typing import Final

from costs.core.admission import Balance
from costs.core.money import format_eur
from gateway.core.calls import Dimensions
from gateway.core.errors import NoRoom, Refused
from gateway.core.model_entries import NO_ENTRIES, ComparedNames, ModelEntries, compared
from gateway.core.model_names import Model
from gateway.guards.dimensions import Requirements

OK: Final = "ok"
NOT_CHECKED: Final = "not reached"
# Of more policies, a trace keeps the relevant ones: a thousand took 100 KB per request and cost
# the database twenty times as much as the rest of the request.
EXPLAINED_MAX: Final = 100

# A policy, its verdict, and the dimension that the verdict is about.
_Judged = tuple["Rule", str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An enabled policy."""

    id: str
    name: str
    allowed: ModelEntries = NO_ENTRIES
    blocked: ModelEntries = NO_ENTRIES
    max_cost_per_day_nanoeur: int | None = None
    max_tokens_per_request: int | None = None
    max_output_tokens: int | None = None
    requirements: Requirements | None = None


def model_verdicts(model: Model, rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return each policy's verdict on `model`: ok, or the code of its refusal."""
    names, own_names = compared(model.names), compared(model.own_names)
    return tuple(_model_verdict(rule, names, own_names) for rule in rules)


def _model_verdict(rule: Rule, names: ComparedNames, own_names: ComparedNames) -> str:
    """Judge a model: blocked also by the names of its current snapshot and of the model that it was
    made from, allowed only by its own.
    """
    if rule.blocked.matches(names):
        return "model_blocked"
    if rule.allowed and not rule.allowed.matches(own_names):
        return "model_not_allowed"
    return OK


def refusal_for_model(
    verdicts: Sequence[str], *, named: str, rules: Sequence[Rule]
) -> Refused | None:
    """Return the refusal that the policies' verdicts on a model give: all blocks before allows.

    `named` is the model as the caller wrote it, for the sentence.
    """
    for code, verb in (("model_blocked", "blocked"), ("model_not_allowed", "not allowed")):
        if code in verdicts:
            rule = rules[verdicts.index(code)]
            return Refused(code, f'Model {named} is {verb} by policy "{rule.name}"')
    return None


def refusal_for_tokens(needed: int, *, rules: Sequence[Rule]) -> Refused | None:
    """Return the refusal of too many tokens (counted input plus output cap), or None."""
    for rule in rules:
        limit = rule.max_tokens_per_request
        if limit is not None and needed > limit:
            sentence = (
                f'Request needs up to {needed} tokens; policy "{rule.name}" '
                f"allows {limit} per request"
            )
            return Refused("token_limit", sentence)
    return None


def refusal_for_cost(rule: Rule, *, bound_nanoeur: int, balance: Balance, now: datetime) -> NoRoom:
    """Return the refusal of a call that exceeds what is left of the day.

    It can be retried at the end of the day, or in a second if calls in flight hold what is
    missing.
    """
    sentence = (
        f"Request could cost up to {format_eur(bound_nanoeur, ROUND_CEILING)}; "
        f'policy "{rule.name}" allows {format_eur(balance.limit_nanoeur or 0)} per day '
        f"and {format_eur(balance.left_nanoeur or 0, ROUND_FLOOR)} are left"
    )
    return no_room(
        "daily_cost_limit", sentence, balance=balance, bound_nanoeur=bound_nanoeur, now=now
    )


def no_room(
    code: str, sentence: str, *, balance: Balance, bound_nanoeur: int, now: datetime
) -> NoRoom:
    """Return the refusal of a call that did not fit, with the seconds until it may."""
    is_held = not balance.is_too_full_for(bound_nanoeur)
    ends_in_s = max(1, ceil((balance.ends_at - now).total_seconds()))
    return NoRoom(code, sentence, is_held=is_held, retry_after_s=1 if is_held else ends_in_s)


def tightest_token_limit(rules: Iterable[Rule]) -> int | None:
    """Return the smallest limit of tokens per request, or None if no policy has one."""
    limits = [rule.max_tokens_per_request for rule in rules if rule.max_tokens_per_request]
    return min(limits, default=None)


def tightest_output_limit(rules: Iterable[Rule]) -> int | None:
    """Return the smallest limit of output tokens, or None if no policy has one."""
    limits = [rule.max_output_tokens for rule in rules if rule.max_output_tokens]
    return min(limits, default=None)


def tightest_daily_rule(rules: Iterable[Rule]) -> Rule | None:
    """Return the policy with the smallest limit per day, the first if several have it."""
    limited = [rule for rule in rules if rule.max_cost_per_day_nanoeur is not None]
    return min(limited, key=lambda rule: rule.max_cost_per_day_nanoeur or 0, default=None)


def explained(
    rules: Sequence[Rule],
    *,
    verdicts: Sequence[str],
    dimensions: Dimensions,
    needed_tokens: int | None,
) -> list[dict[str, object]]:
    """Return each policy's own verdict, for the decision trace.

    `verdicts` are those on the model, empty if the model is unknown; `needed_tokens` is None if
    they were not counted. The ledger adds verdicts on the day's cost. A refusal for a dimension
    has its name. Of more than EXPLAINED_MAX, the one with the smallest limit per day and those
    that refuse come first.
    """
    judged = [
        (rule, *_verdict(rule, verdict, dimensions, needed_tokens))
        for rule, verdict in zip_longest(rules, verdicts, fillvalue=NOT_CHECKED)
        if isinstance(rule, Rule)
    ]
    return [
        {
            "id": rule.id,
            "name": rule.name,
            "verdict": verdict,
            "max_tokens": rule.max_tokens_per_request,
            "limit_nanoeur": rule.max_cost_per_day_nanoeur,
            **({"dimension": dimension} if dimension else {}),
        }
        for rule, verdict, dimension in (
            judged if len(judged) <= EXPLAINED_MAX else _relevant(judged)
        )
    ]


def _relevant(judged: Sequence[_Judged]) -> list[_Judged]:
    day = tightest_daily_rule(rule for rule, *_ in judged)
    return sorted(judged, key=lambda each: (each[0] is not day, each[1] in (OK, NOT_CHECKED)))[
        :EXPLAINED_MAX
    ]


def _verdict(
    rule: Rule, on_model: str, dimensions: Dimensions, needed_tokens: int | None
) -> tuple[str, str | None]:
    """Return a policy's verdict, and the dimension that it is about, if it is about one."""
    if on_model != OK:
        return on_model, None
    if rule.requirements is not None and (failed := rule.requirements.failed(dimensions)):
        return failed
    limit = rule.max_tokens_per_request
    is_over = limit is not None and needed_tokens is not None and needed_tokens > limit
    return ("token_limit" if is_over else OK), None
