"""The cost explorer: a page, and the same lines as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.timezone import now
from django.views.decorators.vary import vary_on_headers

from costs.core.calendar.periods import local_day
from costs.core.cost_query import CostQuery
from costs.explorer import reports
from costs.explorer.exports import csv_pieces, json_pieces, streamed
from costs.explorer.forms import PARAMETERS, WITHOUT, CostForm
from costs.explorer.names import models_used
from costs.explorer.page import explorer_page
from orgs.auth.access import viewer
from orgs.console.confirm import HtmxRequest
from orgs.console.pages import read_page
from orgs.console.queries import takes
from orgs.console.refusals import filters_refused, refusal_in
from orgs.models import Organization

takes_filters = takes(*PARAMETERS, repeated=(WITHOUT,))


@dataclass(frozen=True, slots=True)
class Question:
    """A request to the explorer; `query` is None if a field is invalid."""

    organization: Organization
    today: date
    form: CostForm
    used: list[tuple[str, str]]
    query: CostQuery | None


@takes_filters
@read_page
@vary_on_headers("HX-Request")
def costs(request: HtmxRequest) -> HttpResponse:
    """Show the organization's costs by any dimension; the URL is the whole state."""
    asked = _question(request)
    context: dict[str, object] = {
        "form": asked.form,
        "zone": asked.organization.timezone,
        "is_custom": asked.form.is_custom,
        "unfolds": asked.form.unfolds(),
    }
    if asked.query is not None:
        context["page"] = explorer_page(
            organization_id=asked.organization.pk,
            form=asked.form,
            query=asked.query,
            used=asked.used,
            today=asked.today,
        )
    wants_part = request.htmx and not request.htmx.history_restore_request
    template = "explorer/explorer.html#explorer" if wants_part else "explorer/explorer.html"
    return render(request, template, context, status=200 if asked.query else 400)


@takes_filters
@read_page
def costs_csv(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Send every line of the page's table as CSV. Amounts are exact; an invalid filter is 400."""
    asked = _question(request)
    if asked.query is None:
        return filters_refused(request, asked.form.errors)
    total, _ = reports.totals(organization_id=asked.organization.pk, query=asked.query)
    groups = reports.every_group(organization_id=asked.organization.pk, query=asked.query)
    pieces = csv_pieces(asked.query, groups, total)
    return _file(request, asked.query, pieces, kind="csv", content_type="text/csv; charset=utf-8")


@takes_filters
@read_page
def costs_json(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Send every line of the page's table as JSON. Amounts are exact; an invalid filter is 400."""
    asked = _question(request)
    if asked.query is None:
        return filters_refused(request, asked.form.errors)
    total, before = reports.totals(organization_id=asked.organization.pk, query=asked.query)
    pieces = json_pieces(
        asked.query,
        reports.every_group(organization_id=asked.organization.pk, query=asked.query),
        total=total,
        before_nanoeur=before,
        zone=asked.organization.timezone,
    )
    return _file(request, asked.query, pieces, kind="json", content_type="application/json")


def _question(request: HttpRequest) -> Question:
    """Read the form from the URL, and look up what it needs in the database."""
    organization = viewer(request).organization
    today = local_day(now(), ZoneInfo(organization.timezone))
    form = CostForm(request.GET, today=today)
    if not form.is_valid():
        return Question(organization, today, form, [], None)
    used = models_used(organization_id=organization.pk)
    query = None
    with refusal_in(form):
        query = form.query(organization_id=organization.pk, used=used)
    return Question(organization, today, form, used, query)


def _file(
    request: HttpRequest, query: CostQuery, pieces: Iterator[str], *, kind: str, content_type: str
) -> StreamingHttpResponse:
    response = streamed(request, pieces, content_type=content_type)
    by = "-and-".join(query.group_by)
    name = f"costs-by-{by}-{query.date_range.first}-{query.date_range.last}.{kind}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
