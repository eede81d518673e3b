"""Replay past requests under a policy: what it would have blocked, and why.

The verdicts come from the functions that decide requests. What a row does not keep is inferred,
and each inference is named where it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from heapq import heappop, heappush
from typing import Final

from costs.core.admission import Balance
from gateway.core.bounds import COUNTED_MARGIN_PERCENT, least_cap, output_cap
from gateway.core.calls import Dimensions
from gateway.core.errors import Refused
from gateway.core.model_names import Model
from gateway.core.usage_bound import OutputLimits
from gateway.guards.dimensions import refusal_for_dimensions
from gateway.guards.policies import (
    Rule,
    model_verdicts,
    refusal_for_cost,
    refusal_for_model,
    refusal_for_tokens,
)

MODELS_REMEMBERED: Final = 1_000
# What earlier versions wrote for a caller that gave no cap, if the model's maximum is not below it.
EARLIER_CAP_TOKENS: Final = 4_096
# What so many input and output tokens of a model cost at most at a moment, in nano-euro; None
# where the model had no price then.
Price = Callable[[Model, datetime, int, int], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """A request that was let through, as its audit row keeps it.

    `model` is None if the name is no longer known. `counted_tokens`, `cap_tokens`, what decided
    the cap (`cap_by`, None in older rows), the caller's own (`asked_tokens`) and `text_bytes` are
    the decision trace's, `bound_nanoeur` is what was held, `input_tokens` what the provider
    reported.
    """

    occurred_at: datetime
    ended_at: datetime | None
    named: str
    model: Model | None
    text_bytes: int | None
    counted_tokens: int | None
    input_tokens: int | None
    cap_tokens: int | None
    bound_nanoeur: int | None
    cost_nanoeur: int
    cap_by: str | None = None
    asked_tokens: int | None = None
    dimensions: Dimensions = field(default_factory=Dimensions)


@dataclass(slots=True)
class ReplayedDay:
    """One day of the organization, replayed from its first request to its last under one policy."""

    rule: Rule
    ends_at: datetime
    price: Price
    _charged_nanoeur: int = 0
    _held_nanoeur: int = 0
    _running: list[tuple[datetime, int, int]] = field(default_factory=list)

    def judge(self, past: PastRequest) -> Refused | None:
        """Return why the policy would have refused the request, or None. Oldest first."""
        rules = (self.rule,)
        if past.model is not None:
            refusal = refusal_for_model(
                _verdicts(past.model, self.rule), named=past.named, rules=rules
            )
            if refusal is not None:
                return refusal
        if self.rule.requirements is not None:
            named = ((self.rule.name, self.rule.requirements),)
            if (refusal := refusal_for_dimensions(past.dimensions, named)) is not None:
                return refusal
        cap_tokens, counted = self._cap(past), _counted(past)
        if counted is not None and cap_tokens is not None:
            refusal = refusal_for_tokens(counted + cap_tokens, rules=rules)
            if refusal is not None:
                return refusal
        return self._judge_cost(past, cap_tokens)

    def _cap(self, past: PastRequest) -> int | None:
        """Return the output cap that the request would have had under the policy."""
        if past.cap_tokens is None or past.model is None:
            return past.cap_tokens
        rule = self.rule
        limits = (
            rule.max_tokens_per_request,
            rule.max_output_tokens,
            rule.max_cost_per_day_nanoeur,
        )
        return output_cap(
            past.model,
            output=OutputLimits(max_tokens=_asked(past)),
            text_tokens=_counted(past) or 0,
            input_tokens=_counted(past) or 0,
            token_limit=rule.max_tokens_per_request,
            output_limit=rule.max_output_tokens,
            is_limited=any(limit is not None for limit in limits),
        ).tokens

    def _judge_cost(self, past: PastRequest, cap_tokens: int | None) -> Refused | None:
        bound = past.bound_nanoeur
        if bound is None or self.rule.max_cost_per_day_nanoeur is None:
            return None
        self._end_what_ended_before(past.occurred_at)
        bound -= self._saved_by_cap(past, cap_tokens)
        balance = Balance(
            limit_nanoeur=self.rule.max_cost_per_day_nanoeur,
            charged_nanoeur=self._charged_nanoeur,
            held_nanoeur=self._held_nanoeur,
            ends_at=self.ends_at,
        )
        if not balance.has_room_for(bound):
            bound -= self._saved_by_counting(past)
            lowest = bound - self._saved_by_room(past, cap_tokens)
            bound = max(lowest, min(bound, balance.left_nanoeur or 0))
            if not balance.has_room_for(bound):
                return refusal_for_cost(
                    self.rule, bound_nanoeur=bound, balance=balance, now=past.occurred_at
                )
        self._held_nanoeur += bound
        ended_at = past.ended_at or self.ends_at
        heappush(self._running, (ended_at, bound, past.cost_nanoeur))
        return None

    def _end_what_ended_before(self, moment: datetime) -> None:
        running = self._running
        while running and running[0][0] <= moment:
            _, bound, cost = heappop(running)
            self._held_nanoeur -= bound
            self._charged_nanoeur += cost

    def _saved_by_cap(self, past: PastRequest, cap_tokens: int | None) -> int:
        """Return by how much the policy's own output cap makes the bound smaller."""
        if past.model is None or past.cap_tokens is None or cap_tokens is None:
            return 0
        return self._price(past, output_tokens=past.cap_tokens - cap_tokens)

    def _saved_by_room(self, past: PastRequest, cap_tokens: int | None) -> int:
        """Return by how much lowering the cap to the room makes the bound smaller at most."""
        if past.model is None or cap_tokens is None:
            return 0
        least = least_cap(OutputLimits(max_tokens=_asked(past)), past.model)
        return self._price(past, output_tokens=cap_tokens - least)

    def _saved_by_counting(self, past: PastRequest) -> int:
        """Return by how much the vendor's own tokenizer would have made the bound smaller."""
        counted = _counted(past)
        if counted is None or past.text_bytes is None:
            return 0
        if past.model is None or past.model.token_margin != 1.0:
            return 0  # only a vendor's own tokenizer is below the bytes
        at_most = counted + -(-counted * COUNTED_MARGIN_PERCENT // 100)
        return self._price(past, input_tokens=past.text_bytes - at_most)

    def _price(self, past: PastRequest, *, input_tokens: int = 0, output_tokens: int = 0) -> int:
        """Return what the tokens cost at the request's rates; 0 where there is no saving."""
        if past.model is None or input_tokens + output_tokens <= 0:
            return 0
        return self.price(past.model, past.occurred_at, input_tokens, output_tokens) or 0


@lru_cache(maxsize=MODELS_REMEMBERED)
def _verdicts(model: Model, rule: Rule) -> tuple[str, ...]:
    """Return the policy's verdict on a model, of which a day's requests name few."""
    return model_verdicts(model, (rule,))


def _counted(past: PastRequest) -> int | None:
    """Return the input as it was counted, else, where no policy wanted a count, as reported."""
    return past.input_tokens if past.counted_tokens is None else past.counted_tokens


def _asked(past: PastRequest) -> int | None:
    """Return the cap that the caller set, if any; of older rows, any that the gateway did not."""
    if past.cap_by is not None or past.model is None:
        return past.asked_tokens
    most = past.model.max_output_tokens
    return None if past.cap_tokens in (min(EARLIER_CAP_TOKENS, most), most) else past.cap_tokens
