"""Dead receivers of one organization delay no alert of others, and are paused."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils.timezone import now

from gateway.alerts.delivery import sender
from gateway.alerts.delivery.breaker import FAILURES_MAX, FIRST_PAUSE, PAUSE_MAX, pause_after
from gateway.alerts.delivery.deliver import EXPIRES_AFTER, DeliveryAttempt
from gateway.alerts.delivery.sender import Sender
from gateway.alerts.delivery.turns import (
    EMAILS_IN_FLIGHT_MAX,
    IN_FLIGHT_MAX,
    OF_ONE_ORGANIZATION_MAX,
    DueChannel,
    next_channels,
)
from gateway.alerts.delivery.webhook import Outcome
from gateway.alerts.evaluate import WAITING_MAX, record
from gateway.alerts.operations import set_channel_enabled, try_channel
from gateway.alerts.rounds import Rounds
from gateway.alerts.rules.findings import AlertFinding
from gateway.models import Alert, AlertChannel, AlertDelivery
from orgs.fields import new_id
from orgs.models import Organization
from tests.factories import AlertChannelFactory, AlertDeliveryFactory, AlertFactory
from tests.gateway.alerts.delivered import deliver
from tests.gateway.receiver import Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

NOON = datetime(2025, 6, 16, 12, tzinfo=UTC)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def silent() -> Iterator[Receiver]:
    """A receiver that takes requests and does not answer before its test is over."""
    with Receiver() as running:
        running.may_answer.clear()
        yield running
        running.may_answer.set()


def waiting(org: Organization, url: str, *, minutes: int = 0, **alert: Any) -> AlertDelivery:
    """An alert, and its delivery that has been due for some minutes."""
    return AlertDeliveryFactory.create(
        channel=AlertChannelFactory.create(org=org, url=url),
        alert=AlertFactory.create(org=org, **alert),
        next_try_at=now() - timedelta(minutes=minutes),
    )


def due(org: UUID, *, minutes: int = 0, failures: int = 0, is_email: bool = False) -> DueChannel:
    return DueChannel(
        channel_id=new_id(),
        organization_id=org,
        is_email=is_email,
        failures=failures,
        due_at=NOON - timedelta(minutes=minutes),
    )


# --- turns --------------------------------------------------------------------------------------


def test_organizations_take_turns() -> None:
    busy, quiet = new_id(), new_id()
    channels = [due(busy, minutes=9) for _ in range(12)] + [due(quiet)]
    chosen = next_channels(channels, running=Counter(), emails_running=0)
    assert chosen[1].organization_id == quiet
    assert len(chosen) == OF_ONE_ORGANIZATION_MAX + 1


def test_organization_with_fewer_running_is_next() -> None:
    busy, quiet = new_id(), new_id()
    running = Counter({busy: 1, **{new_id(): 1 for _ in range(IN_FLIGHT_MAX - 2)}})
    chosen = next_channels([due(busy, minutes=9), due(quiet)], running=running, emails_running=0)
    assert [each.organization_id for each in chosen] == [quiet]


def test_working_channel_precedes_failing_and_longest_waiting_precedes_others() -> None:
    org = new_id()
    failing, late, early = due(org, minutes=9, failures=1), due(org), due(org, minutes=1)
    chosen = next_channels([failing, late, early], running=Counter(), emails_running=0)
    assert chosen == [early, late, failing]


def test_emails_leave_room_for_webhooks() -> None:
    emails = [due(new_id(), minutes=9, is_email=True) for _ in range(IN_FLIGHT_MAX)]
    webhook = due(new_id())
    chosen = next_channels([*emails, webhook], running=Counter(), emails_running=1)
    assert sum(each.is_email for each in chosen) == EMAILS_IN_FLIGHT_MAX - 1
    assert webhook in chosen


# --- sending ------------------------------------------------------------------------------------


def test_dead_webhooks_delay_no_other_organization(
    acme: Organization, globex: Organization, silent: Receiver, receiver: Receiver
) -> None:
    for n in range(12):
        waiting(acme, f"{silent.url}/{n}", minutes=1)
    delivery = waiting(globex, receiver.url)
    sending = Sender()
    results = sending.run(lambda: not AlertDelivery.objects.filter(state="delivered").exists())
    assert [each.delivery for each in results] == [delivery]
    begun = AlertDelivery.objects.filter(channel__org=acme, tries=1)
    assert begun.count() == OF_ONE_ORGANIZATION_MAX
    silent.may_answer.set()
    assert len(sending.run()) == 12
    assert {got.path for got in silent.received} == {f"/hook/{n}" for n in range(12)}


def test_next_round_evaluates_while_webhook_hangs(acme: Organization, silent: Receiver) -> None:
    waiting(acme, silent.url)
    rounds = Rounds()
    for _ in range(2):
        done = rounds.run(lasts_s=0.01)
        assert (done.is_ours, done.sent) == (True, [])
    silent.may_answer.set()
    assert [each.outcome.detail for each in rounds.run().sent] == ["200"]
    assert len(silent.received) == 1


def test_channel_gets_single_delivery_at_once(acme: Organization, silent: Receiver) -> None:
    channel = AlertChannelFactory.create(org=acme, url=silent.url)
    for _ in range(3):
        AlertDeliveryFactory.create(channel=channel, alert=AlertFactory.create(org=acme))
    sending = Sender()
    for _ in range(2):
        assert sending.run(lasts_s=0) == []
    assert AlertDelivery.objects.filter(tries=1).count() == 1
    silent.may_answer.set()
    assert len(sending.run()) == 3


def test_number_in_flight_is_bounded(acme: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, counts = threading.Lock(), Counter[str]()

    def slow(_: object) -> DeliveryAttempt:
        with lock:
            counts["now"] += 1
            counts["most"] = max(counts["most"], counts["now"])
        time.sleep(0.02)
        with lock:
            counts["now"] -= 1
        return DeliveryAttempt(outcome=Outcome(is_delivered=True, detail="200"))

    monkeypatch.setattr(sender, "send", slow)
    for _ in range(IN_FLIGHT_MAX + 4):
        alert = AlertFactory.create()
        waiting(alert.org, "https://hooks.example.org/1")
    assert len(deliver()) == IN_FLIGHT_MAX + 4
    assert counts["most"] <= IN_FLIGHT_MAX


def test_defect_in_one_delivery_stops_no_other(
    acme: Organization,
    globex: Organization,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def send(prepared: Any) -> DeliveryAttempt:
        if prepared.delivery.channel.org_id == acme.pk:
            raise ZeroDivisionError
        return DeliveryAttempt(outcome=Outcome(is_delivered=True, detail="200"))

    monkeypatch.setattr(sender, "send", send)
    broken = waiting(acme, receiver.url, minutes=1)
    waiting(globex, receiver.url)
    assert sorted(each.outcome.is_delivered for each in deliver()) == [False, True]
    broken.refresh_from_db()
    assert (broken.state, broken.attempts[0]["said"]) == ("waiting", "internal error, see the log")
    assert "ZeroDivisionError" in caplog.text


# --- the breaker --------------------------------------------------------------------------------


def test_pause_grows_to_its_maximum() -> None:
    assert pause_after(FAILURES_MAX - 1) is None
    assert pause_after(FAILURES_MAX) == FIRST_PAUSE
    assert pause_after(FAILURES_MAX + 1) == 2 * FIRST_PAUSE
    assert pause_after(10**6) == PAUSE_MAX


def test_failures_pause_channel_and_alerts_wait(acme: Organization, receiver: Receiver) -> None:
    receiver.statuses = [503]
    channel = AlertChannelFactory.create(org=acme, url=receiver.url)
    for _ in range(FAILURES_MAX + 2):
        AlertDeliveryFactory.create(channel=channel, alert=AlertFactory.create(org=acme))
    deliver()
    assert len(receiver.received) == FAILURES_MAX
    channel.refresh_from_db()
    assert channel.failures == FAILURES_MAX
    assert channel.paused_until is not None
    assert abs(channel.paused_until - now() - FIRST_PAUSE) < timedelta(minutes=1)
    assert deliver(FIRST_PAUSE - timedelta(minutes=1)) == []
    # After the pause one try tells: it fails, and the pause doubles.
    deliver(FIRST_PAUSE + timedelta(minutes=1))
    channel.refresh_from_db()
    assert (channel.failures, len(receiver.received)) == (FAILURES_MAX + 1, FAILURES_MAX + 1)
    # It works again: everything that waited is sent.
    receiver.statuses = [200]
    deliver(FIRST_PAUSE * 4)
    assert AlertChannel.objects.filter(failures=0, paused_until=None).exists()
    assert not AlertDelivery.objects.exclude(state="delivered").exists()


def test_other_processes_respect_pause(acme: Organization, receiver: Receiver) -> None:
    delivery = waiting(acme, receiver.url)
    AlertChannel.objects.update(failures=FAILURES_MAX, paused_until=now() + FIRST_PAUSE)
    assert Sender().run() == Rounds().run().sent == []
    delivery.refresh_from_db()
    assert (delivery.tries, receiver.received) == (0, [])


def test_successful_test_and_switch_end_pause(acme: Organization, receiver: Receiver) -> None:
    delivery = waiting(acme, receiver.url)
    channel = delivery.channel
    AlertChannel.objects.update(failures=9, paused_until=now() + PAUSE_MAX)
    receiver.statuses = [500]
    assert not try_channel(channel=channel).outcome.is_delivered
    assert AlertChannel.objects.get().failures == 9
    AlertDelivery.objects.filter(alert=None).delete()
    receiver.statuses = [200]
    assert try_channel(channel=channel).outcome.is_delivered
    assert len(deliver()) == 1
    AlertChannel.objects.update(failures=9, paused_until=now() + PAUSE_MAX)
    set_channel_enabled(organization_id=acme.pk, channel_id=channel.pk, enabled=True)
    assert AlertChannel.objects.filter(failures=0, paused_until=None).exists()


def test_alert_that_waited_too_long_is_not_sent(acme: Organization, receiver: Receiver) -> None:
    old = waiting(acme, receiver.url, raised_at=now() - EXPIRES_AFTER - timedelta(seconds=1))
    AlertDeliveryFactory.create(channel=old.channel, alert=AlertFactory.create(org=acme))
    details = {each.outcome.detail for each in deliver()}
    assert details == {"could not be delivered within 24 h", "200"}
    old.refresh_from_db()
    assert old.state == AlertDelivery.State.FAILED
    old.channel.refresh_from_db()
    assert old.channel.failures == 0


def test_number_that_waits_for_channel_is_bounded(acme: Organization) -> None:
    channel = AlertChannelFactory.create(org=acme)
    alerts = AlertFactory.create_batch(WAITING_MAX, org=acme)
    AlertDelivery.objects.bulk_create(
        AlertDelivery(alert=alert, channel=channel, next_try_at=now()) for alert in alerts
    )
    finding = AlertFinding(key="one more", kind=Alert.Kind.BUDGET, sentence="Budget is spent.")
    (alert,) = record(acme, [finding], now())
    delivery = AlertDelivery.objects.get(alert=alert)
    assert delivery.state == AlertDelivery.State.FAILED
    assert delivery.attempts[0]["said"] == "not sent: 100 alerts were waiting for this channel"
