"""`manage.py alerts`."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial

import pytest
from django.core.management import CommandError
from django.utils.timezone import now

from gateway.alerts.delivery.deliver import secret_for
from gateway.models import Alert, AlertChannel, Lease
from orgs.fields import new_id
from orgs.models import Organization
from tests.commands import output_of
from tests.factories import AlertChannelFactory, AlertFactory, BudgetFactory, PeriodFactory
from tests.gateway.receiver import Receiver

pytestmark = pytest.mark.django_db

EUR = 10**9


alerts = partial(output_of, "alerts")


def spent(org: Organization) -> None:
    """A budget of which 90 % is spent."""
    budget = BudgetFactory.create(org=org, name="Team 1")
    PeriodFactory.create(
        org=org,
        scope=budget.scope,
        starts_at=now() - timedelta(days=1),
        ends_at=now() + timedelta(days=1),
        settled_nanoeur=90 * EUR,
    )


def test_run_prints_new_alerts_and_deliveries(acme: Organization) -> None:
    spent(acme)
    with Receiver() as receiver:
        AlertChannelFactory.create(org=acme, name="Ops", url=receiver.url)
        output = alerts("run")
        assert 'acme: Budget "Team 1" is 90 % spent' in output
        assert "Ops: delivered (200)" in output
        assert "New alerts: 1. Deliveries attempted: 1." in output
        assert "New alerts: 0. Deliveries attempted: 0." in alerts("run")
        assert len(receiver.received) == 1


def test_run_fails_when_delivery_fails_permanently(acme: Organization) -> None:
    spent(acme)
    with Receiver(statuses=[404]) as receiver:
        AlertChannelFactory.create(org=acme, url=receiver.url)
        with pytest.raises(CommandError, match="failed permanently: 1"):
            alerts("run")


def test_run_does_nothing_while_another_process_has_lease(acme: Organization) -> None:
    spent(acme)
    Lease.objects.create(name="alerts", holder_id=new_id(), expires_at=now() + timedelta(minutes=1))
    assert "Another process" in alerts("run")
    assert not Alert.objects.exists()


def test_list_and_ack(acme: Organization, globex: Organization) -> None:
    first, second, third = AlertFactory.create_batch(3, org=acme)
    AlertFactory.create(org=globex)
    assert [row["id"] for row in json.loads(alerts("list", "acme", "--format", "json"))] == [
        str(each.pk) for each in (third, second, first)
    ]
    assert "Acknowledged by manage.py" in alerts("ack", "acme", str(first.pk))
    assert str(first.pk) not in alerts("list", "acme", "--state", "open")
    assert "Acknowledged: 2." in alerts("ack", "acme", "all")
    assert alerts("list", "acme", "--state", "open").strip() == "none"
    assert Alert.objects.filter(acknowledged_at=None).count() == 1


def test_channels_are_added_listed_tested_toggled_and_removed(acme: Organization) -> None:
    with Receiver() as receiver:
        output = alerts("add-channel", "acme", "Ops", "--webhook", receiver.url)
        channel = AlertChannel.objects.get()
        assert output.splitlines()[-1] == secret_for(channel)
        assert "Test sent to" in alerts("test-channel", "acme", "ops")
    alerts("disable-channel", "acme", "Ops")
    (row,) = json.loads(alerts("channels", "acme", "--format", "json"))
    assert (row["name"], row["kind"], row["enabled"]) == ("Ops", "webhook", False)
    assert row["where"].endswith("/…")
    alerts("enable-channel", "acme", "Ops")
    assert AlertChannel.objects.get().enabled
    alerts("delete-channel", "acme", "Ops")
    alerts("add-channel", "acme", "Mail", "--email", "a@example.org, b@example.org")
    assert AlertChannel.objects.get().emails == ["a@example.org", "b@example.org"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "unknown"), 'Organization "unknown" does not exist'),
        (("ack", "acme", "x"), "Alert not found"),
        (("ack", "acme", str(new_id())), "Alert not found"),
        (("add-channel", "acme", "Ops"), "--webhook"),
        (
            ("add-channel", "acme", "Ops", "--webhook", "https://10.0.0.1/"),
            "is not a public address",
        ),
        (("add-channel", "acme", "Ops", "--email", "x"), "is not a valid email address"),
        (("test-channel", "acme", "x"), 'acme has no channel "x"'),
        (("polish",), "invalid choice"),
    ],
)
def test_invalid_input_is_one_line_error(
    acme: Organization, words: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(CommandError) as refusal:
        alerts(*words)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
