"""Replay past requests under a policy: what it would have blocked, and why.

The verdicts come from the functions that decide requests. What a row does not keep is inferred,
and each inference is named where it is made. Streams are held whole, also where the policy would
hold them in slices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import heappop, heappush
from typing import Final

from costs.core.admission import Balance, place_without_room, room_of
from costs.core.rate_limits import OverRate
from gateway.core.bounds import least_cap, output_cap, with_margin
from gateway.core.calls import Dimensions
from gateway.core.errors import Refused
from gateway.core.model_names import Model
from gateway.core.usage_bound import OutputLimits
from gateway.guards.dimensions import refusal_for_dimensions
from gateway.guards.policies import (
    NeededTokens,
    Rule,
    model_verdicts,
    refusal_for_cost,
    refusal_for_model,
    refusal_for_searches,
    refusal_for_tokens,
)
from gateway.guards.rates import rate_limit_of, refusal_for_rate
from gateway.guards.sessions import SessionRule
from gateway.policies.backtests.replayed_rates import ReplayedRates

MODELS_REMEMBERED: Final = 1_000
EVER: Final = datetime.min.replace(tzinfo=UTC)
# What earlier versions wrote for a caller that gave no cap, if the model's maximum is not below it.
EARLIER_CAP_TOKENS: Final = 4_096
# What so many input and output tokens of a model cost at most at a moment, in nano-euro; None
# where the model had no price then.
Price = Callable[[Model, datetime, int, int], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """An allowed request, as its audit row keeps it.

    `model` is None if the name is no longer known. `counted_tokens`, `cap_tokens`, what decided
    the cap (`cap_by`, None in older rows), the caller's own (`asked_tokens`) and `text_bytes` are
    the decision trace's, `bound_nanoeur` is what was held, None if nothing was, `input_tokens` and
    `output_tokens` are what the provider reported, `web_searches` how many it could make.
    `named_by` are the values by which policies name it, folded: a key by the first of its
    rotations.
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
    output_tokens: int | None = None
    web_searches: int = 0
    dimensions: Dimensions = field(default_factory=Dimensions)
    session_id: str | None = None
    named_by: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Spending:
    """What counts in one limit of money as the day goes on: charges, and holds that run."""

    limit_nanoeur: int
    charged_nanoeur: int = 0
    held_nanoeur: int = 0
    running: list[tuple[datetime, int, int]] = field(default_factory=list)

    def balance(self, moment: datetime, *, ends_at: datetime) -> Balance:
        """Return the balance at a moment, after what ended before it."""
        while self.running and self.running[0][0] <= moment:
            _, bound, cost = heappop(self.running)
            self.held_nanoeur -= bound
            self.charged_nanoeur += cost
        return Balance(
            limit_nanoeur=self.limit_nanoeur,
            charged_nanoeur=self.charged_nanoeur,
            held_nanoeur=self.held_nanoeur,
            ends_at=ends_at,
        )

    def hold(self, bound_nanoeur: int, cost_nanoeur: int, *, until: datetime) -> None:
        """Hold a call until it ends."""
        self.held_nanoeur += bound_nanoeur
        heappush(self.running, (until, bound_nanoeur, cost_nanoeur))


@dataclass(slots=True)
class ReplayedDay:
    """One day of the organization, replayed from its first request to its last under one policy.

    `spent_before` returns what a session has cost before the day.
    """

    rule: Rule
    ends_at: datetime
    price: Price
    spent_before: Callable[[str], int] = lambda _: 0
    _day: _Spending | None = None
    _sessions: dict[str, _Spending] = field(default_factory=dict)
    rates: ReplayedRates | None = field(init=False)

    def __post_init__(self) -> None:
        limit = rate_limit_of(self.rule)
        self.rates = ReplayedRates(limit=limit, refilled_at=EVER) if limit else None

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
            asked = _asked(past)
            needed = NeededTokens(
                asked=counted + (cap_tokens if asked is None else asked), sent=counted + cap_tokens
            )
            refusal = refusal_for_tokens(needed, rules=rules)
            if refusal is not None:
                return refusal
        # One that would have searched less often is held as it was.
        refusal = refusal_for_searches(past.web_searches, rules=rules)
        return refusal or self._judge_limits(past, cap_tokens)

    def _cap(self, past: PastRequest) -> int | None:
        """Return the output cap that the request would have had under the policy."""
        if past.cap_tokens is None or past.model is None:
            return past.cap_tokens
        rule = self.rule
        limits = (
            rule.tokens_at_most,
            rule.max_output_tokens,
            rule.max_cost_per_day_nanoeur,
            rule.max_cost_per_session_nanoeur if past.session_id else None,
        )
        return output_cap(
            past.model,
            output=OutputLimits(max_tokens=_asked(past)),
            text_tokens=_counted(past) or 0,
            input_tokens=_counted(past) or 0,
            token_limit=rule.tokens_at_most,
            output_limit=rule.max_output_tokens,
            is_limited=any(limit is not None for limit in limits),
        ).tokens

    def _judge_limits(self, past: PastRequest, cap_tokens: int | None) -> Refused | None:
        """Judge money that is spent, then rates, then money that calls in flight hold."""
        bound = past.bound_nanoeur
        if bound is None:
            return None
        spendings = [each for each in (self._of_day(), self._of_session(past)) if each is not None]
        bound -= self._saved_by_cap(past, cap_tokens)
        before = [each.balance(past.occurred_at, ends_at=self.ends_at) for each in spendings]
        if place_without_room(before, bound) is not None:
            bound -= self._saved_by_counting(past)
            lowest = bound - self._saved_by_room(past, cap_tokens)
            bound = max(lowest, min(bound, room_of(before)))
        full = place_without_room(before, bound)
        if full is not None and before[full].is_too_full_for(bound):
            return self._refusal(past, spendings[full], before[full], bound)
        tokens = _rated_tokens(past, cap_tokens)
        turn = self.rates.turn(past.occurred_at, tokens) if self.rates else past.occurred_at
        if isinstance(turn, OverRate):
            return refusal_for_rate(turn)
        moment, before = self._waited(past, spendings, turn, bound)
        full = place_without_room(before, bound)
        if full is not None:
            return self._refusal(past, spendings[full], before[full], bound)
        until = (past.ended_at or self.ends_at) + (moment - past.occurred_at)
        for spending in spendings:
            spending.hold(bound, past.cost_nanoeur, until=until)
        if self.rates:
            self.rates.take(moment, tokens, ends_at=until, used=_used_tokens(past))
        return None

    def _waited(
        self,
        past: PastRequest,
        spendings: Sequence[_Spending],
        moment: datetime,
        bound_nanoeur: int,
    ) -> tuple[datetime, list[Balance]]:
        """Return when the request has room, from its turn on within the time that it may wait, and
        the balances then.

        Those that came meanwhile are behind it, so no limit need be set back for them.
        """
        until = past.occurred_at + timedelta(seconds=self.rule.wait_s)
        before = [each.balance(moment, ends_at=self.ends_at) for each in spendings]
        while (
            place_without_room(before, bound_nanoeur) is not None
            and not any(each.is_too_full_for(bound_nanoeur) for each in before)
            and (ends_at := min(each.running[0][0] for each in spendings if each.running)) <= until
        ):
            moment = ends_at
            before = [each.balance(moment, ends_at=self.ends_at) for each in spendings]
        return moment, before

    def _of_day(self) -> _Spending | None:
        limit = self.rule.max_cost_per_day_nanoeur
        if limit is not None and self._day is None:
            self._day = _Spending(limit)
        return self._day

    def _of_session(self, past: PastRequest) -> _Spending | None:
        limit, session_id = self.rule.max_cost_per_session_nanoeur, past.session_id
        if limit is None or session_id is None:
            return None
        if session_id not in self._sessions:
            self._sessions[session_id] = _Spending(limit, self.spent_before(session_id))
        return self._sessions[session_id]

    def _refusal(
        self, past: PastRequest, full: _Spending, balance: Balance, bound_nanoeur: int
    ) -> Refused:
        now = past.occurred_at
        if full is self._day:
            return refusal_for_cost(
                self.rule, bound_nanoeur=bound_nanoeur, balance=balance, now=now
            )
        rule = SessionRule(session_id=past.session_id or "", rules=(self.rule,))
        return rule.refusal(bound_nanoeur=bound_nanoeur, balance=balance, now=now)

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
        return self._price(past, input_tokens=past.text_bytes - with_margin(counted))

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


def _rated_tokens(past: PastRequest, cap_tokens: int | None) -> int:
    """Return the tokens that a request takes from rates: none of one that holds no money, as one
    that counts tokens.
    """
    return (_counted(past) or 0) + (cap_tokens or 0) if past.bound_nanoeur else 0


def _used_tokens(past: PastRequest) -> int | None:
    """Return the tokens that the provider reported, or None if it is not known."""
    if past.input_tokens is None and past.output_tokens is None:
        return None
    return (past.input_tokens or 0) + (past.output_tokens or 0)


def _asked(past: PastRequest) -> int | None:
    """Return the cap that the caller set, if any; of older rows, any that the gateway did not."""
    if past.cap_by is not None or past.model is None:
        return past.asked_tokens
    most = past.model.max_output_tokens
    return None if past.cap_tokens in (min(EARLIER_CAP_TOKENS, most), most) else past.cap_tokens
