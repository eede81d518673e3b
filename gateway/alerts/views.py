"""The pages of alerts and their channels. Everybody in the organization sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from costs.core.exchange_rates import STALE_AFTER_WORKING_DAYS
from costs.core.money import format_eur
from gateway.alerts import operations, reports
from gateway.alerts.delivery import confirmation
from gateway.alerts.delivery.confirmation import Asked
from gateway.alerts.delivery.deliver import secret_for
from gateway.alerts.forms import FILTERS, AlertFilterForm, ChannelForm
from gateway.alerts.pages import (
    COLUMNS,
    alert_lines,
    channel_lines,
    exported,
    sent_links,
    where,
)
from gateway.alerts.reports import AlertQuery
from gateway.alerts.rules.spikes import RATIO, WEEKS
from gateway.alerts.rules.thresholds import (
    BUDGET_PERCENTS,
    DAY_PERCENTS,
    REFUSAL_FROM_PERCENT,
)
from gateway.models import Alert, AlertChannel
from orgs.auth.access import admin, get_or_404, id_parameter, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported as file_of
from orgs.console.pages import FORM_METHODS, action, download, form_page, question_page, read_page
from orgs.console.queries import takes
from orgs.console.refusals import filters_refused, refusal_in
from orgs.console.switch import switched
from orgs.core.errors import OrgsError

ROWS_PER_CHUNK: Final = 1_000


@takes(*FILTERS, "older_than")
@read_page
def alerts(request: HttpRequest) -> HttpResponse:
    """List the alerts, newest first: what happened, its deliveries, who acknowledged it."""
    access = viewer(request)
    organization = access.organization
    older_than = id_parameter(request, "older_than")
    form = AlertFilterForm(request.GET.dict())
    found: list[Alert] = []
    has_more = False
    if form.is_valid():
        found, has_more = reports.alerts(
            organization_id=organization.pk, query=form.query(older_than=older_than)
        )
    context = {
        "form": form,
        "lines": alert_lines(found, organization_id=organization.pk),
        "older": form.parameters(older_than=found[-1].pk) if has_more else None,
        "filters": form.parameters() if form.is_valid() else "",
        "is_filtered": form.is_bound and (not form.is_valid() or form.is_filtered()),
        "is_first": older_than is None,
        "newest_open": next((a for a in found if a.acknowledged_at is None), None),
        "channels": [
            channel
            for channel in reports.channels(organization_id=organization.pk)
            if channel.enabled
        ],
        "can_change": access.can_change,
        "zone": ZoneInfo(organization.timezone),
    }
    return render(request, "alerts/list.html", context, status=200 if form.is_valid() else 400)


@takes(*FILTERS)
@download
def export_alerts(request: HttpRequest, format: str) -> HttpResponse | StreamingHttpResponse:
    """Send the alerts that the filters leave as a file; a bad filter is 400."""
    organization = viewer(request).organization
    form = AlertFilterForm(request.GET.dict())
    if not form.is_valid():
        return filters_refused(request, form.errors)
    pages = _pages(organization.pk, form.query())
    return file_of(request, pages, columns=COLUMNS, name="alerts", format=format)


@action
def acknowledge(request: HttpRequest, alert_id: str) -> HttpResponse:
    """Note who has seen an alert, and go back to where they were."""
    access = admin(request)
    alert = get_or_404(access, Alert.objects.all(), alert_id)
    operations.acknowledge(
        organization_id=access.organization.pk, alert_id=alert.pk, by=access.user.email
    )
    messages.success(request, "Alert acknowledged.")
    return _back(request)


@action
def acknowledge_all(request: HttpRequest) -> HttpResponse:
    """Acknowledge all that was open when the page was made."""
    access = admin(request)
    newest = get_or_404(access, Alert.objects.all(), request.POST.get("up_to", ""))
    count = operations.acknowledge_all(
        organization_id=access.organization.pk, up_to=newest.pk, by=access.user.email
    )
    messages.success(request, f"{count} alert{'' if count == 1 else 's'} acknowledged.")
    return _back(request)


# --- channels -----------------------------------------------------------------------------------


@read_page
def channels(request: HttpRequest) -> HttpResponse:
    """List the channels, and what triggers alerts."""
    access = viewer(request)
    found = reports.channels(organization_id=access.organization.pk)
    context = {
        "lines": channel_lines(found, now()),
        "can_change": access.can_change,
        "zone": ZoneInfo(access.organization.timezone),
        "budget_percents": BUDGET_PERCENTS,
        "day_percents": DAY_PERCENTS,
        "refusal_left": 100 - REFUSAL_FROM_PERCENT,
        "stale_after": STALE_AFTER_WORKING_DAYS,
        "ratio": RATIO,
        "weeks": WEEKS,
        "least": format_eur(settings.ALERTS_SPIKE_MIN_NANOEUR),
        "sends_email": settings.SENDS_EMAIL,
        "runs": settings.ALERTS_EVERY_S > 0,
    }
    return render(request, "alerts/channels.html", context)


@form_page
def create_channel(request: HttpRequest) -> HttpResponse:
    """Make a channel. The answer for a webhook is the only page that shows its secret."""
    access = admin(request)
    form = ChannelForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusal_in(form):
            channel = operations.create_channel(
                organization_id=access.organization.pk, terms=form.terms()
            )
            return _made(request, channel)
    context = {"form": form, "sends_email": settings.SENDS_EMAIL}
    return render(request, "alerts/channel_create.html", context)


@action
def toggle_channel(request: HttpRequest, channel_id: str) -> HttpResponse:
    """Turn a channel on or off as the button states."""
    channel = _channel(request, channel_id)
    enabled = switched(
        request,
        operations.set_channel_enabled,
        organization_id=channel.org_id,
        channel_id=channel.pk,
    )
    state = "on. New alerts will be sent to it" if enabled else "off"
    messages.success(request, f'Channel "{channel.name}" is {state}.')
    return redirect("alert-channels")


@action
def ask_addresses(request: HttpRequest, channel_id: str) -> HttpResponse:
    """Send links to the addresses of a channel that are not confirmed."""
    asked = operations.ask_addresses(channel=_channel(request, channel_id))
    _tell_of_links(request, asked)
    return redirect("alert-channels")


@never_cache
@require_http_methods(FORM_METHODS)
def confirm_address(request: HttpRequest, token: str) -> HttpResponse:
    """Let the holder of a link that was sent to an address confirm it, without sign-in.

    By POST: programs that look at mail follow links.
    """
    address = confirmation.opened(token)
    if address is None:
        return render(request, "alerts/confirm_over.html", status=410)
    if request.method == "POST":
        confirmation.confirm(address, now=now())
        return redirect(request.path)
    return render(request, "alerts/confirm.html", {"address": address})


@action
def test_channel(request: HttpRequest, channel_id: str) -> HttpResponse:
    """Send a test and say what came of it."""
    channel = _channel(request, channel_id)
    try:
        outcome = operations.try_channel(channel=channel).outcome
    except OrgsError as refusal:
        messages.error(request, f"{refusal.message}.")
    else:
        if outcome.is_delivered:
            messages.success(request, f'Test sent to "{channel.name}": {outcome.detail}.')
        else:
            messages.error(request, f'Test of "{channel.name}" failed: {outcome.detail}')
    return redirect("alert-channels")


@form_page
@vary_on_headers("HX-Request")
def renew_secret(request: HtmxRequest, channel_id: str) -> HttpResponse:
    """Ask, then make a webhook another secret and show it once."""
    channel = _channel(request, channel_id)
    if channel.kind != AlertChannel.Kind.WEBHOOK:
        raise Http404
    if request.method != "POST":
        return question(request, "alerts/channel_secret.html", {"channel": channel})
    renewed = operations.renew_secret(organization_id=channel.org_id, channel_id=channel.pk)
    return _secret_page(request, renewed)


@question_page
def delete_channel(request: HtmxRequest, channel_id: str) -> HttpResponse:
    """Ask, then remove the channel."""
    channel = _channel(request, channel_id)
    if request.method != "POST":
        context = {"channel": channel, "where": where(channel)}
        return question(request, "alerts/channel_delete.html", context)
    operations.delete_channel(organization_id=channel.org_id, channel_id=channel.pk)
    messages.success(request, f'Channel "{channel.name}" deleted.')
    return redirect("alert-channels")


def _channel(request: HttpRequest, channel_id: str) -> AlertChannel:
    return get_or_404(admin(request), AlertChannel.objects.all(), channel_id)


def _made(request: HttpRequest, channel: AlertChannel) -> HttpResponse:
    if channel.kind == AlertChannel.Kind.WEBHOOK:
        return _secret_page(request, channel)
    messages.success(
        request,
        f'Channel "{channel.name}" added. New alerts will be sent to its confirmed addresses.',
    )
    _tell_of_links(request, operations.ask_addresses(channel=channel))
    return redirect("alert-channels")


def _tell_of_links(request: HttpRequest, asked: Asked) -> None:
    if sentence := sent_links(asked):
        level = messages.WARNING if asked.fault else messages.SUCCESS
        messages.add_message(request, level, sentence)


def _secret_page(request: HttpRequest, channel: AlertChannel) -> HttpResponse:
    context = {"channel": channel, "where": where(channel), "secret": secret_for(channel)}
    return render(request, "alerts/channel_secret_shown.html", context)


def _back(request: HttpRequest) -> HttpResponse:
    """Return to the list with the filters that it had: they are read as any others are."""
    form = AlertFilterForm(request.POST.dict())
    response = redirect("alerts")
    if form.is_valid() and (filters := form.parameters()):
        response["Location"] += f"?{filters}"
    return response


def _pages(organization_id: Any, query: AlertQuery) -> Iterator[list[dict[str, Any]]]:
    more = True
    while more:
        found, more = reports.alerts(
            organization_id=organization_id, query=query, limit=ROWS_PER_CHUNK
        )
        deliveries = reports.deliveries_of(found)
        yield [exported(alert, deliveries[alert.pk]) for alert in found]
        if found:
            query = replace(query, older_than=found[-1].pk)
