"""The cost explorer's state, read from the URL and written back to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.http import QueryDict

from costs.core.calendar.date_ranges import Compare, DateRange, Preset, compared_with, preset_range
from costs.core.calendar.moments import EARLIEST, LATEST
from costs.core.cost_query import DAY, GROUP_COLUMNS, CostQuery
from costs.core.forecast import history_starts
from costs.explorer.names import DIMENSIONS, models_matching, values_named
from costs.explorer.spellings import merged
from orgs.console.fields import dimension_field

DEFAULT_DAYS: Final = 30
SOURCES: Final = ("AI",)
GROUP_LABELS: Final = {name: name.capitalize() for name in GROUP_COLUMNS} | {
    "task": "Task type",
    "key": "API key",
}
# The same within a sentence.
GROUP_WORDS: Final = {name: label.lower() for name, label in GROUP_LABELS.items()} | {
    "key": "API key"
}
# dimension -> parameter, label
FILTERS: Final = {
    "model": ("model", "Model"),
    "provider": ("provider", "Provider"),
    "team": ("teamId", "Team"),
    "project": ("projectId", "Project"),
    "app": ("appId", "App"),
    "client": ("clientId", "Client"),
    "user": ("userId", "User"),
    "task": ("taskType", "Task type"),
    "session": ("sessionId", "Session"),
    "agent": ("agentId", "Agent"),
}
MAX_CHARS: Final = {"model": 200, "provider": 32}
KEY: Final = "keyId"
# Dimensions that a request may omit.
OPTIONAL: Final = (
    *("team", "project", "app", "client", "user", "task", "key", "session", "agent"),
)
WITHOUT: Final = "without"
PARAMETER_OF: Final = {name: parameter for name, (parameter, _) in FILTERS.items()} | {"key": KEY}
PRESET_LABELS: Final = {
    Preset.TODAY: "Today",
    Preset.WEEK: "7 days",
    Preset.THIRTY_DAYS: "30 days",
    Preset.MONTH: "Month to date",
    Preset.LAST_MONTH: "Last month",
    Preset.YEAR: "365 days",
    Preset.CUSTOM: "Custom",
}
COMPARE_LABELS: Final = {
    Compare.BEFORE: "Previous period",
    Compare.YEAR: "Previous year",
    Compare.NOTHING: "None",
}


Changes = dict[str, str | tuple[str, ...] | None]


# Each once; `without` as often as there are dimensions.
PARAMETERS: Final = (
    *("period", "from", "to", "groupBy", "thenBy", "compare", "source"),
    *PARAMETER_OF.values(),
)


class CostForm(forms.Form):
    """Every filter of the explorer; each has a default, so an empty URL is a valid one.

    `period` is relative to today, dates are a custom period: one of the two.
    `without` names the dimensions that a request must have omitted.
    """

    period = forms.ChoiceField(
        required=False, choices=[("", ""), *PRESET_LABELS.items()], widget=forms.HiddenInput
    )
    without = forms.MultipleChoiceField(
        required=False,
        choices=[(PARAMETER_OF[name], name) for name in OPTIONAL],
        widget=forms.MultipleHiddenInput,
    )
    keyId = forms.UUIDField(  # the API's name, as all here
        required=False,
        widget=forms.HiddenInput,
        error_messages={"invalid": "Not a valid key id."},
    )

    def __init__(self, data: QueryDict, *, today: date) -> None:
        super().__init__(data, label_suffix="")
        self._url, self._today = data, today
        # `from` and `groupBy` are the URL's names, which cannot or should not be class attributes.
        self.fields["from"] = _day("From")
        self.fields["to"] = _day("To")
        self.fields["groupBy"] = _choice("Group by", GROUP_LABELS.items())
        self.fields["thenBy"] = _choice("Then by", [("", "None"), *GROUP_LABELS.items()])
        self.fields["compare"] = _choice("Compare with", COMPARE_LABELS.items())
        self.fields["source"] = _choice("Source", [("", "All"), *((s, s) for s in SOURCES)])
        for name, (parameter, label) in FILTERS.items():
            self.fields[parameter] = (
                forms.CharField(label=label, required=False, max_length=MAX_CHARS[name])
                if name in MAX_CHARS
                else dimension_field(GROUP_COLUMNS[name], label=label)
            )
        for parameter in ("model", "provider"):
            self.fields[parameter].widget.attrs["list"] = f"{parameter}s-used"

    def clean(self) -> dict[str, Any]:
        """Fill in the defaults."""
        values = self.cleaned_data
        self._check_contradictions(values)
        preset = self._preset(values)
        date_range = (
            self._custom(values) if preset is Preset.CUSTOM else preset_range(preset, self._today)
        )
        group_by = values.get("groupBy") or next(iter(GROUP_COLUMNS))
        then_by = values.get("thenBy") or ""
        return values | {
            "period": preset,
            "date_range": date_range,
            "groupBy": group_by,
            "thenBy": "" if then_by == group_by else then_by,
            "compare": Compare(values.get("compare") or Compare.BEFORE),
        }

    def _check_contradictions(self, values: dict[str, Any]) -> None:
        if values.get("period") not in (None, "", Preset.CUSTOM):
            for name in ("from", "to"):
                if values.get(name) is not None:
                    self.add_error(name, "Choose either a period or dates.")
        for parameter in values.get(WITHOUT, ()):
            if values.get(parameter):
                self.add_error(parameter, f"Choose either a value or {WITHOUT}={parameter}.")

    def _preset(self, values: dict[str, Any]) -> Preset:
        if values.get("period"):
            return Preset(values["period"])
        return Preset.CUSTOM if "from" in self.data or "to" in self.data else Preset.THIRTY_DAYS

    def _custom(self, values: dict[str, Any]) -> DateRange:
        last = values.get("to") or max(self._today, values.get("from") or self._today)
        first = values.get("from") or max(EARLIEST, last - timedelta(days=DEFAULT_DAYS - 1))
        if "from" in values and "to" in values and first > last:
            self.add_error("from", "The first day must not be after the last.")
        if not self.errors:  # the page shows its dates even if the URL omits them
            self.data = self._url.copy()
            self.data.update({"from": f"{first}", "to": f"{last}"})
        return DateRange(first, last)

    @property
    def is_custom(self) -> bool:
        """Whether the page shows date fields: they were chosen, or one is invalid."""
        chosen = self.cleaned_data.get("period")
        return chosen is Preset.CUSTOM or bool(self.errors.keys() & {"from", "to"})

    def unfolds(self) -> bool:
        """Whether one of the folded fields is invalid; those in use are shown as chips."""
        return any(self[parameter].errors for parameter, _ in FILTERS.values())

    @property
    def date_range(self) -> DateRange:
        """The date range of a valid form."""
        date_range: DateRange = self.cleaned_data["date_range"]
        return date_range

    @property
    def group_by(self) -> tuple[str, ...]:
        """The dimensions that a valid form groups by; the day comes first."""
        chosen = (self.cleaned_data["groupBy"], self.cleaned_data["thenBy"])
        return tuple(sorted(filter(None, chosen), key=lambda name: name != DAY))

    def query(self, *, organization_id: UUID, used: Iterable[tuple[str, str]]) -> CostQuery:
        """Return the query of a valid form.

        `used` are the (provider, model) that the organization has used. Raises Invalid if the user
        is an unknown email address.
        """
        values = self.cleaned_data
        wanted: dict[str, Any] = {
            GROUP_COLUMNS[name]: values[parameter]
            for name, parameter in PARAMETER_OF.items()
            if name != "model" and values[parameter]
        }
        before = compared_with(self.date_range, values["compare"], values["period"])
        both = DateRange(
            min(self.date_range.first, (before or self.date_range).first), self.date_range.last
        )
        # The forecast reads more days than the page shows.
        read = DateRange(min(both.first, history_starts(self._today)), both.last)
        for column in wanted.keys() & set(DIMENSIONS):
            wanted[column] = values_named(
                wanted[column], column=column, organization_id=organization_id, date_range=read
            )
        if values["source"]:
            wanted["source"] = values["source"]
        wanted |= {GROUP_COLUMNS[name]: None for name in self.absent()}
        by = {GROUP_COLUMNS[name] for name in self.group_by} & set(DIMENSIONS)
        return CostQuery(
            date_range=self.date_range,
            before=before,
            group_by=self.group_by,
            wanted=wanted,
            models=models_matching(values["model"], used) if values["model"] else None,
            merged={
                column: merged(column, organization_id=organization_id, date_range=both)
                for column in by
            },
            today=self._today,
        )

    def absent(self) -> list[str]:
        """Return the dimensions that the requests must have omitted."""
        return [name for name in OPTIONAL if PARAMETER_OF[name] in self.cleaned_data[WITHOUT]]

    def only(self, dimension: str, value: str | None) -> Changes:
        """Return the changes of the URL that filter by the value."""
        if dimension == DAY:
            return {"period": None, "from": value, "to": value}
        parameter = PARAMETER_OF[dimension]
        if value:
            return {parameter: value}
        return {parameter: None, WITHOUT: (*self.cleaned_data[WITHOUT], parameter)}

    def address(self, **changes: str | tuple[str, ...] | None) -> str:
        """Return the query string of a valid form, with parameters changed; None removes one."""
        kept = {name: value for name, value in (self._state | changes).items() if value}
        return urlencode(kept, doseq=True)

    @cached_property
    def _state(self) -> dict[str, Any]:
        """The URL parameters of a valid form, cached since a page has hundreds of links."""
        values = self.cleaned_data
        chosen: dict[str, Any] = {"groupBy": values["groupBy"], "thenBy": values["thenBy"]}
        if values["period"] is Preset.CUSTOM:
            chosen |= {"from": f"{self.date_range.first}", "to": f"{self.date_range.last}"}
        else:
            chosen["period"] = values["period"].value
        if values["compare"] is not Compare.BEFORE:
            chosen["compare"] = values["compare"].value
        # Empty parameters keep their position, in case a link sets them.
        return chosen | {name: values[name] for name in ("source", *PARAMETER_OF.values(), WITHOUT)}


def _choice(label: str, choices: Iterable[tuple[str, str]]) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, required=False, choices=list(choices))


def _day(label: str) -> forms.DateField:
    field = forms.DateField(
        label=label,
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": "Enter a date such as 2026-01-31."},
    )
    field.validators.append(_within_calendar)
    return field


def _within_calendar(day: date) -> None:
    if not EARLIEST <= day <= LATEST:
        raise forms.ValidationError(f"The date must be between {EARLIEST} and {LATEST}.")
