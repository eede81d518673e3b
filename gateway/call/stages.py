"""The stages of checking a call: frozen values, each of which holds the previous one."""

from __future__ import annotations

from datetime import datetime
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
from gateway.core.usage_bound import BY_BYTES, OutputCap, OutputLimits, ToolUses, UsageBound
from gateway.guards.budgets import BudgetRule
from gateway.guards.cost_limits import CostLimit
from gateway.guards.policies import NeededTokens, Rule
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
        return (
            self.rules.is_limited
            or bool(self.session and self.session.rules)
            or any(rule.is_hard for rule in self.budgets)
        )


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
    def needed(self) -> NeededTokens | None:
        """The tokens that it needs; None if not counted."""
        if self.counted_tokens is None:
            return None
        return self._needed(self.cap)

    def needed_by(self, rule: Rule) -> NeededTokens | None:
        """Return the tokens that it would need by a policy: a watched one lowers no cap, and is
        judged as if it did.
        """
        if self.counted_tokens is None or not rule.is_watched:
            return self.needed
        return self._needed(self.cap_if_on(rule))

    def cap_if_on(self, watched: Rule) -> OutputCap:
        """Return the output cap that it would have if a watched policy were on."""
        return output_cap_by(
            self.resolved.rules.if_on(watched),
            self.resolved,
            counted_text=self.counted_text,
            counted_tokens=self.counted_tokens,
        )

    @property
    def rated_tokens(self) -> int:
        """The tokens that it takes from rates; none of a call that is free."""
        needed = self.needed
        return 0 if needed is None or self.resolved.usage_bound.is_free else needed.sent

    def _needed(self, cap: OutputCap) -> NeededTokens:
        asked = self.resolved.usage_bound.output
        sent = self._with(asked and asked.with_cap(cap))
        is_own_cap = asked is not None and asked.max_tokens is not None
        return NeededTokens(asked=self._with(asked) if is_own_cap else sent, sent=sent)

    def _with(self, output: OutputLimits | None) -> int:
        """Return the counted input with this output."""
        counted = self.counted_tokens or 0
        return counted + bounds.output_tokens_at_most(output, self.resolved.model)


def output_cap_by(
    rules: RuleSet, resolved: ResolvedCall, *, counted_text: int | None, counted_tokens: int | None
) -> OutputCap:
    """Return the output cap of a call by these policies."""
    usage_bound, model = resolved.usage_bound, resolved.model
    return bounds.output_cap(
        model,
        output=usage_bound.output,
        text_tokens=bounds.kept_tokens(usage_bound, model) + (counted_text or 0),
        input_tokens=counted_tokens or 0,
        token_limit=rules.token_limit,
        output_limit=rules.output_limit,
        is_limited=rules.is_limited or resolved.is_limited,
    )


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


def cap_tokens(judged: JudgedCall) -> int | None:
    """Return the cap as it is sent, else as it was decided."""
    if judged.priced is not None and judged.priced.sent_cap is not None:
        return judged.priced.sent_cap
    return judged.capped.cap.tokens if judged.capped else None
