"""The stages of checking a call: frozen values, each of which holds the previous one."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from costs.core.admission import Limit
from costs.core.rates import Rates
from costs.core.usage import STANDARD_PLACE, UsageCeiling
from costs.prices.book import PriceBook
from gateway.call.snapshot import OrganizationSnapshot
from gateway.core import bounds
from gateway.core.calls import Call, Outgoing, Principal
from gateway.core.errors import GatewayError
from gateway.core.model_names import Model
from gateway.core.usage_bound import BY_BYTES, OutputCap, ToolUses, UsageBound
from gateway.guards.budgets import BudgetRule
from gateway.guards.cost_limits import CostLimit
from gateway.guards.policies import explained
from gateway.guards.rule_sets import RuleSet
from gateway.guards.sessions import SessionRule
from gateway.providers.rows import ProviderBook
from orgs.core.frozen import frozen


@frozen
class RequestedCall:
    """A call and the snapshots that it is checked on.

    Its tokens are counted if a policy limits them, or if `counts` is set. It may be sent to any of
    the `providers`, at which a call with a `request_id` gets a place.
    """

    call: Call
    principal: Principal
    organization: OrganizationSnapshot
    prices: PriceBook
    judged_at: datetime
    providers: ProviderBook
    counts: bool = False
    request_id: UUID | None = None

    def named_by(self, provider: str | None = None) -> dict[str, str]:
        """Return the values by which policies can name the call, at this provider."""
        principal = self.principal
        key_id = principal.key_lineage or principal.key_id
        return {
            **self.call.dimensions.as_dict(),
            "channel": principal.channel,
            **({"key_id": str(key_id)} if key_id else {}),
            **({"provider": provider} if provider else {}),
        }

    @property
    def rules(self) -> RuleSet:
        """The policies that apply to the call at any provider."""
        return self.organization.rules.of(self.named_by())


@frozen
class ResolvedCall:
    """A call with a known model, the policies that apply to it with their verdicts on the model,
    and the budgets and the limited session that it counts in.
    """

    requested: RequestedCall
    model: Model
    text_bytes: int
    rules: RuleSet
    verdicts: tuple[str, ...]
    budgets: tuple[BudgetRule, ...]
    session: SessionRule | None = None

    @property
    def cost_limits(self) -> tuple[CostLimit, ...]:
        """The limits of money that it counts in, the organization's day first."""
        session = (self.session,) if self.session else ()
        return (*self.rules.days, *self.budgets, *session)

    def place(self, reported: str = STANDARD_PLACE) -> str:
        """Return where the call is processed: where it was, else where it asks to be, else at the
        host.
        """
        for named in (reported, self.usage_bound.place):
            if named != STANDARD_PLACE:
                return named
        return self.model.served_by.place

    @property
    def usage_bound(self) -> UsageBound:
        """The measured size of the request."""
        return self.requested.call.usage_bound

    @property
    def is_limited(self) -> bool:
        """Whether a limit applies to the call, so that it needs a bound."""
        is_in_session = self.session is not None
        return self.rules.is_limited or is_in_session or any(rule.is_hard for rule in self.budgets)


@frozen
class CappedCall:
    """A call whose output has a cap.

    `counted_tokens` is None if the count was not needed; it is `counted_text` plus everything that
    is not text.
    """

    resolved: ResolvedCall
    cap: OutputCap
    counted_text: int | None = None
    counted_tokens: int | None = None

    @property
    def needed_tokens(self) -> int | None:
        """Counted input plus the output of all choices; None if not counted."""
        if self.counted_tokens is None:
            return None
        asked = self.resolved.requested.call.usage_bound.output
        output = asked and asked.with_cap(self.cap)
        return self.counted_tokens + bounds.output_tokens_at_most(output, self.resolved.model)

    @property
    def rated_tokens(self) -> int:
        """The tokens that it takes from rates; none of a call that is free."""
        return 0 if self.resolved.usage_bound.is_free else self.needed_tokens or 0


@frozen
class PricedCall:
    """A call with its outgoing request and its rates: None if it is free.

    Everything is decided and written into the request: its bound is read from there.
    """

    capped: CappedCall
    outgoing: Outgoing
    rates: Rates | None

    @property
    def sent_cap(self) -> int | None:
        """The output cap in the outgoing request; None if it has none."""
        return self.outgoing.output.max_tokens if self.outgoing.output else None

    @property
    def uses(self) -> ToolUses:
        """What tools at the provider can add to the outgoing request."""
        return bounds.uses_at_most(self.outgoing.uses, self.capped.resolved.model)

    def ceiling(self, *, input_tokens: int, cap_tokens: int | None = None) -> UsageCeiling:
        """Return the maximum usage of the call as it is sent, with so much input.

        With `cap_tokens`, as it would be sent with this lower cap.
        """
        model, usage_bound = self.capped.resolved.model, self.capped.resolved.usage_bound
        uses, output = self.uses, self.outgoing.output
        if output is not None and cap_tokens is not None:
            output = output.with_cap(OutputCap(cap_tokens, is_written=True))
        return UsageCeiling(
            input_tokens=input_tokens,
            output_tokens=bounds.output_tokens_at_most(
                output,
                model,
                context_reads=max(1, usage_bound.context_reads) + uses.compactions,
            )
            + uses.reads * uses.written,
            service_tier=usage_bound.service_tier,
            place=self.capped.resolved.place(),
            web_searches=0 if uses.by_preview else uses.searches,
            web_search_previews=uses.searches if uses.by_preview else 0,
            without=bounds.not_possible(usage_bound),
            at_highest_rates=bool(usage_bound.unknown),
        )


@frozen
class BoundedCall:
    """A call ready to be reserved: with at most `input_tokens` it costs at most `whole_nanoeur`.

    They are bounded by the bytes, by the vendor's own tokenizer, or by its count: the vendor is
    asked only while that `can_be_counted`. `bound_nanoeur` is held at admission: all of it, or the
    input and the first `slice_tokens`.
    """

    priced: PricedCall
    bound_nanoeur: int
    whole_nanoeur: int
    input_tokens: int
    bound_by: str = BY_BYTES
    can_be_counted: bool = False
    slice_tokens: int | None = None

    @property
    def capped(self) -> CappedCall:
        """The call with its cap."""
        return self.priced.capped

    @property
    def resolved(self) -> ResolvedCall:
        """The call with its model."""
        return self.priced.capped.resolved

    @property
    def requested(self) -> RequestedCall:
        """The call as received."""
        return self.priced.capped.resolved.requested

    @property
    def can_be_tightened(self) -> bool:
        """Whether a tighter bound is possible: only a vendor's own tokenizer is below the bytes."""
        is_own = self.resolved.model.token_margin == 1.0
        return self.bound_by == BY_BYTES and is_own and self.bound_nanoeur > 0

    @property
    def least_cap(self) -> int:
        """The cap below which the room of a limit of money does not lower the call's: its own if it
        is held in slices.
        """
        if self.slice_tokens is not None:
            return self.capped.cap.tokens
        asked = self.resolved.usage_bound.output
        return min(self.capped.cap.tokens, bounds.least_cap(asked, self.resolved.model))

    @property
    def can_cost_less(self) -> bool:
        """Whether a lower bound is possible: a tighter one, or by a lower output cap."""
        is_lower = self.can_be_tightened or self.can_be_counted
        return is_lower or self.capped.cap.tokens > self.least_cap


@frozen
class RefusedCall:
    """A refused call: its refusal, and the last stage that it `reached`."""

    refusal: GatewayError
    reached: RequestedCall | ResolvedCall | CappedCall | PricedCall | BoundedCall

    @property
    def bound_nanoeur(self) -> int | None:
        """The bound, if the call has one."""
        return self.reached.bound_nanoeur if isinstance(self.reached, BoundedCall) else None

    @property
    def priced(self) -> PricedCall | None:
        """The call with its rates, if that stage was reached."""
        if isinstance(self.reached, BoundedCall):
            return self.reached.priced
        return self.reached if isinstance(self.reached, PricedCall) else None

    @property
    def capped(self) -> CappedCall | None:
        """The call with its cap, if that stage was reached."""
        if (priced := self.priced) is not None:
            return priced.capped
        return self.reached if isinstance(self.reached, CappedCall) else None

    @property
    def resolved(self) -> ResolvedCall | None:
        """The call with its model, if that stage was reached."""
        if (capped := self.capped) is not None:
            return capped.resolved
        return self.reached if isinstance(self.reached, ResolvedCall) else None

    @property
    def requested(self) -> RequestedCall:
        """The call as received."""
        if (resolved := self.resolved) is not None:
            return resolved.requested
        if isinstance(self.reached, RequestedCall):
            return self.reached
        raise AssertionError("every stage but the first holds the one before it")


JudgedCall = BoundedCall | RefusedCall


def rules_of(judged: JudgedCall) -> RuleSet:
    """Return the policies that apply to a call."""
    return judged.resolved.rules if judged.resolved else judged.requested.rules


def cost_limits_of(judged: JudgedCall) -> tuple[CostLimit, ...]:
    """Return the limits of money that a call counts in, the organization's day first."""
    return judged.resolved.cost_limits if judged.resolved else judged.requested.rules.days


def limits_of(judged: JudgedCall) -> tuple[Limit, ...]:
    """Return what the ledger enforces of them."""
    return tuple([each.limit for each in cost_limits_of(judged)])


def decision_trace(judged: JudgedCall) -> dict[str, Any]:
    """Return the decision trace: what was checked, in order."""
    requested, resolved, capped = judged.requested, judged.resolved, judged.capped
    priced = judged.priced
    call, organization, rules = requested.call, requested.organization, rules_of(judged).rules
    policies = explained(
        rules,
        verdicts=resolved.verdicts if resolved else (),
        dimensions=call.dimensions,
        values=requested.named_by(resolved.model.provider if resolved else None),
        needed_tokens=capped.needed_tokens if capped else None,
        searches=priced.uses.searches if priced else 0,
    )
    return {
        "model": {
            "requested": call.model,
            "meant": resolved.model.id if resolved else None,
            "provider": resolved.model.provider if resolved else None,
        },
        "input": {
            "bytes": resolved.text_bytes if resolved else 0,
            "counted_tokens": capped.counted_tokens if capped else None,
            "kept_tokens": (
                bounds.kept_tokens(call.usage_bound, resolved.model)
                if resolved and call.usage_bound.kept
                else None
            ),
        },
        "output_cap": cap_tokens(judged),
        "output_cap_by": capped.cap.by if capped and call.usage_bound.output else None,
        "output_cap_asked": call.usage_bound.output and call.usage_bound.output.max_tokens,
        "web_searches": priced.uses.searches if priced else None,
        "unknown": list(call.usage_bound.unknown),
        "adjustments": list(priced.outgoing.adjustments) if priced else [],
        "answers": output.choices if (output := call.usage_bound.output) else 1,
        "bound_nanoeur": judged.bound_nanoeur,
        "bound_by": _bound_by(judged),
        **_slices(judged),
        "policies": policies,
        "policies_left_out": len(rules) - len(policies),
        "policies_of_other_calls": len(organization.rules.rules) - len(rules),
        "config_version": organization.config_version,
    }


def cap_tokens(judged: JudgedCall) -> int | None:
    """Return the cap as it is sent, else as it was decided."""
    if judged.priced is not None and judged.priced.sent_cap is not None:
        return judged.priced.sent_cap
    return judged.capped.cap.tokens if judged.capped else None


def _slices(judged: JudgedCall) -> dict[str, Any]:
    """Return how a call is held whose hold grows with its output."""
    bounded = judged.reached if isinstance(judged, RefusedCall) else judged
    if not isinstance(bounded, BoundedCall) or bounded.slice_tokens is None:
        return {}
    return {
        "hold": "slices",
        "slice_tokens": bounded.slice_tokens,
        "whole_bound_nanoeur": bounded.whole_nanoeur,
    }


def _bound_by(judged: JudgedCall) -> str:
    bounded = judged.reached if isinstance(judged, RefusedCall) else judged
    return bounded.bound_by if isinstance(bounded, BoundedCall) else BY_BYTES
