"""Turns refused operations into pages: the message in the form, or 404."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django import forms
from django.http import Http404

from orgs.core.errors import Missing, OrgsError


@contextmanager
def missing_is_404() -> Iterator[None]:
    """Raise Http404 where an operation finds that its row is gone."""
    try:
        yield
    except Missing as refusal:
        raise Http404 from refusal


@contextmanager
def refusal_in(form: forms.Form) -> Iterator[None]:
    """Add a refused operation's message to the form, at its field or above all; 404 if gone."""
    try:
        with missing_is_404():
            yield
    except OrgsError as refusal:
        form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
