"""The cost explorer: a page and the same rows as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from costs import charts, reports
from costs.core.money import euros
from costs.forms import CostForm
from costs.reports import DAY, CostGroup, CostReport, Sums
from orgs.access import Access, viewer

# Where a click on a line leads: its dimension becomes this filter.
FILTER_OF_GROUP: Final = {
    "model": "model",
    "provider": "provider",
    "team": "teamId",
    "project": "projectId",
    "app": "appId",
    "client": "clientId",
    "user": "userId",
}
CSV_FIGURES: Final = (
    *("amount_eur", "amount_nanoeur", "share_percent"),
    *("requests", "events", "input_tokens", "output_tokens"),
)
# A cell that begins with one of these is a formula to some spreadsheet.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  full-width on purpose


@dataclass(frozen=True, slots=True)
class Line:
    """A group as the page's table shows it."""

    group: CostGroup
    href: str | None
    bar_percent: str


@login_required
@never_cache
@require_safe
def costs(request: HttpRequest) -> HttpResponse:
    """Show the organization's costs by any dimension; the URL is the whole state."""
    access = viewer(request)
    form = _form(request, access)
    context: dict[str, object] = {"form": form, "zone": access.organization.timezone}
    if form.is_valid():
        report = _report(access, form)
        query = form.query()
        is_by_day = query.group_by == DAY
        context |= {
            "report": report,
            "lines": [_line(group, report.total, form.parameters()) for group in report.groups],
            "group_by": query.group_by,
            "chart": charts.day_chart(
                report.groups, first_day=query.first_day, last_day=query.last_day
            )
            if is_by_day
            else None,
            "query": query,
            "csv_parameters": urlencode(form.parameters()),
        }
    return render(request, "costs/explorer.html", context)


@login_required
@never_cache
@require_safe
def costs_csv(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Send the lines of the page as CSV. Amounts are exact; a bad filter is 400."""
    access = viewer(request)
    form = _form(request, access)
    if not form.is_valid():
        return HttpResponse(form.errors.as_text(), status=400, content_type="text/plain")
    query = form.query()
    response = StreamingHttpResponse(
        _csv_lines(query.group_by, _report(access, form)), content_type="text/csv; charset=utf-8"
    )
    name = f"costs-by-{query.group_by}-{query.first_day}-{query.last_day}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _form(request: HttpRequest, access: Access) -> CostForm:
    today = now().astimezone(ZoneInfo(access.organization.timezone)).date()
    return CostForm(request.GET.dict(), today=today)


def _report(access: Access, form: CostForm) -> CostReport:
    organization = access.organization
    return reports.explore(
        organization_id=organization.pk,
        zone=ZoneInfo(organization.timezone),
        query=form.query(),
    )


def _line(group: CostGroup, total: Sums, parameters: dict[str, str]) -> Line:
    """Link a group to the costs of it alone. What was not said cannot be asked for."""
    group_by = parameters["groupBy"]
    href = None
    if group.value and group_by == DAY:
        href = urlencode(parameters | {"from": group.value, "to": group.value, "groupBy": "model"})
    elif group.value:
        href = urlencode(parameters | {FILTER_OF_GROUP[group_by]: group.value, "groupBy": DAY})
    width = charts.share_width(group.sums.amount_nanoeur, total.amount_nanoeur)
    return Line(group=group, href=href, bar_percent=width)


class _Echo:
    """What csv.writer writes into: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def _csv_lines(group_by: str, report: CostReport) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow((group_by, "name", *CSV_FIGURES))
    for group in report.groups:
        name = (csv_text(group.value or ""), csv_text(group.label))
        yield writer.writerow((*name, *_csv_figures(group.sums, group.share_percent)))
    if report.rest is not None:
        name = ("", f"{report.rest_groups} more")
        share = reports.share_percent(report.rest.amount_nanoeur, report.total.amount_nanoeur)
        yield writer.writerow((*name, *_csv_figures(report.rest, share)))


def _csv_figures(sums: Sums, share_percent: str | None) -> tuple[object, ...]:
    return (
        f"{euros(sums.amount_nanoeur):f}",
        sums.amount_nanoeur,
        share_percent or "",
        *(sums.requests, sums.events, sums.input_tokens, sums.output_tokens),
    )


def csv_text(text: str) -> str:
    """Return the text such that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
