"""The form of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django import forms

from costs.core.money import MAX_NANOEUR, nanoeur_from_euros
from gateway.console.dimensions import KNOWN_FIELDS, WORDS, DimensionsForm
from gateway.console.fields import EurosField, ModelNamesField, eur_or_none, hold_field, name_field
from gateway.core.usage_bound import SEARCHES_MAX
from gateway.guards.policies import WAIT_MAX_S, WAIT_S, HoldMode, PolicyMode
from gateway.models import Policy
from gateway.policies.applies_to import NAMED_FIELDS, AppliesToForm, typed_fields
from gateway.policies.names import PolicyNames
from gateway.policies.operations import PolicyLimits

# Of a minute; the column has no more.
REQUESTS_MAX: Final = 2**31 - 1
# What is folded away on the page while it is as in a new policy.
SECTIONS: Final = {
    "applies_to": tuple(NAMED_FIELDS.values()),
    "rates": ("requests_per_minute", "tokens_per_minute", "concurrent_requests", "wait_s"),
    "dimensions": ("required_dimensions", *KNOWN_FIELDS.values()),
}

_CHOSEN: Final = ("provider", "channel")


class RatesForm(forms.Form):
    """How many requests and tokens a minute may have, and how many requests run at once."""

    requests_per_minute = forms.IntegerField(
        label="Max requests per minute",
        required=False,
        min_value=1,
        max_value=REQUESTS_MAX,
        help_text="Only admitted requests count. Leave empty for no limit.",
    )
    tokens_per_minute = forms.IntegerField(
        label="Max tokens per minute",
        required=False,
        min_value=1,
        max_value=MAX_NANOEUR,
        help_text="Input plus maximum output, corrected when the answer ends.",
    )
    concurrent_requests = forms.IntegerField(
        label="Max requests at once",
        required=False,
        min_value=1,
        max_value=REQUESTS_MAX,
    )


class PolicyForm(AppliesToForm, DimensionsForm, RatesForm):
    """A policy's name and limits."""

    name = name_field("Policy name")
    mode = forms.ChoiceField(
        label="Mode",
        required=False,
        choices=[
            (PolicyMode.ON.value, "On"),
            (PolicyMode.WATCH.value, "Watched: counts what it would refuse, refuses nothing"),
            (PolicyMode.OFF.value, "Off"),
        ],
        initial=PolicyMode.ON.value,
    )
    allowed_models = ModelNamesField(
        label="Allowed models",
        help_text="One per line. A name also matches its dated snapshots; * is a wildcard; "
        "region:eu is every model of a provider with that tag. "
        "Leave empty for every model that is not blocked.",
    )
    blocked_models = ModelNamesField(
        label="Blocked models",
        help_text="One per line. A name without its provider's is blocked at every provider. "
        "Checked before the allowed models.",
    )
    max_cost_per_day_eur = EurosField(
        label="Max cost per day (EUR)",
        help_text="Of all requests that it applies to, in the organization's time zone. "
        "Leave empty for no limit.",
    )
    max_cost_per_session_eur = EurosField(
        label="Max cost per session (EUR)",
        help_text="For each session of an agent, as its client names it. Leave empty for no limit.",
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
    wait_s = forms.IntegerField(
        label="Max wait (seconds)",
        required=False,
        min_value=0,
        max_value=WAIT_MAX_S,
        initial=WAIT_S,
        help_text="How long a request waits if only running calls keep it out of a cost limit, or "
        "a rate is used up. 0 refuses it at once.",
    )
    hold = hold_field()
    web_searches_per_request = forms.IntegerField(
        label="Max web searches",
        required=False,
        min_value=0,
        max_value=SEARCHES_MAX,
        help_text="Of one request, run by the provider. 0 refuses requests that could search. "
        "Leave empty for no limit.",
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        organization_id: UUID,
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=initial, label_suffix="")
        self._organization_id = organization_id
        self.offer_providers(organization_id)

    def organization_of(self) -> UUID:
        return self._organization_id

    @property
    def named_fields(self) -> list[forms.BoundField]:
        """The lists of values that requests are named by."""
        return [self[field] for name, field in NAMED_FIELDS.items() if name not in _CHOSEN]

    @property
    def chosen_fields(self) -> list[forms.BoundField]:
        """The checkboxes of values that requests are named by."""
        return [self[NAMED_FIELDS[name]] for name in _CHOSEN]

    @property
    def unfolded(self) -> dict[str, bool]:
        """Whether a field of each section is in use or in error."""
        return {
            section: any(self._is_in_use(field) for field in fields)
            for section, fields in SECTIONS.items()
        }

    def _is_in_use(self, name: str) -> bool:
        field = self[name]
        value = field.value()
        is_default = value in (None, "", []) or f"{value}" == f"{field.field.initial}"
        return bool(field.errors) or not is_default

    def limits(self) -> PolicyLimits:
        """Return the values of a valid form."""
        values = self.cleaned_data
        return PolicyLimits(
            name=values["name"],
            mode=PolicyMode(values["mode"] or PolicyMode.ON),
            applies_to=self.applies_to(),
            allowed_models=values["allowed_models"],
            blocked_models=values["blocked_models"],
            max_cost_per_day_nanoeur=_nanoeur(values["max_cost_per_day_eur"]),
            max_cost_per_session_nanoeur=_nanoeur(values["max_cost_per_session_eur"]),
            max_tokens_per_request=values["max_tokens_per_request"],
            max_output_tokens=values["max_output_tokens"],
            wait_s=WAIT_S if values["wait_s"] is None else values["wait_s"],
            web_searches_per_request=values["web_searches_per_request"],
            requests_per_minute=values["requests_per_minute"],
            tokens_per_minute=values["tokens_per_minute"],
            concurrent_requests=values["concurrent_requests"],
            hold=HoldMode(values["hold"] or HoldMode.WHOLE),
            required_dimensions=values["required_dimensions"],
            known_values=self.known_values(),
        )


def policy_values(policy: Policy, names: PolicyNames) -> dict[str, Any]:
    """Return a policy as the values of its form."""
    return {
        "name": policy.name,
        "mode": policy.mode,
        **typed_fields(names.typed(policy.applies_to)),
        "allowed_models": policy.allowed_models,
        "blocked_models": policy.blocked_models,
        "max_cost_per_day_eur": eur_or_none(policy.max_cost_per_day_nanoeur),
        "max_cost_per_session_eur": eur_or_none(policy.max_cost_per_session_nanoeur),
        "max_tokens_per_request": policy.max_tokens_per_request,
        "max_output_tokens": policy.max_output_tokens,
        "wait_s": policy.wait_s,
        "web_searches_per_request": policy.web_searches_per_request,
        "requests_per_minute": policy.requests_per_minute,
        "tokens_per_minute": policy.tokens_per_minute,
        "concurrent_requests": policy.concurrent_requests,
        "hold": policy.hold,
        "required_dimensions": [WORDS[name] for name in policy.required_dimensions],
        **{field: policy.known_values.get(name, []) for name, field in KNOWN_FIELDS.items()},
    }


def _nanoeur(eur: Decimal | None) -> int | None:
    return None if eur is None else nanoeur_from_euros(eur)
