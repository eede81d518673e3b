"""The pages of models and prices. Members see what their organization can call; operators set it.

An operator need not belong to an organization, and then sees what every organization can call.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.timezone import now

from costs.prices.exchange_rates import rate_in_force, utc_day
from gateway.guards.rule_sets import RuleIndex
from gateway.price_pages import reports
from gateway.price_pages.forms import FILTERS, PER_PAGE, ModelFilterForm
from gateway.price_pages.pages import (
    COLUMNS,
    MORE_IN_JSON,
    discount_of,
    exported_model,
    model_line,
    shown_bands,
)
from gateway.price_pages.past import history_of, who_set
from gateway.price_pages.reports import ModelTable, model_table, policy_rules
from orgs.auth.access import is_operator, viewer_or_operator
from orgs.console.exports import exported
from orgs.console.pages import download, read_page
from orgs.console.queries import takes
from orgs.console.refusals import filters_refused
from orgs.models import Organization


@takes(*FILTERS, "page")
@read_page
def models(request: HttpRequest) -> HttpResponse:
    """List the models with their prices, policies' verdicts and use."""
    organization = organization_of(request)
    table = model_table(organization, at=now())
    form = _form(request, table)
    is_valid = form.is_valid()
    pages = Paginator(form.chosen(table) if is_valid else [], PER_PAGE)
    page = pages.get_page(form.page_number if is_valid else 1)
    rules = _rules(organization, table)
    context = {
        "form": form,
        "lines": [model_line(table.priced(each), table, rules) for each in page],
        "page": page,
        "older": form.address(page.next_page_number()) if page.has_next() else "",
        "newer": form.address(page.previous_page_number()) if page.has_previous() else "",
        "filters": form.address() if is_valid else "",
        "is_filtered": not is_valid or bool(form.address()),
        "all": len(table.models),
        **common(request, organization, table),
    }
    return render(request, "price_pages/list.html", context, status=200 if is_valid else 400)


@takes(*FILTERS)
@download
def export_models(request: HttpRequest, format: str) -> HttpResponse | StreamingHttpResponse:
    """Send the models that the filters leave as a file; a bad filter is 400."""
    organization = organization_of(request)
    table = model_table(organization, at=now())
    form = _form(request, table)
    if not form.is_valid():
        return filters_refused(request, form.errors)
    rules = _rules(organization, table)
    chosen = form.chosen(table)
    chunks = (
        [
            exported_model(table.priced(each), table, rules)
            for each in chosen[first : first + PER_PAGE]
        ]
        for first in range(0, len(chosen), PER_PAGE)
    )
    columns = COLUMNS if format == "csv" else (*COLUMNS, *MORE_IN_JSON)
    return exported(request, chunks, columns=columns, name="models", format=format)


@read_page
def model(request: HttpRequest, provider: str, name: str) -> HttpResponse:
    """Show every price of a model, and those before."""
    organization = organization_of(request)
    table = model_table(organization, at=now())
    found = table.find(provider, name)
    if found is None:
        raise Http404
    rates, past = found.rates, history_of(found, at=table.at)
    by = who_set(past) if is_operator(request.user) else {}
    context = {
        "line": model_line(found, table, _rules(organization, table)),
        "priced": found,
        "bands": shown_bands(rates) if rates else [],
        "places": rates.places if rates else {},
        "discount": discount_of(rates),
        "history": [(each, by.get(each.row_ids[0], "")) for each in past],
        **common(request, organization, table),
    }
    return render(request, "price_pages/model.html", context)


@read_page
def unpriced(request: HttpRequest) -> HttpResponse:
    """List the models that were requested and refused since they have no price."""
    organization = organization_of(request)
    table = model_table(organization, at=now())
    operates = is_operator(request.user)
    org_id = None if operates or organization is None else organization.pk
    found = reports.unpriced(table, org_id)
    context = {"found": found, **common(request, organization, table)}
    return render(request, "price_pages/unpriced.html", context)


def organization_of(request: HttpRequest) -> Organization | None:
    """Return the organization whose models are shown; an operator may have none."""
    access = viewer_or_operator(request)
    return access.organization if access else None


def common(
    request: HttpRequest, organization: Organization | None, table: ModelTable
) -> dict[str, Any]:
    """Return what every page of models shows."""
    return {
        "organization": organization,
        "is_operator": is_operator(request.user),
        "zone": ZoneInfo(organization.timezone if organization else "UTC"),
        "days": reports.USAGE_DAYS,
        "exchange": rate_in_force(utc_day(table.at)),
    }


def _rules(organization: Organization | None, table: ModelTable) -> RuleIndex:
    return policy_rules(organization, table.catalog) if organization else RuleIndex()


def _form(request: HttpRequest, table: ModelTable) -> ModelFilterForm:
    providers = {provider for provider, _ in table.models}
    return ModelFilterForm(request.GET.dict(), providers=providers)
