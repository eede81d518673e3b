"""The forms of sign-in, settings and keys: they check shape; the operations check the rest."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms

from orgs.core.values import DIMENSION_MAX_CHARS
from orgs.errors import OrgsError
from orgs.key_operations import NAME_MAX_CHARS, KeyFields
from orgs.models import Membership, Organization, User
from orgs.operations import EMAIL_MAX_CHARS

KEY_LASTS_AT_MOST_DAYS: Final = 3650


def show_refusal(form: forms.Form, refusal: OrgsError) -> None:
    """Put a refused operation's sentence at the field it is about, or above the form."""
    form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)


class SignInForm(forms.Form):
    """E-mail address and password."""

    email = forms.EmailField(
        label="Email",
        max_length=EMAIL_MAX_CHARS,
        widget=forms.EmailInput({"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        return email.lower()


class OrganizationForm(forms.Form):
    """The organization's settings.

    Each field carries what it was when the page was opened, so that a page left open does not
    undo what somebody else has changed since.
    """

    ai_gateway_enabled = forms.BooleanField(
        label="AI Gateway",
        required=False,
        show_hidden_initial=True,
        help_text="On: this organization's requests are judged and sent to the providers. "
        "Off: every request is refused, from the next one on.",
        widget=forms.CheckboxInput({"role": "switch"}),
    )
    name = forms.CharField(label="Name", max_length=200, show_hidden_initial=True)
    timezone = forms.ChoiceField(
        label="Time zone",
        choices=lambda: [(name, name) for name in sorted(zoneinfo.available_timezones())],
        show_hidden_initial=True,
        help_text="Daily limits begin anew at midnight here.",
    )
    on_disconnect = forms.ChoiceField(
        label="When a client goes away before its answer is complete",
        choices=Organization.OnDisconnect.choices,
        show_hidden_initial=True,
    )

    def __init__(self, data: Any = None, *, organization: Organization) -> None:
        initial = {name: getattr(organization, name) for name in self.base_fields}
        super().__init__(data, initial=initial, label_suffix="")

    def changes(self) -> dict[str, Any]:
        """Return the values that the person changed; a program that posts plainly changes all."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if self.add_initial_prefix(name) not in self.data or name in self.changed_data
        }

    def turns_the_gateway_off(self) -> bool:
        """Whether a person turns off, on the page, what was on; a program knows what it posts."""
        name = "ai_gateway_enabled"
        was_on = bool(self.initial[name]) and self.add_initial_prefix(name) in self.data
        return was_on and self.changes().get(name) is False

    def posted(self) -> list[tuple[str, str]]:
        """Return what the page sent, to be sent again with an answer."""
        names = (n for name in self.fields for n in (name, self.add_initial_prefix(name)))
        return [(name, self.data[name]) for name in names if name in self.data]


class MemberForm(forms.Form):
    """A person to let in."""

    email = forms.EmailField(
        label="Email", max_length=EMAIL_MAX_CHARS, widget=forms.EmailInput({"autocomplete": "off"})
    )
    role = forms.ChoiceField(
        label="Role", choices=Membership.Role.choices, initial=Membership.Role.MEMBER
    )


def _dimension(label: str) -> forms.CharField:
    return forms.CharField(label=label, max_length=DIMENSION_MAX_CHARS, required=False)


class KeyForm(forms.Form):
    """A key to make. A dimension that is filled in is fixed for all its calls."""

    name = forms.CharField(
        label="Key name",
        max_length=NAME_MAX_CHARS,
        help_text="What will use it, such as the name of a service.",
    )
    owner = forms.ModelChoiceField(
        queryset=User.objects.none(),
        label="Owner",
        required=False,
        empty_label="Nobody: calls may name their user",
        help_text="Calls are counted for this person. Their keys end with their membership.",
    )
    team_id = _dimension("Team")
    project_id = _dimension("Project")
    app_id = _dimension("App")
    client_id = _dimension("Client")
    expires_days = forms.IntegerField(
        label="Expires after (days)",
        required=False,
        min_value=1,
        max_value=KEY_LASTS_AT_MOST_DAYS,
        help_text="Empty: never.",
    )

    def __init__(self, data: Any = None, *, organization: Organization) -> None:
        super().__init__(data, label_suffix="")
        owner = self.fields["owner"]
        members = User.objects.filter(memberships__org=organization, is_active=True)
        owner.queryset = members.order_by("email")  # type: ignore[attr-defined]  # a ModelChoiceField

    def key_fields(self, moment: datetime) -> KeyFields:
        """Return what the key has besides its name."""
        values = self.cleaned_data
        days = values["expires_days"]
        return KeyFields(
            owner=values["owner"],
            team_id=values["team_id"] or None,
            project_id=values["project_id"] or None,
            app_id=values["app_id"] or None,
            client_id=values["client_id"] or None,
            expires_at=None if days is None else moment + timedelta(days=days),
        )


class RotateForm(forms.Form):
    """How long the old key works on."""

    overlap_hours = forms.TypedChoiceField(
        label="The old key works on for",
        choices=[(0, "not at all"), (1, "1 hour"), (24, "24 hours"), (168, "7 days")],
        coerce=int,
        initial=24,
    )
