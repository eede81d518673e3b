"""The pages of requests: the recent ones, and what happened to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from costs.charts import share_width
from gateway import reports, timeline
from gateway.filters import RequestFilterForm
from gateway.models import AiRequestLog
from gateway.rate_table import rate_table
from gateway.reports import Names, RequestPage, SpendToday
from orgs.access import get_or_404, viewer


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLine:
    """A request as the list shows it."""

    row: AiRequestLog
    status: timeline.Status
    tokens: int | None
    who: str | None
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendBar:
    """Today's money as shares of a bar, in percent."""

    charged: str
    held: str
    held_from: str


@login_required
@never_cache
@require_safe
def requests(request: HttpRequest) -> HttpResponse:
    """List recent requests, newest first, above what the day has cost so far."""
    access = viewer(request)
    organization, moment = access.organization, now()
    zone = ZoneInfo(organization.timezone)
    form = RequestFilterForm(request.GET.dict())
    page = RequestPage(rows=[], before=None)
    if form.is_valid():
        query = form.query(moment=moment, zone=zone)
        page = reports.requests(organization_id=organization.pk, query=query)
    names = reports.names_in(page.rows, organization_id=organization.pk)
    spend = reports.spend_today(organization_id=organization.pk, moment=moment)
    context = {
        "form": form,
        "lines": [_line(row, names) for row in page.rows],
        "older": form.parameters(before=page.before) if page.before else None,
        "newest": form.parameters() if form.is_valid() and "before" in request.GET else None,
        "is_filtered": bool(request.GET),
        "spend": spend,
        "bar": _bar(spend),
        "gateway_enabled": organization.ai_gateway_enabled,
        "can_change": access.can_change,
        "zone": zone,
        "url": request.build_absolute_uri("/api/ai/request"),
    }
    return render(request, "gateway/requests.html", context)


@login_required
@never_cache
@require_safe
def request_detail(request: HttpRequest, request_id: str) -> HttpResponse:
    """Show what happened to one request, and why."""
    access = viewer(request)
    row = get_or_404(access, AiRequestLog.objects.all(), request_id)
    story = reports.story(row)
    kept_rates = [hold.rate_card.rates for hold in story.holds]
    context = {
        "row": row,
        "status": timeline.status_badge(row.status),
        "steps": timeline.steps(story),
        "usage": timeline.usage_facts(row),
        "rates": rate_table(*kept_rates, _trace(row).get("rates")),
        "bound_nanoeur": _bound(row),
        "who": _who(row, story.names),
        "dimensions": _dimensions(row),
        "key_name": story.names.keys.get(row.key_id) if row.key_id else None,
        "holds": story.holds,
        "events": story.events,
        "zone": ZoneInfo(access.organization.timezone),
    }
    return render(request, "gateway/request.html", context)


def _line(row: AiRequestLog, names: Names) -> RequestLine:
    said = [count for count in (row.input_tokens, row.output_tokens) if count is not None]
    key_name = names.keys.get(row.key_id) if row.key_id else None
    where = [f"{name} {value}" for name, value in _dimensions(row)]
    return RequestLine(
        row=row,
        status=timeline.status_badge(row.status),
        tokens=sum(said) if said else None,
        who=_who(row, names) or key_name or row.channel,
        where=tuple(where),
    )


def _who(row: AiRequestLog, names: Names) -> str | None:
    return names.people.get(row.user_id, row.user_id) if row.user_id else None


def _dimensions(row: AiRequestLog) -> list[tuple[str, str]]:
    said = (
        ("team", row.team_id),
        ("project", row.project_id),
        ("app", row.app_id),
        ("client", row.client_id),
        ("task", row.task_type),
    )
    return [(name, value) for name, value in said if value]


def _trace(row: AiRequestLog) -> dict[str, Any]:
    return row.decision if isinstance(row.decision, dict) else {}


def _bound(row: AiRequestLog) -> int | None:
    """Return what was held, or else what the request could have cost when it was refused."""
    judged = _trace(row).get("bound_nanoeur")
    return row.hold_nanoeur if row.hold_nanoeur is not None or type(judged) is not int else judged


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
