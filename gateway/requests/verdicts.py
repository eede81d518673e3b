"""The verdicts of policies and budgets on a request, as its trace keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from costs.core.rate_limits import RateKind
from gateway.console.sentences import listed
from gateway.core.errors import HELD_CODE
from gateway.core.traces import integer, mapping, text
from gateway.guards.budgets import EACH
from gateway.guards.dimensions import MISSING
from gateway.guards.policies import PolicyMode
from gateway.guards.sessions import PER
from gateway.models import AiRequestLog
from gateway.policies.names import NAMED_WORDS

GOOD: Final = "good"
WAIT: Final = "wait"
BAD: Final = "bad"
IDLE: Final = "idle"
TONES_OF: Final = {"ok": GOOD, "not reached": IDLE, "not known": IDLE}
# Traces keep "not reached" for what was not checked after a refusal.
LABELS: Final = {
    "not reached": "not checked",
    "not known": "unknown",
    HELD_CODE: "full (held by running calls)",
}
PER_RATE: Final = {
    RateKind.REQUESTS.value: "requests per minute",
    RateKind.TOKENS.value: "tokens per minute",
    RateKind.CONCURRENT.value: "concurrent requests",
}

NOT_BY_POLICY: Final = "Refused by the gateway, not by a policy."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict of one policy; `applies_to` are the values by which it applies to the call, in
    words.
    """

    id: str | None
    name: str
    code: str
    word: str
    tone: str
    limit_nanoeur: int | None
    max_tokens: int | None
    is_refusal: bool = False
    is_watched: bool = False
    is_over_rate: bool = False
    applies_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetVerdict:
    """The verdict of one budget, or of a policy on a session, and what was left of it before.

    `budget_id` is None once the budget is deleted, and of a session. `each` is what the limit is
    for if it is for each, such as a member: here it is the caller's.
    """

    budget_id: str | None
    name: str
    code: str
    word: str
    tone: str
    per: str
    limit_nanoeur: int | None
    left_nanoeur: int | None
    is_hard: bool
    each: str

    @property
    def is_of_session(self) -> bool:
        """Whether it is a policy's, on a session."""
        return self.per == PER


def judgement(
    row: AiRequestLog, verdicts: Sequence[Verdict], budgets: Sequence[BudgetVerdict]
) -> str:
    """Return who refused a request, or that it was not refused."""
    if row.status == "blocked" and row.code == HELD_CODE:
        by = row.decision.get("refused_by")
        enforced = [each for each in verdicts if not each.is_watched]
        over = next((each for each in enforced if each.is_over_rate and each.id == by), None)
        if over is not None:
            return f'Blocked by policy "{over.name}": {over.word}.'
        limits: list[Verdict | BudgetVerdict] = [*enforced, *budgets]
        names = [f'"{each.name}"' for each in limits if each.code == HELD_CODE]
        return f"Running calls held what was left of {listed(names)}." if names else NOT_BY_POLICY
    if row.status == "blocked":
        if (full := next((each for each in budgets if each.code == row.code), None)) is not None:
            of = "policy" if full.is_of_session else "budget"
            return f'Blocked by {of} "{full.name}": not enough is left this {full.per}.'
        # Each policy is checked by itself; of those with the request's own code, the first was
        # decisive, unless the ledger named another.
        refusing = [
            verdict for verdict in verdicts if verdict.code == row.code and not verdict.is_watched
        ]
        named = (each for each in refusing if each.id == row.decision.get("refused_by"))
        refused = next(named, refusing[0] if refusing else None)
        if refused is not None:
            return f'Blocked by policy "{refused.name}".'
        return NOT_BY_POLICY
    sentence = _allowed(verdicts)
    if any(not each.is_of_session for each in budgets):
        sentence += " Allowed by every budget that applies to it."
    if any(each.is_of_session for each in budgets):
        sentence += " Within the limit of its session."
    return sentence


def _allowed(verdicts: Sequence[Verdict]) -> str:
    watched = [f'"{each.name}"' for each in verdicts if each.is_watched and each.is_refusal]
    if watched:
        return f"Allowed. It would have been refused by {listed(watched)}, which only watches."
    return "Allowed by every policy." if verdicts else "No policy was active."


def budget_verdict_of(item: Mapping[str, Any], budget_ids: Collection[str]) -> BudgetVerdict:
    """Return a trace's entry of a budget; `budget_ids` are those that are still there."""
    code, budget_id = _code(item), text(item.get("id"))
    limit, charged, held = (
        integer(item.get(name)) for name in ("limit_nanoeur", "charged_nanoeur", "held_nanoeur")
    )
    is_known = limit is not None and charged is not None and held is not None
    return BudgetVerdict(
        budget_id=budget_id if budget_id in budget_ids else None,
        name=text(item.get("name")) or "unnamed",
        code=code,
        word=LABELS.get(code, code.replace("_", " ")),
        tone=TONES_OF.get(code, BAD),
        per=text(item.get("span")) or "period",
        limit_nanoeur=limit,
        left_nanoeur=max(0, (limit or 0) - (charged or 0) - (held or 0)) if is_known else None,
        is_hard=item.get("is_hard") is not False,
        each=EACH.get(text(item.get("each")) or "", ""),
    )


def _code(item: Mapping[str, Any]) -> str:
    return text(item.get("verdict")) or "not known"


def _on_dimension(item: Mapping[str, Any], code: str) -> str | None:
    """Return the verdict on a dimension, which it names, or None if it is about another limit."""
    name = text(item.get("dimension"))
    if name is None:
        return None
    word = name.removesuffix("_id").replace("_", " ")
    return f"{word} required" if code == MISSING else f"{word} not known"


def _over_rate(item: Mapping[str, Any], code: str) -> str | None:
    """Return which rates of a policy kept a call out, or None if none did."""
    rates = item.get("rates")
    over = [
        f"{integer(each.get('used'))} of {integer(each.get('limit'))} {PER_RATE[each['of']]} used"
        for each in (rates if isinstance(rates, list) and code == HELD_CODE else ())
        if isinstance(each, dict) and each.get("of") in PER_RATE and each.get("available_in_s") != 0
    ]
    return "; ".join(over) or None


def verdict_of(item: Mapping[str, Any], names: Mapping[str, str]) -> Verdict:
    """Return a trace's entry of a policy; `names` are those of keys and people in it, by id."""
    code = _code(item)
    is_watched, is_refusal = item.get("mode") == PolicyMode.WATCH, code not in TONES_OF
    over = _over_rate(item, code)
    return Verdict(
        id=text(item.get("id")),
        name=text(item.get("name")) or "unnamed",
        code=code,
        word=_on_dimension(item, code) or over or LABELS.get(code, code.replace("_", " ")),
        tone=WAIT if is_watched and is_refusal else TONES_OF.get(code, BAD),
        limit_nanoeur=integer(item.get("limit_nanoeur")),
        max_tokens=integer(item.get("max_tokens")),
        is_refusal=is_refusal,
        is_watched=is_watched,
        is_over_rate=over is not None,
        applies_to=tuple(
            f"{NAMED_WORDS.get(name, name)} {names.get(f'{value}', value)}"
            for name, value in mapping(item.get("applies_to")).items()
        ),
    )
