"""The console's forms of policies and of the playground."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from django import forms

from costs.core.money import MAX_NANOEUR, euros, nanoeur_from_euros
from gateway.core.calls import DIMENSION_MAX_CHARS
from gateway.core.model_names import NAME_MAX_CHARS
from gateway.models import Policy
from gateway.operations import PolicyLimits

ENTRIES_MAX: Final = 200
PROMPT_MAX_CHARS: Final = 100_000
_SEPARATOR: Final = re.compile(r"[,\n\r]+")
_ENTRY: Final = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._:@/+*-]*")
# parameter, label and the SDK's name of each dimension that a person can set
DIMENSION_FIELDS: Final = (
    ("teamId", "Team", "team_id"),
    ("projectId", "Project", "project_id"),
    ("appId", "App", "app_id"),
    ("clientId", "Client", "client_id"),
    ("taskType", "Task type", "task_type"),
)


class ModelNamesField(forms.CharField):
    """Model names, one per line or separated by commas, as a list; each once."""

    def __init__(self, *, label: str | None = None, help_text: str = "") -> None:
        widget = forms.Textarea({"rows": 4, "spellcheck": "false", "autocapitalize": "none"})
        super().__init__(required=False, widget=widget, label=label, help_text=help_text)

    def clean(self, value: Any) -> Any:
        """Return the names as they were typed, trimmed."""
        names: dict[str, str] = {}
        for name in filter(None, map(str.strip, _SEPARATOR.split(super().clean(value)))):
            _check_entry(name)
            names.setdefault(name.casefold(), name)
        if len(names) > ENTRIES_MAX:
            raise forms.ValidationError(f"There are {len(names)} names; at most {ENTRIES_MAX}.")
        return list(names.values())

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value


def _check_entry(name: str) -> None:
    if len(name) > NAME_MAX_CHARS:
        raise forms.ValidationError(
            f'"{name[:40]}…" has {len(name)} characters; at most {NAME_MAX_CHARS}.'
        )
    if not _ENTRY.fullmatch(name):
        raise forms.ValidationError(f'"{name}" cannot be the name of a model.')


class EurosField(forms.DecimalField):
    """An amount in EUR, exact to a billionth."""

    def __init__(self, *, label: str, help_text: str, required: bool = False) -> None:
        widget = forms.NumberInput({"step": "any", "inputmode": "decimal"})
        super().__init__(
            required=required, min_value=0, widget=widget, label=label, help_text=help_text
        )

    def clean(self, value: Any) -> Any:
        amount = super().clean(value)
        if amount is not None:
            try:
                nanoeur_from_euros(amount)
            except ValueError as exc:
                raise forms.ValidationError(f"{exc}.") from exc
        return amount


def name_field(label: str) -> forms.CharField:
    """Return the field for what a policy or a budget is called; refusals quote it."""
    return forms.CharField(label=label, max_length=100, validators=[_check_printable])


def dimension_field(label: str) -> forms.CharField:
    """Return an optional field for a dimension."""
    return forms.CharField(
        label=label,
        required=False,
        max_length=DIMENSION_MAX_CHARS,
        validators=[_check_printable],
    )


def _check_printable(text: str) -> None:
    if not text.isprintable():
        raise forms.ValidationError("There is a character that cannot be printed.")


class PolicyForm(forms.Form):
    """A policy's name and limits."""

    name = name_field("Policy name")
    allowed_models = ModelNamesField(
        label="Allowed models",
        help_text="One per line. A name also means its dated snapshots; * is a wildcard. "
        "Empty: every model that is not blocked.",
    )
    blocked_models = ModelNamesField(
        label="Blocked models",
        help_text="One per line. Blocked is checked before allowed.",
    )
    max_cost_per_day_eur = EurosField(
        label="Max cost per day (EUR)",
        help_text="Of the whole organization, in its own day. Empty: no limit.",
    )
    max_tokens_per_request = forms.IntegerField(
        label="Max tokens per request",
        required=False,
        min_value=1,
        max_value=MAX_NANOEUR,
        help_text="Input and the longest possible answer together. Empty: no limit.",
    )

    def limits(self) -> PolicyLimits:
        """Return what a valid form says."""
        values = self.cleaned_data
        cost_eur: Decimal | None = values["max_cost_per_day_eur"]
        return PolicyLimits(
            name=values["name"],
            allowed_models=values["allowed_models"],
            blocked_models=values["blocked_models"],
            max_cost_per_day_nanoeur=None if cost_eur is None else nanoeur_from_euros(cost_eur),
            max_tokens_per_request=values["max_tokens_per_request"],
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
    }


def plain_eur(nanoeur: int) -> str:
    """Return the amount as one types it: exact, with at least two decimals."""
    whole, _, fraction = f"{euros(nanoeur):f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


class PlaygroundForm(forms.Form):
    """A request to send by hand."""

    model = forms.CharField(
        label="Model",
        max_length=NAME_MAX_CHARS,
        widget=forms.TextInput(
            {"list": "known-models", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    prompt = forms.CharField(
        label="Prompt",
        max_length=PROMPT_MAX_CHARS,
        strip=False,
        widget=forms.Textarea({"rows": 7}),
    )
    maxTokens = forms.IntegerField(  # the API's name
        label="Max tokens", required=False, min_value=1, max_value=10_000_000
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, initial: dict[str, Any] | None = None
    ) -> None:
        super().__init__(data, initial=initial, label_suffix="")
        for parameter, label, _ in DIMENSION_FIELDS:
            self.fields[parameter] = dimension_field(label)

    def clean_prompt(self) -> str:
        prompt: str = self.cleaned_data["prompt"]
        if not prompt.strip():
            raise forms.ValidationError("Write a prompt.")
        return prompt

    def metadata(self) -> dict[str, str]:
        """Return the dimensions that a valid form says."""
        said = ((name, self.cleaned_data[field]) for field, _, name in DIMENSION_FIELDS)
        return {name: value for name, value in said if value}

    def unfolds(self) -> bool:
        """Whether one of the folded fields is in use or in error."""
        folded = ("maxTokens", *(parameter for parameter, _, _ in DIMENSION_FIELDS))
        return any(self[name].value() or self[name].errors for name in folded)

    def dimension_fields(self) -> Iterable[forms.BoundField]:
        """The fields that the page folds away."""
        return [self[parameter] for parameter, _, _ in DIMENSION_FIELDS]
