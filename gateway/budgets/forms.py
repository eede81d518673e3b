"""The form of a budget: on its page, and for the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms

from costs.core.calendar.periods import BudgetWindow
from costs.core.money import nanoeur_from_euros
from costs.explorer.names import is_address, values_named
from gateway.budgets.operations import BudgetTerms
from gateway.budgets.sentences import DIMENSION_WORDS
from gateway.console.fields import (
    EurosField,
    ModelNamesField,
    hold_field,
    name_field,
    plain_eur,
)
from gateway.core.calls import DIMENSION_MAX_CHARS
from gateway.guards.budgets import EACH
from gateway.guards.policies import HoldMode
from gateway.models import Budget
from orgs.console.fields import dimension_field
from orgs.core.errors import Invalid

HARD, WARNING = "hard", "warning"


def models_field() -> ModelNamesField:
    """Return the field for the models that a budget is of."""
    return ModelNamesField(
        label="Models",
        help_text="One per line. A name also matches its dated snapshots; * is a wildcard. "
        "Leave empty for every model.",
    )


class BudgetForm(forms.Form):
    """A budget's name, its limit, and the calls it is of."""

    name = name_field("Budget name")
    limit_eur = EurosField(
        label="Limit (EUR)", required=True, help_text="The maximum total cost of these calls."
    )
    span = forms.ChoiceField(
        label="Per",
        choices=[(window.value, window.value) for window in BudgetWindow],
        initial=BudgetWindow.MONTH.value,
        help_text="Resets at the start of each period (organization's time zone).",
    )
    each = forms.ChoiceField(
        label="Limit for",
        required=False,
        choices=[
            ("", "All these calls together"),
            *((name, f"Each {word} for itself") for name, word in EACH.items()),
        ],
        help_text="Calls that name none do not count: a policy can require a member, or a team.",
    )
    when_full = forms.ChoiceField(
        label="At the limit",
        choices=[(HARD, "Block calls that could exceed it"), (WARNING, "Warn only")],
        initial=HARD,
    )
    hold = hold_field()
    models = models_field()

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        organization_id: UUID,
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=initial, label_suffix="")
        self.organization_id = organization_id
        for name, word in DIMENSION_WORDS.items():
            self.fields[name] = field = dimension_field(name, label=word.capitalize())
            field.widget.attrs |= {"list": f"known-{name}", "autocomplete": "off"}
        self.fields["user_id"].help_text = "A member's email address or a user id sent by callers."

    def clean_user_id(self) -> str:
        """Return the id of the person with the address; callers may also send any other text."""
        user: str = self.cleaned_data["user_id"]
        if not is_address(user) and len(user) > DIMENSION_MAX_CHARS:
            raise forms.ValidationError(
                f"A user id must have at most {DIMENSION_MAX_CHARS} characters."
            )
        of = self.organization_id
        try:
            return values_named(user, column="user_id", organization_id=of, date_range=None)[0]
        except Invalid as exc:
            if user == self.initial.get("user_id"):
                return user  # of a budget that is changed
            raise forms.ValidationError(exc.message) from exc

    def dimension_fields(self) -> list[forms.BoundField]:
        """The fields for the dimensions that a budget is of."""
        return [self[name] for name in DIMENSION_WORDS]

    def terms(self) -> BudgetTerms:
        """Return the values of a valid form."""
        values = self.cleaned_data
        return BudgetTerms(
            name=values["name"],
            span=BudgetWindow(values["span"]),
            limit_nanoeur=nanoeur_from_euros(values["limit_eur"]),
            each=values["each"],
            is_hard=values["when_full"] == HARD,
            hold=HoldMode(values["hold"] or HoldMode.WHOLE),
            models=values["models"],
            **{name: values[name] or None for name in DIMENSION_WORDS},
        )


def budget_values(budget: Budget, people: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a budget as the values of its form; `people` are email addresses by user id."""
    dimensions = {name: getattr(budget, name) or "" for name in DIMENSION_WORDS}
    dimensions["user_id"] = (people or {}).get(dimensions["user_id"], dimensions["user_id"])
    return {
        "name": budget.name,
        "limit_eur": plain_eur(budget.limit_nanoeur),
        "span": budget.span,
        "each": budget.each,
        "when_full": HARD if budget.is_hard else WARNING,
        "hold": budget.hold,
        "models": budget.models,
        **dimensions,
    }
