"""The stages of checking a call: frozen values, each of which holds the previous one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from costs.core.rates import Rates
from costs.core.usage import STANDARD_PLACE, UsageCeiling
from costs.prices.book import PriceBook
from gateway.call.snapshot import OrganizationSnapshot
from gateway.core import bounds
from gateway.core.calls import Call, Outgoing
from gateway.core.errors import GatewayError
from gateway.core.model_names import Model
from gateway.core.usage_bound import HOSTED_CALLS_MAX, OutputCap, UsageBound
from gateway.guards.budgets import BudgetRule
from gateway.guards.policies import explained
from orgs.core.frozen import frozen


@frozen
class RequestedCall:
    """A call and the snapshots that it is checked on.

    Its tokens are counted if a policy limits them, or if `counts` is set. `places` are where the
    providers' hosts process requests.
    """

    call: Call
    organization: OrganizationSnapshot
    prices: PriceBook
    judged_at: datetime
    places: Mapping[str, str] = field(default_factory=dict)
    counts: bool = False


@frozen
class ResolvedCall:
    """A call with a known model, the policies' verdicts on it, and the budgets it counts in."""

    requested: RequestedCall
    model: Model
    text_bytes: int
    verdicts: tuple[str, ...]
    budgets: tuple[BudgetRule, ...]

    def place(self, reported: str = STANDARD_PLACE) -> str:
        """Return where the call is processed: where it was, else where it asks to be, else at the
        host.
        """
        for named in (reported, self.usage_bound.place):
            if named != STANDARD_PLACE:
                return named
        return self.requested.places.get(self.model.provider, STANDARD_PLACE)

    @property
    def usage_bound(self) -> UsageBound:
        """What the request allows: its body, and its limits of hosted calls."""
        return self.requested.call.usage_bound.with_hosted_calls(self.hosted_calls_max)

    @property
    def hosted_calls_max(self) -> int | None:
        """The most tool calls that the provider may run: None where no limit applies."""
        return HOSTED_CALLS_MAX if self.is_limited else None

    @property
    def is_limited(self) -> bool:
        """Whether a limit applies to the call, so that it needs a bound."""
        organization = self.requested.organization
        return organization.is_limited or any(rule.is_hard for rule in self.budgets)


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

    def ceiling(self, *, input_tokens: int, cap_tokens: int | None = None) -> UsageCeiling:
        """Return the maximum usage of the call as it is sent, with so much input.

        With `cap_tokens`, as it would be sent with this lower cap.
        """
        model, usage_bound = self.capped.resolved.model, self.capped.resolved.usage_bound
        uses, output = self.outgoing.uses, self.outgoing.output
        if output is not None and cap_tokens is not None:
            output = output.with_cap(OutputCap(cap_tokens, is_written=True))
        return UsageCeiling(
            input_tokens=input_tokens,
            output_tokens=bounds.output_tokens_at_most(
                output,
                model,
                context_reads=max(1, usage_bound.context_reads) + usage_bound.compactions,
            )
            + uses.reads * uses.written,
            service_tier=usage_bound.service_tier,
            place=self.capped.resolved.place(),
            web_searches=bounds.searches_at_most(usage_bound, model) + uses.searches,
            web_search_previews=usage_bound.search_previews,
            without=bounds.not_possible(usage_bound),
            at_highest_rates=bool(usage_bound.unknown),
        )


@frozen
class BoundedCall:
    """A call ready to be reserved: with at most `input_tokens` it costs at most `bound_nanoeur`."""

    priced: PricedCall
    bound_nanoeur: int
    input_tokens: int
    is_tight: bool = False

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
        return not self.is_tight and self.resolved.model.token_margin == 1.0

    @property
    def least_cap(self) -> int:
        """The cap below which the room of a limit of money does not lower the call's."""
        asked = self.resolved.usage_bound.output
        return min(self.capped.cap.tokens, bounds.least_cap(asked, self.resolved.model))

    @property
    def can_cost_less(self) -> bool:
        """Whether a lower bound is possible: a tighter one, or by a lower output cap."""
        return self.can_be_tightened or self.capped.cap.tokens > self.least_cap


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


def decision_trace(judged: JudgedCall) -> dict[str, Any]:
    """Return the decision trace: what was checked, in order."""
    requested, resolved, capped = judged.requested, judged.resolved, judged.capped
    priced = judged.priced
    call, organization = requested.call, requested.organization
    policies = explained(
        organization.rules,
        verdicts=resolved.verdicts if resolved else (),
        dimensions=call.dimensions,
        needed_tokens=capped.needed_tokens if capped else None,
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
        },
        "output_cap": cap_tokens(judged),
        "output_cap_by": capped.cap.by if capped and call.usage_bound.output else None,
        "output_cap_asked": call.usage_bound.output and call.usage_bound.output.max_tokens,
        "unknown": list(call.usage_bound.unknown),
        "adjustments": list(priced.outgoing.adjustments) if priced else [],
        "answers": output.choices if (output := call.usage_bound.output) else 1,
        "bound_nanoeur": judged.bound_nanoeur,
        "bound_by": "tokens" if _is_tight(judged) else "bytes",
        "policies": policies,
        "policies_left_out": len(organization.rules) - len(policies),
        "config_version": organization.config_version,
    }


def cap_tokens(judged: JudgedCall) -> int | None:
    """Return the cap as it is sent, else as it was decided."""
    if judged.priced is not None and judged.priced.sent_cap is not None:
        return judged.priced.sent_cap
    return judged.capped.cap.tokens if judged.capped else None


def _is_tight(judged: JudgedCall) -> bool:
    bounded = judged.reached if isinstance(judged, RefusedCall) else judged
    return isinstance(bounded, BoundedCall) and bounded.is_tight
