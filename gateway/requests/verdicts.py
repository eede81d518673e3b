"""The verdicts of policies and budgets on a request, as its trace keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.traces import integer, text
from gateway.guards.dimensions import MISSING
from gateway.models import AiRequestLog

GOOD: Final = "good"
WAIT: Final = "wait"
BAD: Final = "bad"
IDLE: Final = "idle"
TONES_OF: Final = {"ok": GOOD, "not reached": IDLE, "not known": IDLE}
# Traces keep "not reached" for what was not checked after a refusal.
LABELS: Final = {"not reached": "not checked", "not known": "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict of one policy."""

    name: str
    code: str
    word: str
    tone: str
    limit_nanoeur: int | None
    max_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetVerdict:
    """The verdict of one budget, and what was left of it before.

    `budget_id` is None once the budget is deleted.
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


def judgement(
    row: AiRequestLog, verdicts: Sequence[Verdict], budgets: Sequence[BudgetVerdict]
) -> str:
    """Return who refused a request, or that it was not refused."""
    if row.status == "blocked":
        if (full := next((each for each in budgets if each.code == row.code), None)) is not None:
            return f'Blocked by budget "{full.name}": not enough is left this {full.per}.'
        # Each policy is checked by itself; the first with the request's own code was decisive.
        refused = next((verdict for verdict in verdicts if verdict.code == row.code), None)
        if refused is not None:
            return f'Blocked by policy "{refused.name}".'
        return "Refused by the gateway, not by a policy."
    sentence = "Allowed by every policy." if verdicts else "No policy was active."
    return f"{sentence} Allowed by every budget that applies to it." if budgets else sentence


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


def verdict_of(item: Mapping[str, Any]) -> Verdict:
    """Return a trace's entry of a policy."""
    code = _code(item)
    return Verdict(
        name=text(item.get("name")) or "unnamed",
        code=code,
        word=_on_dimension(item, code) or LABELS.get(code, code.replace("_", " ")),
        tone=TONES_OF.get(code, BAD),
        limit_nanoeur=integer(item.get("limit_nanoeur")),
        max_tokens=integer(item.get("max_tokens")),
    )
