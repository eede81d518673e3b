"""Decorators of the console's views: sign-in and allowed methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from django.contrib.auth.decorators import login_required
from django.http import HttpResponseBase
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

View = TypeVar("View", bound=Callable[..., HttpResponseBase])
FORM_METHODS: Final = ["GET", "HEAD", "POST"]


def read_page(view: View) -> View:
    """Require sign-in for a page that is read only."""
    return login_required(require_safe(view))


def form_page(view: View) -> View:
    """Require sign-in for a form."""
    return login_required(require_http_methods(FORM_METHODS)(view))


def question_page(view: View) -> View:
    """Require sign-in for a confirmation, as a page or in a dialog."""
    varied = vary_on_headers("HX-Request")(view)
    return login_required(require_http_methods(FORM_METHODS)(varied))


def action(view: View) -> View:
    """Require sign-in and POST for an action."""
    return login_required(require_POST(view))


def download(view: View) -> View:
    """Require sign-in for a file download."""
    return login_required(require_safe(view))
