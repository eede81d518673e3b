"""The forms of sign-in and of the own profile."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib.auth.forms import PasswordChangeForm

from orgs.core.values import EMAIL_MAX_CHARS
from orgs.models import User

PASSWORD_MAX_CHARS: Final = 1000


class SignInForm(forms.Form):
    """Email address and password."""

    email = forms.EmailField(
        label="Email",
        max_length=EMAIL_MAX_CHARS,
        widget=forms.EmailInput({"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=PASSWORD_MAX_CHARS,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        return email.lower()


class EndSessionsForm(forms.Form):
    """The password of the signed-in person."""

    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=PASSWORD_MAX_CHARS,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )

    def __init__(self, user: User, data: Any = None) -> None:
        super().__init__(data, label_suffix="", auto_id="id_sessions_%s")
        self.user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise forms.ValidationError("Incorrect password.")
        return password


class NewPasswordForm(PasswordChangeForm):
    """The current password, and a new one twice."""

    def __init__(self, user: User, data: Any = None) -> None:
        super().__init__(user, data)
        self.label_suffix = ""
        self.error_messages = {**self.error_messages, "password_incorrect": "Incorrect password."}
        for field in self.fields.values():
            field.widget.attrs.pop("autofocus", None)
