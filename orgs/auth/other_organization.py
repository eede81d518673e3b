"""The page of a form or a link that is not for the active organization: both choices."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.defaults import permission_denied

from orgs.auth.access import CHANGES_ORGANIZATION, FORM_ORGANIZATION, OtherOrganization

# What the page's form has itself.
_OWN_FIELDS = frozenset({FORM_ORGANIZATION, CHANGES_ORGANIZATION, "csrfmiddlewaretoken"})


@never_cache
def denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer PermissionDenied: 409 with both choices for another organization, else 403.

    A form keeps what was typed. htmx gets the sentence alone.
    """
    if not isinstance(exception, OtherOrganization):
        return permission_denied(request, exception)
    if request.headers.get("HX-Request"):
        sentence = f"{exception} Nothing was changed. Reload the page."
        return HttpResponse(sentence, status=409, content_type="text/plain; charset=utf-8")
    is_form = request.method == "POST"
    context = {
        "exception": exception,
        "wanted": exception.wanted,
        "active": exception.active,
        "is_form": is_form,
        "typed": [
            (name, value)
            for name, values in (request.POST.lists() if is_form else ())
            for value in values
            if name not in _OWN_FIELDS
        ],
    }
    return render(request, "console/other_organization.html", context, status=409)
