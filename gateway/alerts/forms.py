"""The forms of alerts: the filter of the list, a channel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django import forms

from gateway.alerts.operations import ChannelTerms
from gateway.alerts.reports import ACKNOWLEDGED, OPEN, AlertQuery
from gateway.models import Alert
from gateway.upstream.reach import URL_MAX_CHARS

EMAIL, WEBHOOK = "email", "webhook"
FILTERS: Final = ("state", "kind", "alertId")
_SEPARATOR: Final = re.compile(r"[,;\s]+")


class AlertFilterForm(forms.Form):
    """Every filter of the list; an empty URL is everything, newest first."""

    state = forms.ChoiceField(
        label="State",
        required=False,
        choices=[("", "All"), (OPEN, "Open"), (ACKNOWLEDGED, "Acknowledged")],
    )
    kind = forms.ChoiceField(
        label="Type",
        required=False,
        choices=[
            ("", "All"),
            (Alert.Kind.BUDGET, "Budgets"),
            (Alert.Kind.FORECAST, "Forecasts"),
            (Alert.Kind.DAY_LIMIT, "Daily limits"),
            (Alert.Kind.SPIKE, "Spikes"),
            (Alert.Kind.REFUSAL, "Refused calls"),
            (Alert.Kind.EXCHANGE_RATE, "Exchange rates"),
            (Alert.Kind.PROVIDER_CREDENTIALS, "Provider credentials"),
            (Alert.Kind.ABOVE_HOLD, "Bills above their holds"),
        ],
    )
    alertId = forms.UUIDField(  # the API's name
        required=False,
        widget=forms.HiddenInput,
        error_messages={"invalid": "Not a valid alert id."},
    )

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data, label_suffix="")

    def query(self, *, older_than: UUID | None = None) -> AlertQuery:
        """Return the query of a valid form; `older_than` continues the list."""
        values = self.cleaned_data
        return AlertQuery(
            state=values["state"] or None,
            kind=values["kind"] or None,
            alert_id=values["alertId"],
            older_than=older_than,
        )

    def is_filtered(self) -> bool:
        """Whether a valid form leaves anything out."""
        return any(self.cleaned_data[name] for name in FILTERS)

    def parameters(self, *, older_than: UUID | None = None) -> str:
        """Return a valid form as the part of a URL, with another place in the list."""
        chosen = {name: self.cleaned_data[name] for name in FILTERS}
        chosen |= {"older_than": older_than}
        return urlencode({name: f"{value}" for name, value in chosen.items() if value})


class ChannelForm(forms.Form):
    """A channel for alerts."""

    name = forms.CharField(
        label="Channel name", max_length=100, help_text="Shown in the list of channels."
    )
    kind = forms.ChoiceField(
        label="Type",
        choices=[(WEBHOOK, "Webhook: Slack, Mattermost or your own"), (EMAIL, "Email")],
        initial=WEBHOOK,
    )
    url = forms.CharField(
        label="Webhook URL",
        required=False,
        max_length=URL_MAX_CHARS,
        widget=forms.URLInput({"autocomplete": "off", "spellcheck": "false"}),
        help_text="Must be https:// and on the public internet. Each alert is one signed POST of "
        "JSON. The secret is shown once, when the channel is added; later only the URL's host is.",
    )
    emails = forms.CharField(
        label="Email addresses",
        required=False,
        widget=forms.Textarea({"rows": 3, "spellcheck": "false", "autocapitalize": "none"}),
        help_text="One per line. Alerts are sent to an address once its owner has opened the link "
        "in a confirmation email. Confirmed addresses of members need none.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, label_suffix="")

    def clean(self) -> dict[str, Any]:
        """Ask for what the chosen way needs; the other field is of no account, nor its errors."""
        values = self.cleaned_data
        wanted, other = ("emails", "url") if values.get("kind") == EMAIL else ("url", "emails")
        self.errors.pop(other, None)
        if wanted not in self.errors and not values.get(wanted):
            self.add_error(
                wanted, "Enter an email address." if wanted == "emails" else "Enter a URL."
            )
        return values

    def terms(self) -> ChannelTerms:
        """Return the values of a valid form."""
        values = self.cleaned_data
        if values["kind"] == EMAIL:
            emails = [email for email in _SEPARATOR.split(values["emails"]) if email]
            return ChannelTerms(name=values["name"], emails=emails)
        return ChannelTerms(name=values["name"], url=values["url"].strip())
