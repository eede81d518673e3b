"""Questions before something is done: a page of its own, or the same in a dialog by htmx."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A request that went through django-htmx's middleware."""

    htmx: HtmxDetails


def question(request: HtmxRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Return the question; its template has the part for the dialog under the name `ask`.

    htmx only asks: what is answered comes by a plain POST and is a page again.
    """
    return render(request, f"{template}#ask" if request.htmx else template, context)
