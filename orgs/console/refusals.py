"""Converts operation errors for pages: a form error, or 404."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django import forms
from django.http import Http404

from orgs.core.errors import Missing, OrgsError


@contextmanager
def missing_is_404() -> Iterator[None]:
    """Raise Http404 where an operation raises Missing."""
    try:
        yield
    except Missing as refusal:
        raise Http404 from refusal


@contextmanager
def refusal_in(form: forms.BaseForm) -> Iterator[None]:
    """Add an operation's error to the form, at its field or as a form error; Missing is 404."""
    try:
        with missing_is_404():
            yield
    except OrgsError as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
