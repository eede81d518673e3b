"""The cost explorer's filters, read from the URL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from django import forms

from costs.reports import GROUP_COLUMNS, CostQuery

DEFAULT_DAYS: Final = 30
EARLIEST: Final = date(2000, 1, 1)
LATEST: Final = date(2199, 12, 31)
SOURCES: Final = ("AI",)
# parameter, label, the query's field, the most characters that its column holds
TEXT_FILTERS: Final = (
    ("model", "Model", "model", 200),
    ("provider", "Provider", "provider", 32),
    ("teamId", "Team", "team_id", 128),
    ("projectId", "Project", "project_id", 128),
    ("appId", "App", "app_id", 128),
    ("clientId", "Client", "client_id", 128),
    ("userId", "User", "user_id", 128),
)


class CostForm(forms.Form):
    """Every filter of the explorer; each has a default, so an empty URL is a valid one."""

    def __init__(self, data: Mapping[str, Any], *, today: date) -> None:
        super().__init__(data, label_suffix="")
        self._today = today
        # `from` and `groupBy` are the URL's names, and no names for attributes of a class.
        self.fields["from"] = _day("From")
        self.fields["to"] = _day("To")
        self.fields["groupBy"] = forms.ChoiceField(
            label="Group by",
            required=False,
            choices=[(name, name.capitalize()) for name in GROUP_COLUMNS],
        )
        self.fields["source"] = forms.ChoiceField(
            label="Source",
            required=False,
            choices=[("", "All"), *((name, name) for name in SOURCES)],
        )
        for parameter, label, _, max_chars in TEXT_FILTERS:
            self.fields[parameter] = forms.CharField(
                label=label, required=False, max_length=max_chars
            )

    def clean(self) -> dict[str, Any]:
        """Fill in the days that were left out."""
        values = self.cleaned_data
        last = values.get("to") or max(self._today, values.get("from") or self._today)
        first = values.get("from") or max(EARLIEST, last - timedelta(days=DEFAULT_DAYS - 1))
        if "from" in values and "to" in values and first > last:
            self.add_error("from", "The first day is after the last.")
        # A page shows the days it is about, also when the URL leaves them out.
        self.data = (
            {**self.data, "from": f"{first}", "to": f"{last}"} if not self.errors else self.data
        )
        return values | {"from": first, "to": last}

    def parameters(self) -> dict[str, str]:
        """Return a valid form as the URL that names everything it stands for."""
        chosen = {name: f"{value}" for name, value in self.cleaned_data.items() if value}
        return chosen | {"groupBy": self.query().group_by}

    def query(self) -> CostQuery:
        """Return what a valid form asks for."""
        values = self.cleaned_data
        return CostQuery(
            first_day=values["from"],
            last_day=values["to"],
            group_by=values["groupBy"] or next(iter(GROUP_COLUMNS)),
            source=values["source"] or None,
            **{column: values[parameter] or None for parameter, _, column, _ in TEXT_FILTERS},
        )


def _day(label: str) -> forms.DateField:
    field = forms.DateField(
        label=label,
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": "Write the day as 2026-01-31."},
    )
    field.validators.append(_within_the_calendar)
    return field


def _within_the_calendar(day: date) -> None:
    if not EARLIEST <= day <= LATEST:
        raise forms.ValidationError(f"Choose a day from {EARLIEST} to {LATEST}.")
