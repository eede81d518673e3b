"""Operations on alerts and their channels; each function is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.timezone import now

from gateway.alerts.delivery import confirmation
from gateway.alerts.delivery.confirmation import Asked
from gateway.alerts.delivery.deliver import CLAIM, DeliveryResult, deliver_test, reach
from gateway.models import Alert, AlertChannel, AlertDelivery
from gateway.upstream.reach import fault_of_url
from orgs.audit import history
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.core.values import EMAIL_MAX_CHARS, fault_of_text
from orgs.locking import locked

CHANNELS_MAX: Final = 20  # of one organization: each alert goes through all that are on
EMAILS_MAX: Final = 20
# A test calls a host that somebody has named: not as fast as they can press.
TEST_EVERY: Final = timedelta(seconds=5)


# What the history says of a channel: a webhook's URL may be a secret.
RECORDED: Final = ("name", "kind", "emails", "enabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTerms:
    """Where alerts are sent: `emails`, or the `url` of a webhook."""

    name: str
    emails: Sequence[str] = field(default_factory=list)
    url: str = ""


def acknowledge(*, organization_id: UUID, alert_id: UUID, by: str) -> Alert:
    """Note who has seen an alert, the first time; return it as it is then.

    Raises Missing when there is none.
    """
    rows = Alert.objects.filter(org=organization_id, id=alert_id)
    rows.filter(acknowledged_at=None).update(acknowledged_at=now(), acknowledged_by=by)
    alert = rows.first()
    if alert is None:
        raise Missing("Alert not found")
    return alert


def acknowledge_all(*, organization_id: UUID, up_to: UUID, by: str) -> int:
    """Acknowledge what is open and no newer than an alert that was seen; return how many."""
    rows = Alert.objects.filter(org=organization_id, id__lte=up_to, acknowledged_at=None)
    return rows.update(acknowledged_at=now(), acknowledged_by=by)


def create_channel(*, organization_id: UUID, terms: ChannelTerms) -> AlertChannel:
    """Make a channel, enabled: alerts from now on go through it.

    Raises Invalid with what is wrong, Conflict when there are too many.
    """
    emails = _checked(terms)
    with transaction.atomic():
        organization = locked(organization_id)
        if organization.alert_channels.count() >= CHANNELS_MAX:
            raise Conflict(f"An organization can have at most {CHANNELS_MAX} channels")
        kind = AlertChannel.Kind.EMAIL if emails else AlertChannel.Kind.WEBHOOK
        values = asdict(terms) | {"emails": emails}
        channel = AlertChannel.objects.create(org=organization, kind=kind, **values)
        history.record("channel_created", channel, after=history.values_of(channel, RECORDED))
        return channel


def set_channel_enabled(*, organization_id: UUID, channel_id: UUID, enabled: bool) -> None:
    """Turn a channel on or off; what waits for it fails while it is off. Both end a pause."""
    with transaction.atomic():
        channel = _locked_channel(organization_id, channel_id)
        before = history.values_of(channel, ("enabled",))
        channel.enabled, channel.failures, channel.paused_until = enabled, 0, None
        channel.save(update_fields=["enabled", "failures", "paused_until"])
        history.record("channel_changed", channel, before=before, after={"enabled": enabled})


def renew_secret(*, organization_id: UUID, channel_id: UUID) -> AlertChannel:
    """Give a webhook another secret; the old one signs nothing from now on."""
    with transaction.atomic():
        channel = _locked_channel(organization_id, channel_id)
        channel.secret_version += 1
        history.record("channel_secret_renewed", channel)
        channel.save(update_fields=["secret_version"])
        return channel


def delete_channel(*, organization_id: UUID, channel_id: UUID) -> None:
    """Remove a channel and the record of what went through it."""
    with transaction.atomic():
        channel = AlertChannel.objects.filter(org=organization_id, id=channel_id).first()
        if channel is not None:
            history.record("channel_deleted", channel, before=history.values_of(channel, RECORDED))
            channel.delete()


def ask_addresses(*, channel: AlertChannel) -> Asked:
    """Send a link to each address of the channel that is not confirmed, once a day."""
    return confirmation.ask(channel, now=now())


def try_channel(*, channel: AlertChannel) -> DeliveryResult:
    """Send a test at once and return what came of it. Raises Conflict right after another."""
    with transaction.atomic():
        locked(channel.org_id)
        tests = AlertDelivery.objects.filter(channel=channel, alert=None).order_by("-id")
        last = tests.first()
        if last is not None and now() < last.next_try_at - CLAIM + TEST_EVERY:
            raise Conflict("A test was just sent; wait a few seconds")
    return deliver_test(channel)


def _locked_channel(organization_id: UUID, channel_id: UUID) -> AlertChannel:
    rows = AlertChannel.objects.filter(org=organization_id, id=channel_id)
    channel = rows.select_for_update().first()
    if channel is None:
        raise Missing("Channel not found")
    return channel


def _checked(terms: ChannelTerms) -> list[str]:
    """Return the addresses as they are kept, or raise Invalid with what is wrong."""
    if fault := fault_of_text(terms.name, what="The name", max_chars=100):
        raise Invalid(fault, field="name")
    if bool(terms.emails) == bool(terms.url):
        raise Invalid("A channel must have either email addresses or a webhook URL", field="url")
    if terms.url and (fault := fault_of_url(terms.url, reach())):
        raise Invalid(fault, field="url")
    emails = list(dict.fromkeys(email.strip().lower() for email in terms.emails))
    if len(emails) > EMAILS_MAX:
        raise Invalid(f"A channel can have at most {EMAILS_MAX} addresses", field="emails")
    for email in emails:
        _check_email(email)
    return emails


def _check_email(email: str) -> None:
    """Raise Invalid unless it is an address; with a line break it would be two headers."""
    try:
        validate_email(email)
    except ValidationError as exc:
        raise Invalid(f'"{email[:60]!s}" is not a valid email address', field="emails") from exc
    if len(email) > EMAIL_MAX_CHARS or not email.isprintable():
        raise Invalid(
            f"An email address must have at most {EMAIL_MAX_CHARS} printable characters",
            field="emails",
        )
