"""Which calls hold in slices: streams that show all of their output, where every limit says so."""

from __future__ import annotations

from typing import Final

from gateway.apis.families.fitting import is_shown
from gateway.call.stages import PricedCall, ResolvedCall
from gateway.core.calls import ProviderCall
from gateway.core.usage_bound import OutputLimits

# Output tokens that a hold is ahead of what was seen, and by which it grows.
SLICE_TOKENS: Final = 1024


def slice_of(priced: PricedCall) -> int | None:
    """Return how many output tokens the first hold of a call covers, or None: all of them.

    All of them are held where some could be produced unseen, or read again: hidden thinking,
    several choices, predicted output, tools at the provider.
    """
    resolved, output = priced.capped.resolved, priced.outgoing.output
    if not resolved.requested.call.stream or output is None or not _is_chosen(resolved):
        return None
    usage_bound, uses = resolved.usage_bound, priced.uses
    reads_again = usage_bound.context_reads or uses.times or uses.reads or uses.compactions
    if reads_again or "output_audio" in usage_bound.buckets or not _shows_output(priced, output):
        return None
    return SLICE_TOKENS if (output.max_tokens or 0) > SLICE_TOKENS else None


def _is_chosen(resolved: ResolvedCall) -> bool:
    """Whether all limits of money choose slices: one that holds whole is exact for its calls."""
    policies = [
        rule.holds_slices
        for rule in resolved.rules.enforced
        if rule.max_cost_per_day_nanoeur is not None
        or (rule.max_cost_per_session_nanoeur is not None and resolved.session is not None)
    ]
    budgets = [budget.holds_slices for budget in resolved.budgets if budget.is_hard]
    return bool(policies or budgets) and all((*policies, *budgets))


def _shows_output(priced: PricedCall, output: OutputLimits) -> bool:
    if output.choices != 1 or output.thinking_tokens or output.predicted_tokens:
        return False
    outgoing = priced.outgoing
    if isinstance(outgoing, ProviderCall):
        return is_shown(outgoing, priced.capped.resolved.model.served_by.family)
    return outgoing.is_shown
