"""Check a request against an organization's policies: values in, a refusal or None out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR
from enum import StrEnum
from itertools import zip_longest
from math import ceil
from operator import itemgetter
from typing import Final

from costs.core.admission import ORG_SCOPE, Balance
from costs.core.money import format_eur
from gateway.core.calls import DIMENSIONS, Dimensions
from gateway.core.errors import HELD_CODE, NoRoom, Refused
from gateway.core.model_entries import NO_ENTRIES, ComparedNames, ModelEntries, compared
from gateway.core.model_names import Model
from gateway.guards.dimensions import Requirements
from orgs.core.frozen import frozen
from orgs.core.spelling import folded

OK: Final = "ok"
NOT_CHECKED: Final = "not reached"
# How long a call waits for calls in flight that keep it out of a limit on money, unless a policy
# says otherwise.
WAIT_S: Final = 20
WAIT_MAX_S: Final = 3600
WEB_SEARCH_LIMIT: Final = "web_search_limit"
TOO_MANY_TOKENS: Final = "token_limit"
DAILY_COST_LIMIT: Final = "daily_cost_limit"
# Of a session's refusals: the contract has no code of its own for it.
SESSION_LIMIT: Final = "budget_limit"
# What a policy can name calls by. A key is named by the first of its rotations.
NAMED_BY: Final = ("key_id", *DIMENSIONS, "provider", "channel")
# Of more policies, a trace keeps the relevant ones: a thousand took 100 KB per request and cost
# the database twenty times as much as the rest of the request.
EXPLAINED_MAX: Final = 100

# A policy, its verdict, and the dimension that the verdict is about.
_Judged = tuple["Rule", str, str | None]


class PolicyMode(StrEnum):
    """Whether a policy refuses calls, only counts what it would refuse, or does nothing."""

    ON = "on"
    WATCH = "watch"
    OFF = "off"


class HoldMode(StrEnum):
    """How much of a stream's cost is held: all that it can cost, or slices ahead of its output."""

    WHOLE = "whole"
    SLICES = "slices"


@frozen
class AppliesTo:
    """The calls that a policy names: of each name of NAMED_BY one of the values, which are folded.

    Without names it is all calls.
    """

    named: tuple[tuple[str, frozenset[str]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.named)

    def includes(self, values: Mapping[str, str]) -> bool:
        """Whether a call with these folded values is one of them."""
        return all(values.get(name) in any_of for name, any_of in self.named)


ALL_CALLS: Final = AppliesTo()


def applies_to(column: Mapping[str, Sequence[str]]) -> AppliesTo:
    """Return the calls that a policy's column names."""
    return AppliesTo(
        named=tuple(
            [(name, frozenset(map(folded, column[name]))) for name in NAMED_BY if column.get(name)]
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy that is on or watched.

    `cost_scope` names the periods in the ledger in which its cost per day counts.
    """

    id: str
    name: str
    applies_to: AppliesTo = ALL_CALLS
    is_watched: bool = False
    cost_scope: str = ORG_SCOPE
    allowed: ModelEntries = NO_ENTRIES
    blocked: ModelEntries = NO_ENTRIES
    max_cost_per_day_nanoeur: int | None = None
    max_cost_per_session_nanoeur: int | None = None
    max_tokens_per_request: int | None = None
    max_output_tokens: int | None = None
    wait_s: int = WAIT_S
    web_searches_per_request: int | None = None
    requirements: Requirements | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    holds_slices: bool = False

    @property
    def allows_no_search(self) -> bool:
        """Whether requests that could search the web are refused."""
        return self.web_searches_per_request == 0

    @property
    def limits_sessions(self) -> bool:
        """Whether it limits the cost of sessions."""
        return self.max_cost_per_session_nanoeur is not None

    @property
    def tokens_at_most(self) -> int | None:
        """The most tokens that a request may need: more than a minute's never come."""
        limits = (self.max_tokens_per_request, self.tokens_per_minute)
        return min((limit for limit in limits if limit is not None), default=None)


@frozen
class NeededTokens:
    """Counted input plus the output of all choices: with the cap that the caller `asked` for, if
    any, and with the one that is `sent`, which a policy may have lowered.
    """

    asked: int
    sent: int


def model_verdicts(model: Model, rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return each policy's verdict on `model`: ok, or the code of its refusal."""
    names, own_names = compared(model.names), compared(model.own_names)
    return tuple(_model_verdict(rule, model, names, own_names) for rule in rules)


def _model_verdict(rule: Rule, model: Model, names: ComparedNames, own_names: ComparedNames) -> str:
    """Judge a model: blocked also by the names of its current snapshot and of the model that it was
    made from, allowed only by its own.
    """
    if rule.blocked.matches(names):
        return "model_blocked"
    if rule.allowed and not rule.allowed.matches(own_names):
        return "model_not_allowed"
    return WEB_SEARCH_LIMIT if model.always_searches and rule.allows_no_search else OK


def refusal_for_model(
    verdicts: Sequence[str], *, named: str, rules: Sequence[Rule]
) -> Refused | None:
    """Return the refusal that the policies' verdicts on a model give: all blocks before allows.

    The first policy gives it. `named` is the model as the caller wrote it, for the sentence.
    """
    enforced = [
        (rule, verdict)
        for rule, verdict in zip(rules, verdicts, strict=False)
        if not rule.is_watched
    ]
    for code, verb in (("model_blocked", "blocked"), ("model_not_allowed", "not allowed")):
        for rule, verdict in enforced:
            if verdict == code:
                return Refused(code, f'Model {named} is {verb} by policy "{rule.name}"')
    return None


def refusal_for_tokens(needed: NeededTokens, *, rules: Sequence[Rule]) -> Refused | None:
    """Return the refusal of too many tokens, by the policy with the smallest limit, or None."""
    over = smallest_exceeded(needed, rules)
    if over is None:
        return None
    limit, tokens, per, rule = over
    sentence = f'Request needs up to {tokens} tokens; policy "{rule.name}" allows {limit} per {per}'
    return Refused(TOO_MANY_TOKENS, sentence)


def smallest_exceeded(
    needed: NeededTokens, rules: Iterable[Rule]
) -> tuple[int, int, str, Rule] | None:
    """Return the smallest limit of tokens that a request exceeds, with what it needs, per what, and
    whose it is.
    """
    over = [
        (*each, rule) for rule in rules if not rule.is_watched for each in _exceeded(rule, needed)
    ]
    return min(over, key=itemgetter(0), default=None)


def _exceeded(rule: Rule, needed: NeededTokens) -> list[tuple[int, int, str]]:
    """Return the limits of tokens that a request exceeds, with what it needs, and per what.

    A lowered output cap saves tokens of a minute, but makes no request smaller than what its caller
    asked for.
    """
    limits = (
        (rule.max_tokens_per_request, needed.asked, "request"),
        (rule.tokens_per_minute, needed.sent, "minute"),
    )
    return [
        (limit, tokens, per)
        for limit, tokens, per in limits
        if limit is not None and tokens > limit
    ]


def refusal_for_searches(searches: int, *, rules: Sequence[Rule]) -> Refused | None:
    """Return the refusal of a request that could search the web where a policy allows none."""
    for rule in rules:
        if searches and rule.allows_no_search and not rule.is_watched:
            sentence = f'Request could search the web; policy "{rule.name}" allows no web searches'
            return Refused(WEB_SEARCH_LIMIT, sentence)
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
        DAILY_COST_LIMIT, sentence, balance=balance, bound_nanoeur=bound_nanoeur, now=now
    )


def no_room(
    code: str, sentence: str, *, balance: Balance, bound_nanoeur: int, now: datetime
) -> NoRoom:
    """Return the refusal of a call that did not fit, with the seconds until it may."""
    is_held = not balance.is_too_full_for(bound_nanoeur)
    if is_held:
        sentence += f" while calls in flight hold {format_eur(balance.held_nanoeur)}"
    ends_in_s = max(1, ceil((balance.ends_at - now).total_seconds()))
    return NoRoom(code, sentence, is_held=is_held, retry_after_s=1 if is_held else ends_in_s)


def explained(  # noqa: PLR0913  all that a policy can refuse
    rules: Sequence[Rule],
    *,
    verdicts: Sequence[str],
    dimensions: Dimensions,
    values: Mapping[str, str],
    needed_by: Callable[[Rule], NeededTokens | None],
    searches: int = 0,
) -> list[dict[str, object]]:
    """Return each policy's own verdict, for the decision trace.

    `verdicts` are those on the model, empty if the model is unknown; `values` are those that calls
    are named by; `needed_by` returns the tokens that it needs by a policy, None if they were not
    counted; `searches` are those that the provider could make. The ledger adds verdicts on the
    day's cost. A refusal for a dimension has its name. Of more than EXPLAINED_MAX, those that
    refuse and those with a limit per day, the smallest first, come before the others.
    """
    judged = [
        (rule, *_verdict(rule, verdict, dimensions, needed_by(rule), searches))
        for rule, verdict in zip_longest(rules, verdicts, fillvalue=NOT_CHECKED)
        if isinstance(rule, Rule)
    ]
    if len(judged) > EXPLAINED_MAX:
        judged = sorted(judged, key=_relevance)[:EXPLAINED_MAX]
    return [
        {
            "id": rule.id,
            "name": rule.name,
            "verdict": verdict,
            "max_tokens": rule.max_tokens_per_request,
            "limit_nanoeur": rule.max_cost_per_day_nanoeur,
            **({"mode": PolicyMode.WATCH.value} if rule.is_watched else {}),
            **({"applies_to": _why(rule, values)} if rule.applies_to else {}),
            **({"dimension": dimension} if dimension else {}),
        }
        for rule, verdict, dimension in judged
    ]


def _relevance(judged: _Judged) -> tuple[bool, int]:
    rule, verdict, _ = judged
    day_nanoeur = rule.max_cost_per_day_nanoeur
    return verdict in (OK, NOT_CHECKED) and day_nanoeur is None, day_nanoeur or 0


def _why(rule: Rule, values: Mapping[str, str]) -> dict[str, str | None]:
    """Return by which values a policy applies to a call."""
    return {name: values.get(name) for name, _ in rule.applies_to.named}


def explained_costs(  # noqa: PLR0913  keyword-only; all that a policy's cost is judged by
    entries: Sequence[Mapping[str, object]],
    rules: Sequence[Rule],
    before: Mapping[str, Balance],
    *,
    bound_nanoeur: int,
    least_of_watched: Mapping[str, int],
    of_session: Balance | None = None,
) -> list[Mapping[str, object]]:
    """Return the policies of a trace with verdicts on their cost per day.

    `before` are the balances by scope before the call was held, empty if no room was requested. A
    watched policy is judged on what the call would hold at least by it, and on its session, too: of
    those that are on, the trace has the session by itself.
    """
    by_id = {rule.id: rule for rule in rules}
    explained: list[Mapping[str, object]] = []
    for entry in entries:
        rule = by_id[str(entry["id"])]
        amount = least_of_watched.get(rule.id, bound_nanoeur)
        limit, day = rule.max_cost_per_day_nanoeur, before.get(rule.cost_scope)
        if entry["verdict"] == OK and limit is not None and day is not None:
            entry = {**entry, **_on_cost(limit, day, amount)}
        limit = rule.max_cost_per_session_nanoeur
        if entry["verdict"] == OK and rule.is_watched and limit is not None and of_session:
            entry = {**entry, "verdict": verdict_on_cost(limit, of_session, amount, SESSION_LIMIT)}
        explained.append(entry)
    return explained


def is_refused_by_watched(entries: Iterable[Mapping[str, object]]) -> bool | None:
    """Whether a watched policy of a trace would have refused the call; None if there is none."""
    watched = [each for each in entries if each.get("mode") == PolicyMode.WATCH]
    if not watched:
        return None
    return any(each["verdict"] not in (OK, NOT_CHECKED) for each in watched)


def _on_cost(limit_nanoeur: int, balance: Balance, bound_nanoeur: int) -> dict[str, object]:
    return {
        "verdict": verdict_on_cost(limit_nanoeur, balance, bound_nanoeur, DAILY_COST_LIMIT),
        "charged_nanoeur": balance.charged_nanoeur,
        "held_nanoeur": balance.held_nanoeur,
    }


def verdict_on_cost(limit_nanoeur: int, balance: Balance, bound_nanoeur: int, code: str) -> str:
    """Return the verdict of a limit of money: ok, `code` if it is spent, or that of a held one."""
    balance = replace(balance, limit_nanoeur=limit_nanoeur)
    if balance.has_room_for(bound_nanoeur):
        return OK
    return code if balance.is_too_full_for(bound_nanoeur) else HELD_CODE


def _verdict(
    rule: Rule,
    on_model: str,
    dimensions: Dimensions,
    needed: NeededTokens | None,
    searches: int,
) -> tuple[str, str | None]:
    """Return a policy's verdict, and the dimension that it is about, if it is about one."""
    if on_model != OK:
        return on_model, None
    if rule.requirements is not None and (failed := rule.requirements.failed(dimensions)):
        return failed
    if needed is not None and _exceeded(rule, needed):
        return TOO_MANY_TOKENS, None
    return WEB_SEARCH_LIMIT if searches and rule.allows_no_search else OK, None
