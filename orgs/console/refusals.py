"""Converts errors for pages: an operation's to a form error or 404, a query's to 400."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django import forms
from django.forms.utils import ErrorDict, ErrorList
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from orgs.console.queries import InvalidQuery
from orgs.core.errors import Missing, OrgsError

FILES: Final = (".csv", ".json")
TEXT_TYPE: Final = "text/plain; charset=utf-8"


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


def filters_refused(request: HttpRequest, errors: ErrorDict) -> HttpResponse:
    """Return the errors of a file's filters: JSON for a JSON file, else a line of text for each."""
    if request.path.endswith(".json"):
        return JsonResponse({"errors": errors.get_json_data()}, status=400)
    lines = [f"{name}: {error}" for name, found in errors.items() for error in found]
    return HttpResponse("\n".join(lines), status=400, content_type=TEXT_TYPE)


def query_refused(request: HttpRequest, fault: InvalidQuery) -> HttpResponse:
    """Return the refusal of a query: a page, for a file its own format, for htmx the sentence."""
    sentence = f"{fault.message}."
    if request.path.endswith(FILES):
        found = ErrorList([forms.ValidationError(sentence, code="invalid")])
        return filters_refused(request, ErrorDict({fault.name: found}))
    if request.headers.get("HX-Request"):
        return HttpResponse(sentence, status=400, content_type=TEXT_TYPE)
    return render(request, "400.html", {"sentence": sentence}, status=400)
