"""The form of adding a member."""

from __future__ import annotations

from django import forms

from orgs.core.values import EMAIL_MAX_CHARS
from orgs.models import Membership


class MemberForm(forms.Form):
    """A member to add."""

    email = forms.EmailField(
        label="Email", max_length=EMAIL_MAX_CHARS, widget=forms.EmailInput({"autocomplete": "off"})
    )
    role = forms.ChoiceField(
        label="Role", choices=Membership.Role.choices, initial=Membership.Role.MEMBER
    )
