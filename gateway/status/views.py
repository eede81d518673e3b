"""The status page: what `/readyz` shows, with the price list and the exchange rate."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import now

from gateway.call.runtime import current
from gateway.status import reports
from orgs.auth.access import viewer
from orgs.console.pages import read_page


@read_page
def status(request: HttpRequest) -> HttpResponse:
    """Show whether the gateway works."""
    access = viewer(request)
    context = {
        "status": reports.status(current(), now()),
        "version": settings.VERSION,
        "zone": ZoneInfo(access.organization.timezone),
    }
    return render(request, "status/status.html", context)
