"""The pages of requests: the recent ones, and what happened to one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.timezone import now
from django.views.decorators.vary import vary_on_headers

from costs.explorer.charts import share_width
from gateway.call.runtime import current
from gateway.models import AiRequestLog
from gateway.policies import reports as policies_reports
from gateway.policies.reports import SpendToday
from gateway.requests import activity, reports, sessions, timeline
from gateway.requests.activity_chart import hour_chart
from gateway.requests.filters import FILTERS, RequestFilterForm
from gateway.requests.lines import dimensions_of, request_lines, who_sent
from gateway.requests.pricing import rate_table, usage_facts
from gateway.requests.reports import Cursor, RequestPage
from orgs.auth.access import Access, get_of_member_or_404, get_or_404, viewer
from orgs.console.confirm import HtmxRequest
from orgs.console.pages import read_page
from orgs.console.queries import LINK_ORGANIZATION, InvalidQuery, takes
from orgs.console.refusals import filters_refused


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendBar:
    """Today's money as shares of a bar, in percent."""

    charged: str
    held: str
    held_from: str


@takes(*FILTERS, "before", "live")  # `live` is read by scripts: the list is followed
@read_page
@vary_on_headers("HX-Request")
def requests(request: HtmxRequest) -> HttpResponse:
    """List recent requests, newest first, below what today and the last 24 hours were like.

    A change of filters by htmx requests only the list.
    """
    access = viewer(request)
    organization, moment = access.organization, now()
    zone = ZoneInfo(organization.timezone)
    form = RequestFilterForm(request.GET.dict(), organization=organization, moment=moment)
    page = RequestPage(rows=[], before=None)
    if form.is_valid():
        page = reports.requests(organization_id=organization.pk, query=form.query)
    context = _list(form, page, access, zone) | {
        "older": form.parameters(before=page.before) if page.before else None,
        "newest": form.parameters() if form.is_valid() and "before" in request.GET else None,
        "url": request.build_absolute_uri("/api/ai/request"),
    }
    status = 200 if form.is_valid() else 400
    if request.htmx:
        return render(request, "requests/list.html#list", context, status=status)
    context |= _overview(access, moment, zone)
    return render(request, "requests/list.html", context, status=status)


@takes(*FILTERS, "after", "waiting")
@read_page
def new_requests(request: HttpRequest) -> HttpResponse:
    """Return the rows that have come since `after`, and those of `waiting` that have ended."""
    access = viewer(request)
    organization = access.organization
    zone = ZoneInfo(organization.timezone)
    form = RequestFilterForm(request.GET.dict(), organization=organization, moment=now())
    if not form.is_valid():
        return filters_refused(request, form.errors)
    page = reports.requests(organization_id=organization.pk, query=form.query)
    waiting = form.cleaned_data["waiting"]
    done = reports.ended(organization_id=organization.pk, request_ids=waiting)
    rows = {row.pk: row for row in [*page.rows, *done]}
    lines = request_lines(rows.values(), organization_id=organization.pk)
    context = {"lines": lines, "zone": zone}
    return render(request, "requests/_rows.html", context)


@read_page
@vary_on_headers("HX-Request")
def request_detail(request: HtmxRequest, request_id: str) -> HttpResponse:
    """Show what happened to one request, and why. htmx gets the story alone."""
    access = viewer(request)
    row = get_or_404(access, AiRequestLog.objects.all(), request_id)
    story = reports.story(row)
    kept_rates = [hold.rate_card.rates for hold in story.holds]
    context = {
        "row": row,
        "status": timeline.status_badge(row.status),
        "steps": timeline.steps(story),
        "usage": usage_facts(row),
        "rates": rate_table(*kept_rates, _trace(row).get("rates")),
        "bound_nanoeur": _bound(row),
        "cost_percent": _cost_percent(row),
        "who": who_sent(row, story.names),
        "dimensions": dimensions_of(row),
        "session_address": f"{reverse('session')}?{urlencode({'id': row.session_id})}"
        if row.session_id
        else None,
        "key_name": story.names.keys.get(row.key_id) if row.key_id else None,
        "holds": story.holds,
        "events": story.events,
        "same_prompt": request_lines(story.same_prompt, organization_id=row.org_id),
        "zone": ZoneInfo(access.organization.timezone),
        "address": request.build_absolute_uri(request.path),
    }
    template = "requests/request.html#story" if request.htmx else "requests/request.html"
    return render(request, template, context)


@takes("id", "after")
@read_page
def session(request: HttpRequest) -> HttpResponse:
    """Show an agent's session: its requests in order, its costs by agent, its limit.

    The id is its client's text, which a path could not have in every form.
    """
    access, session_id = viewer(request), request.GET.get("id", "")
    organization = access.organization
    found = None
    if session_id.isprintable():  # a database cannot be asked for every other
        found = sessions.session(
            organization_id=organization.pk, session_id=session_id, moment=now()
        )
    if found is None:
        raise Http404
    page = sessions.requests_in_order(
        organization_id=organization.pk, session_id=session_id, after=_place(request)
    )
    context = {
        "session": found,
        "lines": request_lines(page.rows, organization_id=organization.pk),
        "later": urlencode({"id": session_id, "after": f"{page.before}"}) if page.before else None,
        "first": urlencode({"id": session_id}),
        "is_later": "after" in request.GET,
        "filter": urlencode({"sessionId": session_id}),
        "zone": ZoneInfo(organization.timezone),
    }
    return render(request, "requests/session.html", context)


@read_page
def short_address(request: HttpRequest, request_id: str) -> HttpResponse:
    """Lead the address that a refusal has to the request's page, in the request's organization."""
    row = get_of_member_or_404(viewer(request).user, AiRequestLog.objects.all(), request_id)
    query = urlencode({LINK_ORGANIZATION: row.org.slug})
    return redirect(f"{reverse('request', args=[row.pk])}?{query}")


def _place(request: HttpRequest) -> Cursor | None:
    text = request.GET.get("after")
    try:
        return None if text is None else Cursor.from_text(text)
    except (ValueError, OverflowError) as exc:
        raise InvalidQuery("after", "after is not a valid cursor") from exc


def _list(
    form: RequestFilterForm, page: RequestPage, access: Access, zone: ZoneInfo
) -> dict[str, Any]:
    """Return what the list and the form above it show."""
    is_valid = form.is_valid()
    return {
        "form": form,
        "lines": request_lines(page.rows, organization_id=access.organization.pk),
        "is_filtered": form.is_filtered() if is_valid else True,
        "filters": form.parameters() if is_valid else "",
        # Only the top of the list can be followed.
        "can_follow": is_valid and form.cleaned_data["before"] is None,
        "can_change": access.can_change,
        "can_use": access.can_use,
        "zone": zone,
    }


def _overview(access: Access, moment: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Return what stands above the list: today's money and the last 24 hours.

    Of the calls that wait for room, only those of this process are known.
    """
    organization = access.organization
    spend = policies_reports.spend_today(organization_id=organization.pk, moment=moment)
    recent = activity.last_day(organization_id=organization.pk, moment=moment)
    return {
        "spend": spend,
        "bar": _bar(spend),
        "activity": recent,
        "chart": hour_chart(recent, moment=moment, zone=zone),
        "rows_read_max": activity.ROWS_MAX,
        "gateway_enabled": organization.ai_gateway_enabled,
        "waiting": current().waiting_room.waiting_now(organization.pk),
    }


def _trace(row: AiRequestLog) -> dict[str, Any]:
    return row.decision if isinstance(row.decision, dict) else {}


def _bound(row: AiRequestLog) -> int | None:
    """Return what was held, or else what the request could have cost when it was refused."""
    judged = _trace(row).get("bound_nanoeur")
    return row.hold_nanoeur if row.hold_nanoeur is not None or type(judged) is not int else judged


def _cost_percent(row: AiRequestLog) -> str | None:
    """Return the cost as a share of what was held, or None where one of them is not known."""
    if row.cost_nanoeur is None or not row.hold_nanoeur:
        return None
    return share_width(row.cost_nanoeur, row.hold_nanoeur)


def _bar(spend: SpendToday) -> SpendBar | None:
    limit = spend.limit_nanoeur
    if limit is None:
        return None
    charged = share_width(spend.charged_nanoeur, limit)
    room = max(0, limit - spend.charged_nanoeur)
    return SpendBar(
        charged=charged,
        held=share_width(min(spend.held_nanoeur, room), limit),
        held_from=charged,
    )
