"""The form of a policy."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from costs.core.money import MAX_NANOEUR, nanoeur_from_euros
from gateway.console.dimensions import KNOWN_FIELDS, WORDS, DimensionsForm
from gateway.console.fields import EurosField, ModelNamesField, name_field, plain_eur
from gateway.models import Policy
from gateway.policies.operations import PolicyLimits


class PolicyForm(DimensionsForm):
    """A policy's name and limits."""

    name = name_field("Policy name")
    allowed_models = ModelNamesField(
        label="Allowed models",
        help_text="One per line. A name also matches its dated snapshots; * is a wildcard. "
        "Leave empty for every model that is not blocked.",
    )
    blocked_models = ModelNamesField(
        label="Blocked models",
        help_text="One per line. Checked before the allowed models.",
    )
    max_cost_per_day_eur = EurosField(
        label="Max cost per day (EUR)",
        help_text="For the whole organization, in its time zone. Leave empty for no limit.",
    )
    max_tokens_per_request = forms.IntegerField(
        label="Max tokens per request",
        required=False,
        min_value=1,
        max_value=MAX_NANOEUR,
        help_text="Input plus maximum output. Leave empty for no limit.",
    )
    max_output_tokens = forms.IntegerField(
        label="Max output tokens",
        required=False,
        min_value=1,
        max_value=MAX_NANOEUR,
        help_text="A higher output cap is lowered to it. Leave empty for no limit.",
    )

    def limits(self) -> PolicyLimits:
        """Return the values of a valid form."""
        values = self.cleaned_data
        cost_eur: Decimal | None = values["max_cost_per_day_eur"]
        return PolicyLimits(
            name=values["name"],
            allowed_models=values["allowed_models"],
            blocked_models=values["blocked_models"],
            max_cost_per_day_nanoeur=None if cost_eur is None else nanoeur_from_euros(cost_eur),
            max_tokens_per_request=values["max_tokens_per_request"],
            max_output_tokens=values["max_output_tokens"],
            required_dimensions=values["required_dimensions"],
            known_values=self.known_values(),
        )


def policy_values(policy: Policy) -> dict[str, Any]:
    """Return a policy as the values of its form."""
    nanoeur = policy.max_cost_per_day_nanoeur
    return {
        "name": policy.name,
        "allowed_models": policy.allowed_models,
        "blocked_models": policy.blocked_models,
        "max_cost_per_day_eur": None if nanoeur is None else plain_eur(nanoeur),
        "max_tokens_per_request": policy.max_tokens_per_request,
        "max_output_tokens": policy.max_output_tokens,
        "required_dimensions": [WORDS[name] for name in policy.required_dimensions],
        **{field: policy.known_values.get(name, []) for name, field in KNOWN_FIELDS.items()},
    }
