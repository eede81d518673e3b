"""Form fields that several pages share: model names, amounts, names."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms

from costs.core.calendar.moments import InvalidMoment, moment_from
from costs.core.money import euros, nanoeur_from_euros
from gateway.core.model_entries import fault_in
from gateway.guards.policies import HoldMode
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


class MomentField(forms.CharField):
    """A date, or a date and time in the organization's time zone, as an instant in UTC."""

    def __init__(self, name: str, *, label: str, zone: ZoneInfo, is_end: bool = False) -> None:
        self._name, self._zone, self._is_end = name, zone, is_end
        widget = forms.TextInput({"type": "datetime-local"})
        super().__init__(label=label, required=False, widget=widget)

    def clean(self, value: Any) -> datetime | None:
        """Return the instant, or None without one."""
        text = super().clean(value)
        try:
            return self._instant(text) if text else None
        except InvalidMoment as exc:
            raise forms.ValidationError(f"{self._name} {exc}.") from exc

    def prepare_value(self, value: Any) -> Any:
        """Show what the browser's field can show: a local time without an offset."""
        try:
            local = self._instant(value).astimezone(self._zone) if value else None
        except InvalidMoment:
            return value
        return local and local.replace(tzinfo=None, microsecond=0).isoformat().removesuffix(":00")

    def _instant(self, text: str) -> datetime:
        return moment_from(text, self._zone, is_end=self._is_end)


def name_field(label: str) -> forms.CharField:
    """Return the field for what a policy or a budget is called; refusals quote it."""
    return forms.CharField(label=label, max_length=100, validators=[check_printable])


HOLD_HELP: Final = (
    "what streams hold: whole (all that they can cost, the default), or slices (their next 1,024 "
    "tokens, so that more run at once): where no more fit, they end early. Slices can pass a limit "
    "by what a provider writes until it is stopped: nothing in measurements, half a second of "
    "output if the database does not answer"
)


def hold_field() -> forms.ChoiceField:
    """Return the field for how much of a stream's cost is held."""
    return forms.ChoiceField(
        label="Streams hold",
        required=False,
        choices=[
            (HoldMode.WHOLE.value, "All that they can cost: the limit is exact"),
            (HoldMode.SLICES.value, "Slices ahead of their output: more run at once"),
        ],
        initial=HoldMode.WHOLE.value,
    )


def eur_or_none(nanoeur: int | None) -> str | None:
    """Return the amount as one types it, or None without one."""
    return None if nanoeur is None else plain_eur(nanoeur)


def plain_eur(nanoeur: int) -> str:
    """Return the amount as one types it: exact, with at least two decimals."""
    whole, _, fraction = f"{euros(nanoeur):f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
