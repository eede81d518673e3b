"""What a policy requires of dimensions, as form fields: their presence and their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms

from gateway.console.fields import SEPARATOR
from gateway.core.calls import DIMENSION_MAX_CHARS, DIMENSIONS
from orgs.core.spelling import folded, normalized

KNOWN_VALUES_MAX: Final = 1_000
# What people and commands call a dimension.
WORDS: Final = {name: name.removesuffix("_id").replace("_", "-") for name in DIMENSIONS}
_NAMES: Final = {word: name for name, word in WORDS.items()}
# The field of each dimension that can have known values; a user's id is proved instead.
KNOWN_FIELDS: Final = {
    "team_id": "known_teams",
    "project_id": "known_projects",
    "app_id": "known_apps",
    "client_id": "known_clients",
    "task_type": "known_task_types",
}
# As JSON has them: of exports and of the backtest's query.
KNOWN_PARAMETERS: Final = {
    name: "known" + "".join(word.capitalize() for word in field.split("_")[1:])
    for name, field in KNOWN_FIELDS.items()
}


class ChosenField(forms.MultipleChoiceField):
    """Some of a few values, as checkboxes or as text with commas; in the order of the choices."""

    def __init__(self, *, label: str, values: Mapping[str, str], help_text: str = "") -> None:
        super().__init__(
            label=label,
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text=help_text,
        )
        self.offer(values)

    def offer(self, values: Mapping[str, str]) -> None:
        """Let these values be chosen, each by its label."""
        self.choices = [*values.items()]
        self.error_messages = self.error_messages | {
            "invalid_choice": f"Must be among {', '.join(values)}, not %(value)s."
        }
        self._values = tuple(values)

    def clean(self, value: Any) -> Any:
        """Return the values."""
        if isinstance(value, str):
            value = list(filter(None, map(str.strip, SEPARATOR.split(value))))
        chosen = super().clean(value)
        return [each for each in self._values if each in chosen]


class RequiredDimensionsField(ChosenField):
    """Dimensions by their words; names of columns come out.

    As an initial value it takes either.
    """

    def __init__(self, *, help_text: str = "") -> None:
        labels = {WORDS[name]: WORDS[name].replace("-", " ").capitalize() for name in DIMENSIONS}
        labels[WORDS["user_id"]] = "User, signed in or owner of the key"
        super().__init__(label="Required dimensions", values=labels, help_text=help_text)

    def clean(self, value: Any) -> Any:
        """Return the names of columns, in the order of the dimensions."""
        return [_NAMES[word] for word in super().clean(value)]

    def prepare_value(self, value: Any) -> Any:
        """Show names of columns as their words."""
        return [WORDS.get(name, name) for name in value] if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other dimensions are checked; the initial ones are columns."""
        return super().has_changed(self.prepare_value(initial), data)


class KnownValuesField(forms.CharField):
    """Values of a dimension, one per line, as a list; each in one spelling."""

    def __init__(
        self,
        *,
        label: str,
        help_text: str = "",
        most: int = KNOWN_VALUES_MAX,
        max_chars: int = DIMENSION_MAX_CHARS,
    ) -> None:
        widget = forms.Textarea({"rows": 3, "spellcheck": "false", "autocapitalize": "none"})
        super().__init__(required=False, widget=widget, label=label, help_text=help_text)
        self._most, self._max_chars = most, max_chars

    def clean(self, value: Any) -> Any:
        """Return the values in the spelling that was typed first."""
        values: dict[str, str] = {}
        for each in filter(None, map(normalized, super().clean(value).splitlines())):
            if len(each) > self._max_chars or not each.isprintable():
                raise forms.ValidationError(
                    f"Each value must have at most {self._max_chars} characters, all printable."
                )
            values.setdefault(folded(each), each)
        if len(values) > self._most:
            raise forms.ValidationError(
                f"A list can have at most {self._most} values, not {len(values)}."
            )
        return list(values.values())

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value


class DimensionsForm(forms.Form):
    """The dimensions that a policy requires, and their known values."""

    required_dimensions = RequiredDimensionsField(
        help_text="Requests without them are refused, so that no budget is evaded by leaving its "
        "dimension out.",
    )
    known_teams = KnownValuesField(
        label="Known teams", help_text="One per line. Leave empty for every value."
    )
    known_projects = KnownValuesField(label="Known projects")
    known_apps = KnownValuesField(label="Known apps")
    known_clients = KnownValuesField(label="Known clients")
    known_task_types = KnownValuesField(label="Known task types")

    def known_fields(self) -> list[forms.BoundField]:
        """The fields of known values."""
        return [self[field] for field in KNOWN_FIELDS.values()]

    def known_values(self) -> dict[str, list[str]]:
        """Return the known values of a valid form by the column that they are of."""
        values = self.cleaned_data
        return {name: values[field] for name, field in KNOWN_FIELDS.items() if values[field]}
