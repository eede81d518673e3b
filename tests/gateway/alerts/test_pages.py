"""The pages of alerts: all roles can view them, admins acknowledge alerts and manage channels."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries, Settings

from gateway.alerts.delivery.deliver import secret_for
from gateway.alerts.operations import CHANNELS_MAX
from gateway.alerts.reports import open_count
from gateway.models import Alert, AlertChannel, AlertDelivery
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.answers import text_of
from tests.cast import CLIENTS
from tests.commands import output_of
from tests.factories import (
    AlertChannelFactory,
    AlertDeliveryFactory,
    AlertFactory,
    BudgetFactory,
)
from tests.gateway.receiver import Receiver

pytestmark = pytest.mark.django_db

ALERTS = "/costs/alerts"
CHANNELS = "/costs/alerts/channels"
CREATE = "/costs/alerts/channels/create"
CHANNEL_ACTIONS = ("toggle", "test", "addresses", "secret", "delete")
WEBHOOK = {"name": "Ops", "kind": "webhook", "url": "https://hooks.example.org/T0/secret"}
EMAIL = {"name": "Ops", "kind": "email", "emails": "Ada@example.org\nbo@example.org"}


def page(client: Client, address: str = ALERTS, **query: Any) -> str:
    return text_of(client, address, **query)


# --- alerts -------------------------------------------------------------------------------------


def test_list_shows_alert_deliveries_and_links(acme: Organization, admin: Client) -> None:
    budget = BudgetFactory.create(org=acme)
    alert = AlertFactory.create(
        org=acme,
        sentence='Budget "A & B" is 82 % spent.',
        budget_id=budget.pk,
        figures={"costs_query": "teamId=1&groupBy=day"},
    )
    channel = AlertChannelFactory.create(org=acme, name="On call")
    attempt = {"at": "2025-06-16T12:00:00+00:00", "delivered": False, "said": "503", "took_ms": 9}
    AlertDeliveryFactory.create(channel=channel, alert=alert, attempts=[attempt], tries=1)
    shown = page(admin)
    assert "Budget &quot;A &amp; B&quot; is 82 % spent." in shown
    assert 'href="/costs?teamId=1&amp;groupBy=day"' in shown
    assert f'href="/costs/budgets/{budget.pk}"' in shown
    assert "1 pending" in shown
    assert "On call" in shown
    assert "503" in shown
    budget.delete()
    assert f"/costs/budgets/{budget.pk}" not in page(admin)


def test_acknowledgement_keeps_first_admin_and_time(
    acme: Organization, admin: Client, admin_user: User
) -> None:
    alert = AlertFactory.create(org=acme)
    address = f"{ALERTS}/{alert.pk}/acknowledge"
    response = admin.post(address, {"state": "open", "kind": "budget", "next": "//evil.example"})
    assert response["Location"] == f"{ALERTS}?state=open&kind=budget"
    alert.refresh_from_db()
    assert alert.acknowledged_by == admin_user.email
    assert alert.acknowledged_at is not None
    Alert.objects.update(acknowledged_by="first@example.org")
    admin.post(address)
    alert.refresh_from_db()
    assert alert.acknowledged_by == "first@example.org"
    assert "Acknowledged by first@example.org" in page(admin)


def test_acknowledge_all_covers_only_shown_alerts(
    acme: Organization, globex: Organization, admin: Client
) -> None:
    seen = AlertFactory.create_batch(3, org=acme)
    foreign = AlertFactory.create(org=globex)
    later = AlertFactory.create(org=acme)
    response = admin.post(f"{ALERTS}/acknowledge", {"up_to": str(seen[-1].pk)}, follow=True)
    assert "3 alerts acknowledged." in response.content.decode()
    left = Alert.objects.filter(acknowledged_at=None).values_list("pk", flat=True)
    assert set(left) == {foreign.pk, later.pk}
    assert admin.post(f"{ALERTS}/acknowledge", {"up_to": str(foreign.pk)}).status_code == 404
    assert admin.post(f"{ALERTS}/acknowledge").status_code == 404


def test_list_is_filtered_paged_and_exported(acme: Organization, admin: Client) -> None:
    AlertFactory.create_batch(60, org=acme)
    spike = AlertFactory.create(
        org=acme, kind="spike", sentence="=Costs rose", acknowledged_at=now(), percent=None
    )
    newest = page(admin)
    assert newest.count('id="alert-') == 50
    older = newest.split("?older_than=")[1].split('"')[0]
    assert page(admin, older_than=older).count('id="alert-') == 11
    assert admin.get(ALERTS, {"older_than": "x"}).status_code == 400
    assert page(admin, state="acknowledged").count('id="alert-') == 1
    assert page(admin, state="open", kind="spike").count('id="alert-') == 0
    assert page(admin, alertId=str(spike.pk)).count('id="alert-') == 1
    invalid = admin.get(ALERTS, {"alertId": "x"})
    assert invalid.status_code == 400
    assert "Not a valid alert id." in invalid.content.decode()
    rows = list(csv.DictReader(text_of(admin, f"{ALERTS}.csv", kind="spike").splitlines()))
    assert [row["sentence"] for row in rows] == ["'=Costs rose"]
    found = json.loads(text_of(admin, f"{ALERTS}.json", state="open"))
    assert len(found) == 60
    assert found[0]["kind"] == "budget.threshold"
    assert admin.get(f"{ALERTS}.csv", {"kind": "x"}).status_code == 400


def test_empty_list_explains_alerts(acme: Organization, admin: Client) -> None:
    assert "No alerts yet" in page(admin)
    assert CREATE in page(admin)
    assert "No channels yet" in page(admin, CHANNELS)
    assert "50, 80 and 100 %" in page(admin, CHANNELS)


def test_pages_name_every_kind_of_alert(acme: Organization, admin: Client) -> None:
    empty, channels = (" ".join(page(admin, each).split()) for each in (ALERTS, CHANNELS))
    assert (
        "when a limit refuses a call, when a day costs far more than usual, or when the " in empty
    )
    assert (
        "Budgets and limits that run out, refused calls, days with unusual costs, and an " in empty
    )
    assert "<dt>Exchange rate</dt><dd>when it is more than 3 working days old" in channels


def test_header_counts_open_alerts_in_one_query(
    acme: Organization, admin: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        assert open_count(acme.pk) == 0
    assert "badge" not in page(admin, "/admin/ai/aliases")
    AlertFactory.create_batch(3, org=acme)
    AlertFactory.create(org=acme, acknowledged_at=now())
    assert '<span class="badge">3<' in page(admin, "/admin/ai/aliases")
    AlertFactory.create_batch(110, org=acme)
    assert '<span class="badge">99+<' in page(admin, "/admin/ai/aliases")


# --- channels -----------------------------------------------------------------------------------


def test_new_webhook_shows_secret_once_and_never_url(
    acme: Organization, admin: Client, auditor_user: User, client_for: CLIENTS
) -> None:
    response = admin.post(CREATE, WEBHOOK)
    channel = AlertChannel.objects.get(org=acme)
    assert (channel.kind, channel.url, channel.enabled) == ("webhook", WEBHOOK["url"], True)
    assert secret_for(channel) in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    for client in (admin, client_for(auditor_user)):
        shown = page(client, CHANNELS)
        assert "https://hooks.example.org/…" in shown
        assert "/T0/secret" not in shown
        assert "whsec_" not in shown


def test_email_channel_is_created(acme: Organization, admin: Client) -> None:
    admin.post(CREATE, EMAIL)
    channel = AlertChannel.objects.get(org=acme)
    assert channel.emails == ["ada@example.org", "bo@example.org"]
    assert "ada@example.org, bo@example.org" in page(admin, CHANNELS)


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        (WEBHOOK | {"url": ""}, "url", "Enter a URL."),
        (WEBHOOK | {"url": "http://example.org/"}, "url", "must start with https://"),
        (WEBHOOK | {"url": "https://192.168.0.1/"}, "url", "is not a public address"),
        (WEBHOOK | {"name": ""}, "name", "required"),
        (EMAIL | {"emails": ""}, "emails", "Enter an email address."),
        (EMAIL | {"emails": "ada"}, "emails", "is not a valid email address"),
        (EMAIL | {"kind": "pigeon"}, "kind", "not one of"),
    ],
)
def test_invalid_value_is_error_at_its_field_and_input_is_kept(
    acme: Organization, admin: Client, typed: dict[str, str], field: str, sentence: str
) -> None:
    response = admin.post(CREATE, typed)
    assert sentence in response.context["form"].errors[field][0]
    assert not AlertChannel.objects.exists()


def test_number_of_channels_is_limited(acme: Organization, admin: Client) -> None:
    AlertChannelFactory.create_batch(CHANNELS_MAX, org=acme)
    assert "at most 20 channels" in admin.post(CREATE, WEBHOOK).content.decode()


def test_test_delivery_shows_its_outcome(acme: Organization, admin: Client) -> None:
    with Receiver() as receiver:
        channel = AlertChannelFactory.create(org=acme, name="Ops", url=receiver.url)
        address = f"{CHANNELS}/{channel.pk}/test"
        assert "Test sent to" in admin.post(address, follow=True).content.decode()
        assert "A test was just sent" in admin.post(address, follow=True).content.decode()
        AlertDelivery.objects.update(next_try_at=now() - timedelta(hours=1))
        receiver.statuses = [404]
        assert "failed: 404" in admin.post(address, follow=True).content.decode()


def test_channel_is_toggled_renewed_and_deleted(acme: Organization, admin: Client) -> None:
    channel = AlertChannelFactory.create(org=acme)
    secret = secret_for(channel)
    address = f"{CHANNELS}/{channel.pk}"
    for enabled in (False, True):
        admin.post(f"{address}/toggle", {"enabled": "on" if enabled else "off"})
        channel.refresh_from_db()
        assert channel.enabled is enabled
    assert "Replace the secret of" in page(admin, f"{address}/secret")
    renewed = admin.post(f"{address}/secret").content.decode()
    assert "whsec_" in renewed
    assert secret not in renewed
    AlertDeliveryFactory.create(channel=channel)
    assert "Delete “" in page(admin, f"{address}/delete")
    admin.post(f"{address}/delete")
    assert not AlertChannel.objects.exists()
    assert Alert.objects.count() == 1


def test_page_and_command_show_pause(acme: Organization, admin: Client) -> None:
    until = now() + timedelta(minutes=5)
    channel = AlertChannelFactory.create(org=acme, failures=5, paused_until=until)
    shown = page(admin, CHANNELS)
    assert until.isoformat() in shown
    assert "after 5 failures in a row" in shown
    (row,) = json.loads(output_of("alerts", "channels", "acme", "--format", "json"))
    assert (row["failures"], row["paused_until"]) == (5, until.isoformat(timespec="seconds"))
    AlertChannel.objects.filter(pk=channel.pk).update(paused_until=now())
    assert "failures in a row" not in page(admin, CHANNELS)


def test_page_warns_without_active_channel(
    acme: Organization, admin: Client, settings: Settings
) -> None:
    settings.SENDS_EMAIL, settings.ALERTS_EVERY_S = False, 0
    assert "EMAIL_URL" in page(admin, CREATE)
    assert "PULSE_ALERTS_EVERY_S=0" in page(admin, CHANNELS)


# --- who may ------------------------------------------------------------------------------------


def test_members_and_auditors_can_only_view(
    acme: Organization, client_for: CLIENTS, member_user: User, auditor_user: User
) -> None:
    alert = AlertFactory.create(org=acme, sentence="kept")
    channel = AlertChannelFactory.create(org=acme)
    for user in (member_user, auditor_user):
        client = client_for(user)
        assert "kept" in page(client)
        assert "Acknowledge<" not in page(client)
        assert "Send a test" not in page(client, CHANNELS)
        for address in (
            *(f"{ALERTS}/{alert.pk}/acknowledge", f"{ALERTS}/acknowledge", CREATE),
            *(f"{CHANNELS}/{channel.pk}/{what}" for what in CHANNEL_ACTIONS),
        ):
            assert client.post(address, WEBHOOK | {"up_to": str(alert.pk)}).status_code == 403
    assert Alert.objects.get().acknowledged_at is None
    assert AlertChannel.objects.get().enabled


def test_foreign_alert_and_channel_are_404(
    globex: Organization, acme: Organization, admin: Client
) -> None:
    alert = AlertFactory.create(org=globex, sentence="theirs")
    channel = AlertChannelFactory.create(org=globex, name="theirs")
    assert "theirs" not in page(admin) + page(admin, CHANNELS) + page(admin, alertId=alert.pk)
    for some_id in (alert.pk, new_id(), "x"):
        assert admin.post(f"{ALERTS}/{some_id}/acknowledge").status_code == 404
    for some_id in (channel.pk, new_id(), "x"):
        for what in ("toggle", "test", "secret", "delete"):
            assert admin.post(f"{CHANNELS}/{some_id}/{what}").status_code == 404
    assert AlertChannel.objects.filter(enabled=True, secret_version=1).exists()


def test_changes_require_post_and_csrf_token(acme: Organization, admin_user: User) -> None:
    channel = AlertChannelFactory.create(org=acme)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(CREATE, WEBHOOK).status_code == 403
    assert client.get(f"{CHANNELS}/{channel.pk}/test").status_code == 405
    assert client.get(f"{ALERTS}/acknowledge").status_code == 405
