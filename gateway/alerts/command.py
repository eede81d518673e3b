"""`manage.py alerts`: find and send alerts once, list and acknowledge them, manage channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.utils.timezone import now

from gateway.alerts import operations, reports
from gateway.alerts.delivery.deliver import secret_for
from gateway.alerts.operations import ChannelTerms
from gateway.alerts.pages import is_paused, sent_links, where
from gateway.alerts.reports import ACKNOWLEDGED, OPEN, AlertQuery
from gateway.alerts.rounds import Rounds
from gateway.models import Alert, AlertChannel, AlertDelivery
from orgs.console.commands import ActionCommand, add_named, add_report, organization, write_rows
from orgs.core.errors import Invalid, Missing
from orgs.models import Organization

LISTED_MAX = 1_000
BY_COMMAND = "manage.py"


class Command(ActionCommand):
    help = "Find and send alerts, list and acknowledge them, manage their channels."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        add("run", self.run, help="find new alerts and send what is due, once")
        listing = add("list", self.list, help="list an organization's alerts, newest first")
        add_report(listing)
        listing.add_argument("--state", choices=(OPEN, ACKNOWLEDGED))
        ack = add("ack", self.ack, help="acknowledge an alert")
        ack.add_argument("slug", metavar="SLUG", help="the organization")
        ack.add_argument("id", metavar="ID", help="the alert's id, or all")
        add_report(add("channels", self.channels, help="list an organization's channels"))
        made = add("add-channel", self.add_channel, help="add a channel; it is enabled")
        add_named(made, "channel")
        where_to = made.add_mutually_exclusive_group(required=True)
        where_to.add_argument(
            "--webhook", metavar="URL", help="the URL; prints the secret once, on the last line"
        )
        where_to.add_argument("--email", metavar="ADDRESS,…", help="the email addresses")
        test = add("test-channel", self.test_channel, help="send a test through a channel")
        ask = add("ask-channel", self.ask_channel, help="send links to unconfirmed addresses")
        enable = add("enable-channel", self.switch_channel, help="enable a channel")
        disable = add("disable-channel", self.switch_channel, help="disable a channel")
        delete = add("delete-channel", self.delete_channel, help="delete a channel")
        for action in (test, ask, enable, disable, delete):
            add_named(action, "channel")
        enable.set_defaults(enabled=True)
        disable.set_defaults(enabled=False)

    def run(self, options: dict[str, Any]) -> None:
        rounds = Rounds()
        done = rounds.run()
        if not done.is_ours:
            self.stdout.write("Another process is running the alerts; nothing was done.")
            return
        rounds.end()
        for alert in done.raised:
            self.stdout.write(f"{alert.org.slug}: {alert.sentence}")
        for result in done.sent:
            delivery, detail = result.delivery, result.outcome.detail
            self.stdout.write(f"{delivery.channel.name}: {delivery.state} ({detail})")
        self.stdout.write(
            f"New alerts: {len(done.raised)}. Deliveries attempted: {len(done.sent)}."
        )
        failed = [each for each in done.sent if each.delivery.state == AlertDelivery.State.FAILED]
        if failed:
            raise CommandError(f"Deliveries that failed permanently: {len(failed)}")

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        query = AlertQuery(state=options["state"])
        found, _ = reports.alerts(organization_id=org.pk, query=query, limit=LISTED_MAX)
        write_rows(self.stdout, [_row(alert) for alert in found], format=options["format"])

    def ack(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        if options["id"] == "all":
            found, _ = reports.alerts(organization_id=org.pk, query=AlertQuery(), limit=1)
            count = 0
            if found:
                count = operations.acknowledge_all(
                    organization_id=org.pk, up_to=found[0].pk, by=BY_COMMAND
                )
            self.stdout.write(f"Acknowledged: {count}.")
            return
        alert = operations.acknowledge(
            organization_id=org.pk, alert_id=_id(options["id"]), by=BY_COMMAND
        )
        self.stdout.write(f"Acknowledged by {alert.acknowledged_by}: {alert.sentence}")

    def channels(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        rows = [_channel_row(each) for each in reports.channels(organization_id=org.pk)]
        write_rows(self.stdout, rows, format=options["format"])

    def add_channel(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        emails = [each.strip() for each in (options["email"] or "").split(",") if each.strip()]
        terms = ChannelTerms(name=options["name"], emails=emails, url=options["webhook"] or "")
        channel = operations.create_channel(organization_id=org.pk, terms=terms)
        self.stdout.write(f'Added channel "{channel.name}" of {org.slug}; it is enabled.')
        if channel.kind == AlertChannel.Kind.WEBHOOK:
            self.stdout.write("Deliveries are signed with this secret, which is shown only once:")
            self.stdout.write(secret_for(channel))
        else:
            self._ask(channel)

    def test_channel(self, options: dict[str, Any]) -> None:
        channel = _the_channel(options)
        outcome = operations.try_channel(channel=channel).outcome
        if not outcome.is_delivered:
            raise CommandError(f'Test of "{channel.name}" failed: {outcome.detail}')
        self.stdout.write(f'Test sent to "{channel.name}": {outcome.detail}.')

    def ask_channel(self, options: dict[str, Any]) -> None:
        self._ask(_the_channel(options))

    def delete_channel(self, options: dict[str, Any]) -> None:
        channel = _the_channel(options)
        operations.delete_channel(organization_id=channel.org_id, channel_id=channel.pk)
        self.stdout.write(f'Deleted channel "{channel.name}".')

    def switch_channel(self, options: dict[str, Any]) -> None:
        channel, enabled = _the_channel(options), options["enabled"]
        operations.set_channel_enabled(
            organization_id=channel.org_id, channel_id=channel.pk, enabled=enabled
        )
        self.stdout.write(f'Channel "{channel.name}" is {"on" if enabled else "off"}.')

    def _ask(self, channel: AlertChannel) -> None:
        """Send links, and say who gets no alerts until they open theirs."""
        asked = operations.ask_addresses(channel=channel)
        if sentence := sent_links(asked):
            self.stdout.write(sentence)
        left = reports.unconfirmed(channel)
        self.stdout.write(f"Unconfirmed addresses, which get no alerts: {', '.join(left) or 0}.")


def _the_channel(options: dict[str, Any]) -> AlertChannel:
    org: Organization = organization(options["slug"])
    name = options["name"].strip()
    found = list(AlertChannel.objects.filter(org=org, name__iexact=name)[:2])
    if not found:
        raise Missing(f'{org.slug} has no channel "{options["name"]}"')
    if len(found) > 1:
        raise Invalid(f'{org.slug} has several channels named "{name}"; use the page instead')
    return found[0]


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as exc:
        raise Missing("Alert not found") from exc


def _row(alert: Alert) -> dict[str, Any]:
    at = alert.acknowledged_at
    return {
        "raised_at": alert.raised_at.isoformat(timespec="seconds"),
        "kind": alert.kind,
        "percent": alert.percent,
        "sentence": alert.sentence,
        "acknowledged_at": at.isoformat(timespec="seconds") if at else None,
        "acknowledged_by": alert.acknowledged_by or None,
        "id": str(alert.pk),
    }


def _channel_row(channel: AlertChannel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "kind": channel.kind,
        "enabled": channel.enabled,
        "where": where(channel),
        "unconfirmed": ", ".join(reports.unconfirmed(channel)) or None,
        "failures": channel.failures,
        "paused_until": channel.paused_until.isoformat(timespec="seconds")
        if channel.paused_until is not None and is_paused(channel, now())
        else None,
        "id": str(channel.pk),
    }
