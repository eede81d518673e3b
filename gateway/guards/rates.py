"""The rates of policies: requests and tokens per minute, and requests at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from costs.core.admission import Admitted, RateExceeded
from costs.core.rate_limits import OverRate, RateKind, RateLimit, RateState
from gateway.core.errors import HELD_CODE, NoRoom
from gateway.guards.policies import OK, Rule
from orgs.core.frozen import frozen

PER_MINUTE: Final = (RateKind.REQUESTS, RateKind.TOKENS)


def rate_limit_of(rule: Rule) -> RateLimit | None:
    """Return the rates of a policy that the ledger enforces, or None if it has none.

    Its scope stays when the figures change, and so does what is taken.
    """
    figures = (rule.requests_per_minute, rule.tokens_per_minute, rule.concurrent_requests)
    if not any(figures):
        return None
    requests_per_minute, tokens_per_minute, concurrent_requests = figures
    return RateLimit(
        scope=rate_scope(rule.id),
        name=rule.name,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent_requests=concurrent_requests,
        wait_s=rule.wait_s,
        is_watched=rule.is_watched,
    )


def rate_scope(policy_id: str) -> str:
    """Return the scope of a policy's rates."""
    return f"policy:{policy_id}"


def refusal_for_rate(over: OverRate) -> NoRoom:
    """Return the refusal of a call that is over a rate."""
    state, kind, name = over.state, over.kind, over.state.limit.name
    most, retry = state.limit.most(kind), f"retry in {over.retry_after_s} s"
    match kind:
        case RateKind.REQUESTS:
            sentence = f'Request exceeds {most} requests per minute of policy "{name}"; {retry}'
        case RateKind.TOKENS:
            sentence = (
                f'Request needs up to {over.tokens} tokens; policy "{name}" allows {most} '
                f"per minute and {state.left(kind)} are left; {retry}"
            )
        case RateKind.CONCURRENT:
            sentence = f'Request exceeds {most} concurrent requests of policy "{name}"; {retry}'
    return NoRoom(HELD_CODE, sentence, is_held=True, retry_after_s=over.retry_after_s)


def explained_rates(
    entries: Sequence[Mapping[str, object]],
    states: Sequence[RateState],
    *,
    tokens: int,
    over: OverRate | None = None,
) -> dict[str, object]:
    """Return the policies of a trace with what was taken of their rates before a call of so many
    tokens, and the verdicts of those that let it pass otherwise; the id of the one that is `over`.
    """
    by_scope = {state.limit.scope: state for state in states}
    explained: list[Mapping[str, object]] = []
    refused_by: dict[str, object] = {}
    for entry in entries:
        state = by_scope.get(rate_scope(str(entry["id"])))
        if state is None:
            explained.append(entry)
            continue
        rates = shown_rates(state, tokens)
        is_over = entry["verdict"] == OK and any(each["available_in_s"] != 0 for each in rates)
        verdict = HELD_CODE if is_over else entry["verdict"]
        explained.append({**entry, "verdict": verdict, "rates": rates})
        if over is not None and over.state.limit.scope == state.limit.scope:
            refused_by = {"refused_by": entry["id"]}
    return {"policies": explained, **refused_by}


def shown_rates(state: RateState, tokens: int) -> list[dict[str, object]]:
    """Return each limit of a rate: what is used of it, and the seconds until a call of so many
    tokens is within it: 0 now, None if that is when a call in flight ends.
    """
    lacking = {
        kind: wait_s if kind in PER_MINUTE else None for kind, wait_s in state.lacking(tokens)
    }
    return [
        {
            "of": kind.value,
            "limit": most,
            "used": state.used(kind),
            "available_in_s": lacking.get(kind, 0.0),
        }
        for kind, most in state.limit.figures.items()
    ]


@frozen
class RateLeft:
    """What is left of a limit per minute after a call `at` a moment, and in how many seconds it is
    all of it.
    """

    kind: RateKind
    most: int
    left: int
    full_in_s: float
    at: datetime


def rates_left(answer: Admitted | RateExceeded, *, tokens: int) -> tuple[RateLeft, ...]:
    """Return what policies leave after a call of so many tokens: of each kind the least."""
    left: dict[RateKind, RateLeft] = {}
    for before in answer.rates:
        if before.limit.is_watched:
            continue
        is_taken = isinstance(answer, Admitted)
        state = before.after(requests=1, tokens=tokens) if is_taken else before
        for kind, most in state.limit.figures.items():
            least = state.left(kind) or 0
            if kind not in PER_MINUTE or (kind in left and left[kind].left <= least):
                continue
            full_in_s = state.full_in_s(kind)
            left[kind] = RateLeft(
                kind=kind, most=most, left=least, full_in_s=full_in_s, at=answer.now
            )
    return tuple(left.values())
