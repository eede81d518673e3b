"""The form of a key to create, with limits of its own."""

from __future__ import annotations

from costs.core.money import nanoeur_from_euros
from gateway.console.fields import EurosField, ModelNamesField
from gateway.keys.operations import KeyLimits
from gateway.policies.forms import RatesForm
from orgs.keys.forms import KeyForm


class KeyLimitsForm(RatesForm):
    """What only this key's policy limits."""

    allowed_models = ModelNamesField(
        label="Allowed models",
        help_text="One per line. Leave empty for every model that other policies allow.",
    )
    max_cost_per_day_eur = EurosField(
        label="Max cost per day (EUR)",
        help_text="Of this key's requests, in the organization's time zone. "
        "Leave empty for no limit.",
    )

    def limits(self) -> KeyLimits:
        """Return the values of a valid form."""
        values = self.cleaned_data
        cost = values["max_cost_per_day_eur"]
        return KeyLimits(
            allowed_models=tuple(values["allowed_models"]),
            max_cost_per_day_nanoeur=None if cost is None else nanoeur_from_euros(cost),
            requests_per_minute=values["requests_per_minute"],
            tokens_per_minute=values["tokens_per_minute"],
            concurrent_requests=values["concurrent_requests"],
        )


class LimitedKeyForm(KeyForm, KeyLimitsForm):
    """A key to create, and its limits."""
