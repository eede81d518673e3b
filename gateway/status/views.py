"""The status page, its JSON for operators, and a check of one provider."""

from __future__ import annotations

import threading
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now

from gateway.call.runtime import current
from gateway.http.answers import json_response
from gateway.provider_rows.discovery import discover
from gateway.status import reports
from gateway.status.status_json import status_json
from orgs.auth.access import is_operator, viewer_or_operator
from orgs.console.pages import action, read_page

# A provider has 20 s to answer, which keeps one of the few threads of pages.
_CHECKING: Final = threading.Lock()


@read_page
def status(request: HttpRequest) -> HttpResponse:
    """Show whether the gateway works."""
    access = viewer_or_operator(request)
    organization = access.organization if access else None
    sees_all = is_operator(request.user)
    context = {
        "status": reports.status(
            current(),
            now(),
            org_id=organization.pk if organization else None,
            all_providers=sees_all,
        ),
        "is_operator": sees_all,
        "sends_email": settings.SENDS_EMAIL,
        "version": settings.VERSION,
        "zone": ZoneInfo(organization.timezone if organization else "UTC"),
    }
    return render(request, "status/status.html", context)


@read_page
def status_as_json(request: HttpRequest) -> HttpResponse:
    """Return what an operator sees on the page as JSON."""
    _check_operator(request)
    found = reports.status(current(), now(), org_id=None, all_providers=True)
    return json_response(status_json(found), None)


@action
def check_provider(request: HttpRequest) -> HttpResponse:
    """Ask a provider for its list of models; a process asks one at a time."""
    _check_operator(request)
    line = reports.line_of(request.POST.get("name", ""))
    if line is None:
        raise Http404
    if not _CHECKING.acquire(blocking=False):
        messages.warning(request, "Another check is running; try again when it has ended.")
        return redirect("status")
    try:
        [found] = discover([line.config])
    finally:
        _CHECKING.release()
    report = messages.error if found.answers is False else messages.success
    report(request, f"{line.config.name}: {found.sentence}.")
    return redirect("status")


def _check_operator(request: HttpRequest) -> None:
    viewer_or_operator(request)
    if not is_operator(request.user):
        raise PermissionDenied("Only an operator of the installation can do this.")
