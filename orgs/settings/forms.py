"""The form of an organization's settings."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django import forms

from orgs.models import Organization


class OrganizationForm(forms.Form):
    """The organization's settings.

    Each field carries its initial value, so that saving a page left open does not undo what
    somebody else has changed since.
    """

    ai_gateway_enabled = forms.BooleanField(
        label="AI Gateway",
        required=False,
        show_hidden_initial=True,
        help_text="On: requests are checked and sent to the providers. "
        "Off: every new request is refused.",
        widget=forms.CheckboxInput({"role": "switch"}),
    )
    name = forms.CharField(label="Name", max_length=200, show_hidden_initial=True)
    timezone = forms.ChoiceField(
        label="Time zone",
        choices=lambda: [(name, name) for name in sorted(zoneinfo.available_timezones())],
        show_hidden_initial=True,
        help_text="Daily limits reset at midnight in this time zone.",
    )
    on_disconnect = forms.ChoiceField(
        label="If a client disconnects mid-answer",
        choices=Organization.OnDisconnect.choices,
        show_hidden_initial=True,
    )
    stores_answers = forms.BooleanField(
        label="Storage at OpenAI",
        required=False,
        show_hidden_initial=True,
        help_text="On: OpenAI stores answers of the Responses API as clients ask, for 30 days, and "
        "conversations until they are deleted; only this organization can use their ids. "
        "Off: nothing is stored.",
        widget=forms.CheckboxInput({"role": "switch"}),
    )

    def __init__(self, data: Any = None, *, organization: Organization) -> None:
        initial = {name: getattr(organization, name) for name in self.base_fields}
        super().__init__(data, initial=initial, label_suffix="")

    def changes(self) -> dict[str, Any]:
        """Return the values changed on the page; a POST without initial values changes all."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if self.add_initial_prefix(name) not in self.data or name in self.changed_data
        }

    def turns_the_gateway_off(self) -> bool:
        """Whether the page turns the gateway off; False for a POST without initial values."""
        name = "ai_gateway_enabled"
        was_on = bool(self.initial[name]) and self.add_initial_prefix(name) in self.data
        return was_on and self.changes().get(name) is False

    def posted(self) -> list[tuple[str, str]]:
        """Return the posted fields, to be posted again with the confirmation."""
        names = (n for name in self.fields for n in (name, self.add_initial_prefix(name)))
        return [(name, self.data[name]) for name in names if name in self.data]
