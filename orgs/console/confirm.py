"""Confirmation before an action: a page, or the same in a dialog by htmx."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A request that went through django-htmx's middleware."""

    htmx: HtmxDetails


def question(request: HtmxRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Return the confirmation; its template extends `console/ask.html`.

    htmx only loads the dialog: confirming it is a plain POST, answered by a page.
    """
    frame = "console/dialog.html" if request.htmx else "console/base.html"
    return render(request, template, {"frame": frame, **context})
