"""Alert deliveries: signed, retried, sent once, and never to private addresses."""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.core.mail.backends.locmem import EmailBackend
from django.utils.timezone import now
from pytest_django import Settings

from gateway.alerts.delivery import webhook
from gateway.alerts.delivery.deliver import (
    TRIES_MAX,
    reach,
    retry_after,
    secret_for,
)
from gateway.alerts.delivery.messages import as_email, of_alert
from gateway.alerts.delivery.sender import claimed
from gateway.alerts.delivery.webhook import Outcome, post
from gateway.alerts.operations import ChannelTerms, create_channel, renew_secret, try_channel
from gateway.core.providers import Reach
from gateway.models import AlertChannel, AlertDelivery
from orgs.core.errors import Conflict, Invalid
from orgs.models import Organization
from tests.factories import (
    AlertChannelFactory,
    AlertDeliveryFactory,
    AlertFactory,
    EmailChannelFactory,
)
from tests.gateway.alerts.delivered import deliver
from tests.gateway.receiver import Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

NASTY = 'Budget "<!channel> & Co\r\nBcc: all@example.org" is 82 % spent.'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def waiting(org: Organization, url: str, **alert: Any) -> AlertDelivery:
    """An alert with a pending webhook delivery."""
    channel = AlertChannelFactory.create(org=org, url=url)
    return AlertDeliveryFactory.create(channel=channel, alert=AlertFactory.create(org=org, **alert))


# --- webhooks -----------------------------------------------------------------------------------


def test_webhook_gets_signed_slack_compatible_post(acme: Organization, receiver: Receiver) -> None:
    figures = {"limit_nanoeur": 10**11, "costs_query": "teamId=1", "value": None}
    delivery = waiting(acme, receiver.url, sentence=NASTY, figures=figures)
    (result,) = deliver()
    assert result.outcome.is_delivered
    (got,) = receiver.received
    fields = dict(part.split("=", 1) for part in got.headers["x-pulse-signature"].split(","))
    secret = secret_for(delivery.channel)
    expected = hmac.new(secret.encode(), f"{fields['t']}.".encode() + got.body, hashlib.sha256)
    assert fields["v1"] == expected.hexdigest()
    assert abs(int(fields["t"]) - now().timestamp()) < 60
    assert got.headers["idempotency-key"] == str(delivery.pk)
    assert got.headers["content-type"] == "application/json"
    body = json.loads(got.body)
    assert "<!channel>" not in body["text"]
    assert "&lt;!channel&gt; &amp; Co" in body["text"]
    assert body["sentence"] == " ".join(NASTY.split())
    assert (body["event"], body["percent"]) == ("budget.threshold", 80)
    assert body["limitEur"] == "100.000000000"
    assert body["costsUrl"].endswith("/costs?teamId=1&org=acme")
    assert body["url"].endswith(f"/costs/alerts?alertId={delivery.alert_id}&org=acme")
    assert body["organization"] == {"name": "Acme", "slug": "acme"}


def test_delivered_alert_is_not_sent_again(acme: Organization, receiver: Receiver) -> None:
    delivery = waiting(acme, receiver.url)
    assert len(deliver()) == 1
    assert deliver(timedelta(days=1)) == []
    delivery.refresh_from_db()
    assert delivery.state == AlertDelivery.State.DELIVERED
    assert delivery.delivered_at is not None
    assert [attempt["said"] for attempt in delivery.attempts] == ["200"]


def test_failed_delivery_is_retried_with_same_id(acme: Organization, receiver: Receiver) -> None:
    receiver.statuses = [503, 429, 204]
    delivery = waiting(acme, receiver.url)
    deliver()
    assert deliver() == []  # not before its time
    deliver(retry_after(1) + timedelta(seconds=1))
    deliver(retry_after(1) + retry_after(2) + timedelta(seconds=2))
    delivery.refresh_from_db()
    assert delivery.state == AlertDelivery.State.DELIVERED
    assert [attempt["said"] for attempt in delivery.attempts] == ["503", "429", "204"]
    assert {got.headers["idempotency-key"] for got in receiver.received} == {str(delivery.pk)}


def test_retries_are_limited(acme: Organization, receiver: Receiver) -> None:
    receiver.statuses = [500]
    delivery = waiting(acme, receiver.url)
    for _ in range(TRIES_MAX + 2):
        deliver()
        AlertDelivery.objects.filter(state="waiting").update(next_try_at=now())
        AlertChannel.objects.update(paused_until=None)
    delivery.refresh_from_db()
    assert delivery.state == AlertDelivery.State.FAILED
    assert len(delivery.attempts) == len(receiver.received) == TRIES_MAX
    assert retry_after(TRIES_MAX - 1) == timedelta(minutes=32)


@pytest.mark.parametrize("status", [400, 404, 410, 301, 307])
def test_permanent_failure_is_not_retried(
    acme: Organization, receiver: Receiver, status: int
) -> None:
    with Receiver() as inside:
        receiver.statuses, receiver.location = [status], inside.url
        delivery = waiting(acme, receiver.url)
        deliver()
        delivery.refresh_from_db()
        assert delivery.state == AlertDelivery.State.FAILED
        assert inside.received == []  # no redirect is followed


def test_disabled_channel_gets_nothing(acme: Organization, receiver: Receiver) -> None:
    delivery = waiting(acme, receiver.url)
    AlertChannel.objects.update(enabled=False)
    deliver()
    delivery.refresh_from_db()
    assert delivery.attempts[0]["said"] == "the channel is off"
    assert receiver.received == []


def test_connection_failure_is_retried(acme: Organization) -> None:
    with Receiver() as gone:
        url = gone.url
    delivery = waiting(acme, url)
    deliver()
    delivery.refresh_from_db()
    assert delivery.state == AlertDelivery.State.WAITING
    assert delivery.attempts[0]["said"].startswith("no connection")


def test_silent_receiver_times_out(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.3)
    receiver.pause_s = 2.0
    outcome = post(receiver.url, b"{}", {}, Reach(loopback=True))
    assert (outcome.is_delivered, outcome.may_pass) == (False, True)
    assert "no answer within" in outcome.detail


def test_attempt_is_claimed_by_one_process(acme: Organization, receiver: Receiver) -> None:
    delivery = waiting(acme, receiver.url)
    as_another_process_read_it = AlertDelivery.objects.get()
    assert len(deliver()) == 1
    assert not claimed(as_another_process_read_it, now())
    delivery.refresh_from_db()
    assert delivery.tries == 1


# --- where they may not go ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *("https://169.254.169.254/latest/meta-data", "https://10.0.0.1/", "https://[::1]/"),
        *("https://127.0.0.1/", "https://localhost/", "https://2130706433/", "https://0x7f.1/"),
        *("http://127.0.0.1/", "https://127.1/"),
    ],
)
def test_production_rejects_non_public_addresses(
    acme: Organization, settings: Settings, url: str
) -> None:
    settings.LOCAL = False
    delivery = waiting(acme, url)
    deliver()
    delivery.refresh_from_db()
    assert delivery.attempts[0]["delivered"] is False
    assert delivery.state == AlertDelivery.State.FAILED


def test_private_hosts_are_allowed_by_setting(settings: Settings) -> None:
    settings.LOCAL = False
    assert reach() == Reach(loopback=False, private=False)
    settings.ALERTS_PRIVATE_HOSTS = True
    assert reach() == Reach(loopback=True, private=True)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        (ChannelTerms(name="x", url="https://10.0.0.1/"), "url"),
        (ChannelTerms(name="x", url="http://example.org/"), "url"),
        (ChannelTerms(name="x", emails=["a@example.org\r\nBcc: b@example.org"]), "emails"),
        (ChannelTerms(name="x", emails=["unknown"]), "emails"),
        (ChannelTerms(name="x", emails=[f"a{n}@example.org" for n in range(21)]), "emails"),
        (ChannelTerms(name="a\nb", emails=["a@example.org"]), "name"),
        (ChannelTerms(name=" ", emails=["a@example.org"]), "name"),
        (ChannelTerms(name="x"), "url"),
        (ChannelTerms(name="x", url="https://example.org", emails=["a@example.org"]), "url"),
    ],
)
def test_invalid_channel_is_refused(acme: Organization, terms: ChannelTerms, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        create_channel(organization_id=acme.pk, terms=terms)
    assert refusal.value.field == field
    assert not AlertChannel.objects.exists()


def test_new_secret_replaces_old(acme: Organization) -> None:
    channel = AlertChannelFactory.create(org=acme)
    old = secret_for(channel)
    renewed = renew_secret(organization_id=acme.pk, channel_id=channel.pk)
    assert secret_for(renewed) != old
    columns = AlertChannel.objects.filter(pk=channel.pk).values_list()[0]
    assert not {old, secret_for(renewed)} & {str(value) for value in columns}


def test_test_delivery_is_immediate_and_rate_limited(
    acme: Organization, receiver: Receiver
) -> None:
    channel = AlertChannelFactory.create(org=acme, url=receiver.url)
    assert try_channel(channel=channel).outcome.is_delivered
    assert json.loads(receiver.received[0].body)["event"] == "test"
    with pytest.raises(Conflict):
        try_channel(channel=channel)
    assert deliver(timedelta(days=1)) == []


def test_failed_test_delivery_is_not_retried(acme: Organization, receiver: Receiver) -> None:
    receiver.statuses = [500]
    channel = AlertChannelFactory.create(org=acme, url=receiver.url)
    assert not try_channel(channel=channel).outcome.is_delivered
    assert deliver(timedelta(days=1)) == []
    assert AlertDelivery.objects.get().state == AlertDelivery.State.FAILED


# --- email -------------------------------------------------------------------------------------


def mailed(org: Organization, settings: Settings, **alert: Any) -> Outcome:
    settings.SENDS_EMAIL = True
    channel = EmailChannelFactory.create(org=org, emails=["ada@example.org", "bo@example.org"])
    AlertDeliveryFactory.create(channel=channel, alert=AlertFactory.create(org=org, **alert))
    (result,) = deliver()
    return result.outcome


def test_email_has_description_and_link(acme: Organization, settings: Settings) -> None:
    outcome = mailed(acme, settings, figures={"costs_query": "teamId=1"})
    assert outcome.is_delivered
    (sent,) = outbox.outbox
    assert sent.recipients() == ["ada@example.org", "bo@example.org"]
    assert sent.subject == 'Acme: Budget "Team 1" is 82 % spent.'
    assert "/costs/alerts?alertId=" in sent.body
    assert "/costs?teamId=1&org=acme" in sent.body
    assert str(AlertDelivery.objects.get().pk) in sent.message()["Message-ID"]


def test_name_with_line_break_adds_no_header(acme: Organization, settings: Settings) -> None:
    mailed(acme, settings, sentence=NASTY)
    (sent,) = outbox.outbox
    assert sent.message()["Bcc"] is None
    assert "\n" not in sent.subject
    subject, _ = as_email(of_alert(AlertFactory.build(sentence="x" * 900), acme, base_url=""))
    assert len(subject) == 150


def test_address_with_line_break_is_refused_by_database(
    acme: Organization, settings: Settings
) -> None:
    settings.SENDS_EMAIL = True
    channel = EmailChannelFactory.create(org=acme, emails=["a@example.org\nBcc: b@example.org"])
    AlertDeliveryFactory.create(channel=channel)
    (result,) = deliver()
    assert result.outcome == Outcome(
        is_delivered=False, detail="an address or the subject has a line break"
    )
    assert outbox.outbox == []


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (smtplib.SMTPServerDisconnected("gone"), True),
        (TimeoutError("slow"), True),
        (smtplib.SMTPAuthenticationError(535, b"no"), False),
        (smtplib.SMTPDataError(451, b"later"), True),
        (smtplib.SMTPRecipientsRefused({"a": (550, b"unknown")}), False),
        (smtplib.SMTPRecipientsRefused({"a": (450, b"later"), "b": (550, b"no")}), True),
    ],
)
def test_temporary_mail_server_failure_is_retried(
    acme: Organization,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    may_pass: bool,
) -> None:
    def failing(*_: object) -> int:
        raise error

    monkeypatch.setattr(EmailBackend, "send_messages", failing)
    outcome = mailed(acme, settings)
    assert (outcome.is_delivered, outcome.may_pass) == (False, may_pass)


def test_missing_mail_server_fails_delivery(acme: Organization, settings: Settings) -> None:
    settings.SENDS_EMAIL = False
    channel = EmailChannelFactory.create(org=acme, emails=["a@example.org"])
    AlertDeliveryFactory.create(channel=channel)
    (result,) = deliver()
    assert "EMAIL_URL is not set" in result.outcome.detail
    assert result.delivery.state == AlertDelivery.State.FAILED
