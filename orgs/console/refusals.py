"""Shows a refused operation's message in its form."""

from __future__ import annotations

from django import forms

from orgs.core.errors import OrgsError


def show_refusal(form: forms.Form, refusal: OrgsError) -> None:
    """Put a refused operation's sentence at the field it is about, or above the form."""
    form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
