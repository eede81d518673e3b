"""The form that raises the limit of one member, key or other value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms

from costs.core.money import nanoeur_from_euros
from gateway.budgets.parts.raises import RaiseTerms
from gateway.budgets.parts.values import value_named
from gateway.console.fields import EurosField
from gateway.guards.budgets import EACH
from orgs.console.fields import check_printable
from orgs.core.errors import Invalid
from orgs.core.values import EMAIL_MAX_CHARS

VALUE_HELP = {
    "user_id": "A member's email address or a user id sent by callers.",
    "key_id": "The name of a key; its rotations count as one.",
}


class RaiseForm(forms.Form):
    """Whose limit is raised, to what, and its last day."""

    value = forms.CharField(max_length=EMAIL_MAX_CHARS, validators=[check_printable])
    limit_eur = EurosField(
        label="Limit (EUR)", required=True, help_text="Instead of the budget's own."
    )
    until = forms.DateField(
        label="Last day",
        widget=forms.DateInput({"type": "date"}),
        help_text="The budget's own limit applies again from the day after.",
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, each: str, organization_id: UUID
    ) -> None:
        super().__init__(data, auto_id="raise_%s", label_suffix="")
        self._each, self._organization_id = each, organization_id
        field = self.fields["value"]
        field.label, field.help_text = EACH[each].capitalize(), VALUE_HELP.get(each, "")
        field.widget.attrs |= {"list": f"known-{each}", "autocomplete": "off"}

    def clean_value(self) -> str:
        """Return the value of the name."""
        name: str = self.cleaned_data["value"]
        try:
            return value_named(name, each=self._each, organization_id=self._organization_id)
        except Invalid as exc:
            raise forms.ValidationError(exc.message) from exc

    def terms(self) -> RaiseTerms:
        """Return the values of a valid form."""
        values = self.cleaned_data
        return RaiseTerms(
            value=values["value"],
            limit_nanoeur=nanoeur_from_euros(values["limit_eur"]),
            until=values["until"],
        )
