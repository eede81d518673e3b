"""Form fields that several pages share: model names, amounts, names."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms

from costs.core.money import euros, nanoeur_from_euros
from gateway.core.model_entries import fault_in
from orgs.console.fields import check_printable

SEPARATOR: Final = re.compile(r"[,\n\r]+")
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
        for name in filter(None, map(str.strip, SEPARATOR.split(super().clean(value)))):
            names.setdefault(name.casefold(), name)
        entries = list(names.values())
        if (fault := fault_in(entries)) is not None:
            raise forms.ValidationError(fault)
        return entries

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value


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
    return forms.CharField(label=label, max_length=100, validators=[check_printable])


def plain_eur(nanoeur: int) -> str:
    """Return the amount as one types it: exact, with at least two decimals."""
    whole, _, fraction = f"{euros(nanoeur):f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
