"""The playground's form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms

from gateway.console.fields import DIMENSION_FIELDS
from gateway.core.model_names import NAME_MAX_CHARS
from orgs.console.fields import DimensionField

PROMPT_MAX_CHARS: Final = 100_000


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
            self.fields[parameter] = DimensionField(label=label)

    def clean_prompt(self) -> str:
        prompt: str = self.cleaned_data["prompt"]
        if not prompt.strip():
            raise forms.ValidationError("Enter a prompt.")
        return prompt

    def metadata(self) -> dict[str, str]:
        """Return the dimensions of a valid form."""
        given = ((name, self.cleaned_data[field]) for field, _, name in DIMENSION_FIELDS)
        return {name: value for name, value in given if value}

    def unfolds(self) -> bool:
        """Whether one of the folded fields is in use or in error."""
        folded = ("maxTokens", *(parameter for parameter, _, _ in DIMENSION_FIELDS))
        return any(self[name].value() or self[name].errors for name in folded)

    def dimension_fields(self) -> Iterable[forms.BoundField]:
        """The fields that the page folds away."""
        return [self[parameter] for parameter, _, _ in DIMENSION_FIELDS]
