"""The status page, and its JSON for operators."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import now

from gateway.call.runtime import current
from gateway.http.answers import json_response
from gateway.status import reports
from gateway.status.status_json import status_json
from orgs.auth.access import is_operator, viewer_or_operator
from orgs.console.pages import read_page


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
    viewer_or_operator(request)
    if not is_operator(request.user):
        raise PermissionDenied("Only an operator of the installation can do this.")
    found = reports.status(current(), now(), org_id=None, all_providers=True)
    return json_response(status_json(found), None)
