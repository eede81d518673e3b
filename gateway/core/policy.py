"""Judging a request by an organization's policies: values in, a refusal or None out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR
from math import ceil

from costs.core.admission import Balance
from costs.core.money import euros, format_eur
from gateway.core.errors import Refused
from gateway.core.models import Model, any_entry_matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An enabled policy. Entries of the lists are trimmed and folded (`Catalog.entry`)."""

    id: str
    name: str
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    max_cost_per_day_nanoeur: int | None = None
    max_tokens_per_request: int | None = None

    def blocks(self, model: Model) -> bool:
        """Whether an entry means the model, or the snapshot that it stands for."""
        return any_entry_matches(self.blocked, model.names)

    def leaves_out(self, model: Model) -> bool:
        """Whether there is a list of allowed models and the model is not on it."""
        return bool(self.allowed) and not any_entry_matches(self.allowed, model.own_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """The policy that refuses, and how."""

    rule: Rule
    refusal: Refused


def refusal_for_model(model: Model, *, named: str, rules: Sequence[Rule]) -> Denial | None:
    """Return why the policies refuse `model`, or None: all blocks before all allows.

    `named` is the model as the caller wrote it, for the sentence.
    """
    for rule in rules:
        if rule.blocks(model):
            sentence = f'Model {named} is blocked by policy "{rule.name}"'
            return Denial(rule=rule, refusal=Refused("model_blocked", sentence))
    for rule in rules:
        if rule.leaves_out(model):
            sentence = f'Model {named} is not allowed by policy "{rule.name}"'
            return Denial(rule=rule, refusal=Refused("model_not_allowed", sentence))
    return None


def refusal_for_tokens(
    *, input_tokens: int, output_cap: int, rules: Sequence[Rule]
) -> Denial | None:
    """Return why the policies refuse so many tokens: the counted input plus the output cap."""
    needed = input_tokens + output_cap
    for rule in rules:
        limit = rule.max_tokens_per_request
        if limit is not None and needed > limit:
            sentence = (
                f'Request needs up to {needed} tokens; policy "{rule.name}" '
                f"allows {limit} per request"
            )
            return Denial(rule=rule, refusal=Refused("token_limit", sentence))
    return None


def refusal_for_cost(
    rule: Rule, *, bound_nanoeur: int, balance: Balance, now: datetime
) -> Refused:
    """Return the refusal of a call that does not fit in what is left of the day.

    It may be tried again at the end of the day, or in a second where calls in flight hold what
    is missing.
    """
    limit_nanoeur = balance.limit_nanoeur or 0
    fits_without_the_held = balance.charged_nanoeur + bound_nanoeur <= limit_nanoeur
    wait_s = 1 if fits_without_the_held else ceil((balance.ends_at - now).total_seconds())
    sentence = (
        f"Request could cost up to {format_eur(bound_nanoeur, ROUND_CEILING)}; "
        f'policy "{rule.name}" allows {format_eur(limit_nanoeur)} per day '
        f"and {format_eur(balance.left_nanoeur or 0, ROUND_FLOOR)} are left"
    )
    return Refused("daily_cost_limit", sentence, retry_after_s=max(1, wait_s))


def tightest_token_limit(rules: Iterable[Rule]) -> int | None:
    """Return the smallest limit of tokens per request, or None where no policy has one."""
    limits = [rule.max_tokens_per_request for rule in rules if rule.max_tokens_per_request]
    return min(limits, default=None)


def tightest_daily_rule(rules: Iterable[Rule]) -> Rule | None:
    """Return the policy with the smallest limit per day, the first where several have it."""
    limited = [rule for rule in rules if rule.max_cost_per_day_nanoeur is not None]
    return min(limited, key=lambda rule: rule.max_cost_per_day_nanoeur or 0, default=None)


def explained(rules: Sequence[Rule], denial: Denial | None) -> list[dict[str, object]]:
    """Return the verdict of each policy, for the decision trace."""
    verdicts: list[dict[str, object]] = []
    for rule in rules:
        refused = denial is not None and denial.rule is rule
        limit = rule.max_cost_per_day_nanoeur
        verdicts.append(
            {
                "id": rule.id,
                "name": rule.name,
                "verdict": denial.refusal.code if denial is not None and refused else "ok",
                "detail": denial.refusal.message if denial is not None and refused else None,
                "max_tokens": rule.max_tokens_per_request,
                "limit_nanoeur": limit,
                "limit_eur": None if limit is None else str(euros(limit)),
            }
        )
    return verdicts
