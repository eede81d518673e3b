"""The sign-in form."""

from __future__ import annotations

from django import forms

from orgs.core.values import EMAIL_MAX_CHARS


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
        max_length=1000,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        return email.lower()
