"""Alerts are mailed to confirmed addresses only: by a link, or as a member's confirmed address."""

from __future__ import annotations

import json
import re
import smtplib
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core import mail as outbox
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client
from django.utils.timezone import now
from pytest_django import Settings

from gateway import migrations
from gateway.alerts.delivery import confirmation
from gateway.alerts.delivery.confirmation import ASKED_A_DAY_MAX, confirmed, token
from gateway.alerts.operations import try_channel
from gateway.models import AlertAddress, AlertChannel
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.commands import output_of
from tests.factories import (
    AlertDeliveryFactory,
    AlertFactory,
    EmailChannelFactory,
    MembershipFactory,
    UserFactory,
)
from tests.gateway.alerts.delivered import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

CREATE = "/costs/alerts/channels/create"
EMAILS = {"name": "Ops", "kind": "email", "emails": "ada@example.org\nbo@example.org"}
LINK = re.compile(r"http\S+?(/costs/alerts/confirm/\S+)")


@pytest.fixture(autouse=True)
def sends_email(settings: Settings) -> None:
    settings.SENDS_EMAIL = True


def channel_of(org: Organization, *emails: str, confirmed: bool = False) -> AlertChannel:
    made: AlertChannel = EmailChannelFactory.create(
        org=org, emails=list(emails), confirmed=confirmed
    )
    return made


def send_alert(channel: AlertChannel) -> str:
    """Send an alert through the channel; return what came of it."""
    alert = AlertFactory.create(org=channel.org)
    AlertDeliveryFactory.create(channel=channel, alert=alert)
    (result,) = deliver()
    return result.outcome.detail


def asked_of() -> list[str]:
    return sorted(recipient for sent in outbox.outbox for recipient in sent.to)


def test_new_channel_sends_link_and_no_alert_before_it_is_opened(
    acme: Organization, admin: Client, client: Client
) -> None:
    shown = admin.post(CREATE, EMAILS, follow=True).content.decode()
    assert "A link to confirm was sent to ada@example.org, bo@example.org." in shown
    assert "Not confirmed" in shown
    assert asked_of() == ["ada@example.org", "bo@example.org"]
    (ada,) = [sent for sent in outbox.outbox if sent.to == ["ada@example.org"]]
    assert '"acme"' in ada.body
    channel = AlertChannel.objects.get()
    outbox.outbox.clear()
    assert send_alert(channel) == "no address of the channel is confirmed"
    assert try_channel(channel=channel).outcome.detail == "no address of the channel is confirmed"
    assert outbox.outbox == []
    found = LINK.search(str(ada.body))
    assert found is not None
    # To look at the page confirms nothing: programs that check mail follow links.
    assert b"ada@example.org" in client.get(found[1]).content
    assert confirmed(acme.pk, channel.emails) == set()
    assert b"Address confirmed" in client.post(found[1], follow=True).content
    assert send_alert(channel) == "to 1"
    assert outbox.outbox[0].to == ["ada@example.org"]
    assert "bo@example.org" in admin.get("/costs/alerts/channels").content.decode()


def test_forged_expired_and_foreign_links_confirm_nothing(
    acme: Organization, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = AlertAddress.objects.create(org=acme, email="ada@example.org")
    good = token(address)
    other = AlertAddress(pk=new_id(), org=acme, email="x@example.org")
    monkeypatch.setattr(confirmation, "_SALT", "another purpose")
    foreign = token(address)
    monkeypatch.undo()
    for bad in ("x", f"{good}x", foreign, token(other)):
        assert client.post(f"/costs/alerts/confirm/{bad}").status_code == 410
    monkeypatch.setattr(confirmation, "LINK_LASTS", timedelta(seconds=-1))
    assert client.post(f"/costs/alerts/confirm/{good}").status_code == 410
    address.refresh_from_db()
    assert address.confirmed_at is None


def test_confirmed_address_of_active_member_needs_no_link(
    acme: Organization, globex: Organization
) -> None:
    def person(email: str, org: Organization, **account: Any) -> None:
        account = {"email_confirmed_at": now()} | account
        MembershipFactory.create(org=org, user=UserFactory.create(email=email, **account))

    person("good@example.org", acme)
    person("unconfirmed@example.org", acme, email_confirmed_at=None)
    person("inactive@example.org", acme, is_active=False)
    person("elsewhere@example.org", globex)
    AlertAddress.objects.create(org=globex, email="too@example.org", confirmed_at=now())
    emails = [*User.objects.values_list("email", flat=True), "too@example.org"]
    assert confirmed(acme.pk, emails) == {"good@example.org"}


def test_address_is_asked_once_each_day(acme: Organization) -> None:
    channel = channel_of(acme, "ada@example.org")
    assert confirmation.ask(channel, now=now()).emails == ("ada@example.org",)
    again = confirmation.ask(channel, now=now() + timedelta(hours=23))
    assert (again.emails, again.fault) == ((), "a link was sent less than a day ago")
    assert confirmation.ask(channel, now=now() + timedelta(hours=25)).emails
    assert len(outbox.outbox) == 2


def test_addresses_asked_in_day_are_limited(acme: Organization, globex: Organization) -> None:
    AlertAddress.objects.bulk_create(
        AlertAddress(org=acme, email=f"a{n}@example.org", asked_at=now())
        for n in range(ASKED_A_DAY_MAX - 1)
    )
    asked = confirmation.ask(channel_of(acme, "ada@example.org", "bo@example.org"), now=now())
    assert asked.emails == ("ada@example.org",)
    assert asked.fault == "at most 50 confirmations are sent in a day"
    assert confirmation.ask(channel_of(globex, "bo@example.org"), now=now()).emails


def test_unconfirmed_addresses_are_forgotten_after_link_expires(acme: Organization) -> None:
    week_ago = now() - timedelta(days=8)
    AlertAddress.objects.create(org=acme, email="old@example.org", asked_at=week_ago)
    AlertAddress.objects.create(org=acme, email="new@example.org", asked_at=now())
    AlertAddress.objects.create(
        org=acme, email="kept@example.org", asked_at=week_ago, confirmed_at=week_ago
    )
    confirmation.ask(channel_of(acme, "ada@example.org"), now=now())
    assert set(AlertAddress.objects.values_list("email", flat=True)) == {
        *("new@example.org", "kept@example.org", "ada@example.org")
    }


def test_address_that_got_no_link_may_be_asked_at_once(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, tries = channel_of(acme, "ada@example.org", "bo@example.org"), []

    def gone(*_: object) -> int:
        tries.append(1)
        raise smtplib.SMTPServerDisconnected

    monkeypatch.setattr(EmailBackend, "send_messages", gone)
    asked = confirmation.ask(channel, now=now())
    assert (asked.emails, len(tries)) == ((), 1)
    assert "could not be reached" in asked.fault
    monkeypatch.undo()
    assert confirmation.ask(channel, now=now()).emails == ("ada@example.org", "bo@example.org")


def test_page_and_command_send_links_again(acme: Organization, admin: Client) -> None:
    channel = channel_of(acme, "ada@example.org", "bo@example.org")
    AlertAddress.objects.create(org=acme, email="bo@example.org", confirmed_at=now())
    admin.post(f"/costs/alerts/channels/{channel.pk}/addresses")
    assert asked_of() == ["ada@example.org"]
    reported = output_of("alerts", "ask-channel", "acme", channel.name)
    assert "Unconfirmed addresses, which get no alerts: ada@example.org." in reported
    assert "a link was sent less than a day ago" in reported
    listed = output_of("alerts", "channels", "acme", "--format", "json")
    assert json.loads(listed)[0]["unconfirmed"] == "ada@example.org"


def test_addresses_in_use_count_as_confirmed_after_upgrade(
    acme: Organization, globex: Organization
) -> None:
    channel_of(acme, "ada@example.org", "bo@example.org")
    channel_of(acme, "ADA@example.org")
    channel_of(globex, "ada@example.org")
    (path,) = Path(migrations.__path__[0]).glob("*_alert_breaker_and_addresses.py")
    migration = import_module(f"gateway.migrations.{path.stem}")
    migration.confirm_addresses_in_use(apps, None)
    assert confirmed(acme.pk, ["ada@example.org", "bo@example.org"]) == {
        *("ada@example.org", "bo@example.org")
    }
    assert AlertAddress.objects.count() == 3
