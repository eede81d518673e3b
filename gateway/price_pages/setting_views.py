"""The pages on which an operator sets a price or a factor, sees what changes, and takes it back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now

from costs.prices.book import lock_prices, price_book, price_list_version
from costs.prices.by_hand import EVERY_MODEL, GivenPrice, set_factor, set_hourly, set_prices
from costs.prices.checks import PriceRefused
from costs.prices.undo import named_by_id, undo
from gateway.price_pages.hourly import HourlyWeek, hourly_week
from gateway.price_pages.preview import Preview, preview
from gateway.price_pages.reports import ModelTable, PricedModel, model_table
from gateway.price_pages.setting import (
    BandFormSet,
    DatedForm,
    HourlyForm,
    ModelFactorForm,
    given_prices,
    initial_bands,
)
from gateway.price_pages.views import common, organization_of
from orgs.auth.access import is_operator
from orgs.console.confirm import HtmxRequest, question
from orgs.console.pages import form_page, question_page
from orgs.console.queries import takes
from orgs.console.refusals import refusal_in
from orgs.models import Organization

CONFIRM = "set"


@takes("provider", "name")
@form_page
def set_price(request: HttpRequest) -> HttpResponse:
    """Set all prices of a model from a moment on: first what changes, then confirmed."""
    organization, table, found = _found(request)
    context = common(request, organization, table)
    form = DatedForm(request.POST or None, zone=context["zone"])
    bands = BandFormSet(request.POST or None, initial=initial_bands(found.rates))
    shown: Preview | None = None
    if request.method == "POST" and form.is_valid() and bands.is_valid():
        at, model = now(), found.model
        starts_at = form.start(at)
        in_force = price_book().rates_for(model.price_names[:1], model.provider, starts_at)
        base = GivenPrice(
            provider=model.provider,
            model=model.price_names[0],
            prices={},
            starts_at=starts_at,
            source=form.cleaned_data["source"],
        )
        given = given_prices(bands.forms, in_force, base)
        if not given:
            form.add_error(None, "Nothing changes: these prices are in force then already.")
        change = partial(set_prices, given, now=at, keeps_rest=False)
        shown, is_done = _tried_or_done(
            request, form, change, found=found, starts_at=starts_at, organization=organization
        )
        if is_done:
            messages.success(request, f"Price of {model.qualified_name} set.")
            return redirect("model-price", model.provider, model.id)
    context |= {"form": form, "bands": bands, "priced": found, "preview": shown}
    return render(request, "price_pages/set.html", context)


@takes("provider", "name")
@form_page
def set_factor_of(request: HttpRequest) -> HttpResponse:
    """Set a discount or the factor of a place: first what changes, then confirmed."""
    organization, table, found = _found(request)
    context, model = common(request, organization, table), found.model
    form = ModelFactorForm(request.POST or None, zone=context["zone"], provider=model.provider)
    shown: Preview | None = None
    if request.method == "POST" and form.is_valid():
        at = now()
        row = form.factor(provider=model.provider, model=found.price_name, now=at)
        change = partial(set_factor, row, now=at)
        shown, is_done = _tried_or_done(
            request, form, change, found=found, starts_at=row.starts_at, organization=organization
        )
        if is_done:
            messages.success(request, f"Prices of {model.qualified_name} changed.")
            return redirect("model-price", model.provider, model.id)
    context |= {"form": form, "priced": found, "preview": shown}
    return render(request, "price_pages/factor.html", context)


@takes("provider", "name")
@form_page
def set_hourly_of(request: HttpRequest) -> HttpResponse:
    """Set a price by the hour, or end it: first what changes, then confirmed."""
    organization, table, found = _found(request)
    context, model = common(request, organization, table), found.model
    form = HourlyForm(request.POST or None, zone=context["zone"], provider=model.provider)
    shown: Preview | None = None
    week: HourlyWeek | None = None
    if request.method == "POST" and form.is_valid():
        at = now()
        row = form.row(provider=model.provider, model=found.price_name, now=at)
        change = partial(set_hourly, row, now=at)
        shown, is_done = _tried_or_done(
            request, form, change, found=found, starts_at=row.starts_at, organization=organization
        )
        if is_done:
            messages.success(request, f"Price by the hour of {model.qualified_name} changed.")
            return redirect("model-price", model.provider, model.id)
        week = hourly_week(row, now=at) if shown and not row.is_end else None
    context |= {"form": form, "priced": found, "preview": shown, "week": week}
    return render(request, "price_pages/hourly.html", context)


@takes("id")
@question_page
def undo_price(request: HtmxRequest) -> HttpResponse:
    """Ask, then take back what an operator has set."""
    _operators_only(request)
    try:
        row_id = UUID(request.GET.get("id", ""))
        provider, name = named_by_id(row_id)
    except (ValueError, PriceRefused) as exc:
        raise Http404 from exc
    if request.method != "POST":
        context = {"provider": provider, "name": name, "row_id": row_id}
        return question(request, "price_pages/undo.html", context)
    try:
        undo(provider=provider, model=name, row_id=row_id, now=now())
        messages.success(request, f"Taken back: what was set for {provider} {name}.")
    except PriceRefused as refusal:
        messages.error(request, f"{refusal.message}.")
    return (
        redirect("model-prices") if name == EVERY_MODEL else redirect("model-price", provider, name)
    )


def _tried_or_done(  # noqa: PLR0913  one change and where it is shown
    request: HttpRequest,
    form: DatedForm,
    change: Callable[[], object],
    *,
    found: PricedModel,
    starts_at: datetime,
    organization: Organization | None,
) -> tuple[Preview | None, bool]:
    """Make a change that was confirmed, and return whether it was made; else what it would do.

    One that was confirmed by an older price list is only shown again.
    """
    shown: Preview | None = None
    if not form.is_valid():
        return shown, False
    with refusal_in(form):
        if request.POST.get("action") == CONFIRM:
            with transaction.atomic():
                lock_prices()
                if str(price_list_version()) == request.POST.get("version"):
                    change()
                    return None, True
            form.add_error(None, "The price list has changed since the preview; check it again.")
        shown = preview(
            change,
            model=found.model,
            starts_at=starts_at,
            now=now(),
            org_id=organization.pk if organization else None,
        )
    return shown, False


def _found(request: HttpRequest) -> tuple[Organization | None, ModelTable, PricedModel]:
    _operators_only(request)
    organization = organization_of(request)
    table = model_table(organization, at=now())
    found = table.find(request.GET.get("provider", ""), request.GET.get("name", ""))
    if found is None:
        raise Http404
    return organization, table, found


def _operators_only(request: HttpRequest) -> None:
    if not is_operator(request.user):
        raise PermissionDenied("Only an operator of the installation can do this.")
