"""The playground: a real request, sent by hand. Prompt and answer are shown and not kept."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from costs.core.money import nanoeur_from_euros
from gateway.call.sdk import AiResponse, ai_request
from gateway.playground.forms import PlaygroundForm
from gateway.providers.known import known_models
from gateway.requests import reports
from gateway.requests.lines import request_lines
from gateway.requests.reports import RequestQuery
from orgs.auth.access import Access, member, viewer
from orgs.console.pages import form_page
from orgs.console.queries import takes

REQUESTS_SHOWN: Final = 5


@takes("model")
@form_page
def playground(request: HttpRequest) -> HttpResponse:
    """Show the form; a POST sends the request through the whole gateway and shows its answer."""
    if request.method != "POST":
        access = viewer(request)
        requested = request.GET.get("model") or ("sandbox-small" if settings.SANDBOX else "")
        form = PlaygroundForm(initial={"model": requested})
        return _page(request, access, form, {})
    access = member(request)
    form = PlaygroundForm(request.POST)
    context: dict[str, object] = {}
    if form.is_valid() and (response := _send(access, form)) is not None:
        cost_eur = response.estimated_cost_eur
        context |= {
            "response": response,
            "cost_nanoeur": None if cost_eur is None else nanoeur_from_euros(cost_eur),
        }
    return _page(request, access, form, context)


def _send(access: Access, form: PlaygroundForm) -> AiResponse | None:
    """Return how the request ended, or None when it cannot be made: the form then says why."""
    values = form.cleaned_data
    try:
        return ai_request(
            org_id=access.organization.pk,
            actor_user_id=access.user.pk,
            model=values["model"],
            input=values["prompt"],
            metadata=form.metadata(),
            max_tokens=values["maxTokens"],
        )
    except ValueError as exc:
        form.add_error(None, str(exc))
        return None


def _page(
    request: HttpRequest, access: Access, form: PlaygroundForm, context: dict[str, object]
) -> HttpResponse:
    organization = access.organization
    latest = reports.requests(
        organization_id=organization.pk, query=RequestQuery(), limit=REQUESTS_SHOWN
    )
    context |= {
        "form": form,
        "models": known_models(organization.pk).names,
        "can_use": access.can_use,
        "can_change": access.can_change,
        "gateway_enabled": organization.ai_gateway_enabled,
        "lines": request_lines(latest.rows, organization_id=organization.pk),
        "zone": ZoneInfo(organization.timezone),
    }
    return render(request, "playground/playground.html", context)
