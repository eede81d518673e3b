"""Which email addresses get alerts: those whose owner opened a signed link, and some members'.

A channel names any addresses; without this, an organization could have mail sent to anyone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.core import signing
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from gateway.alerts.delivery import mail
from gateway.alerts.delivery.webhook import Outcome
from gateway.models import AlertAddress, AlertChannel
from orgs.console.commands import installation_url
from orgs.fields import new_id
from orgs.locking import locked
from orgs.models import User

LINK_LASTS: Final = timedelta(days=7)
ASKED_AGAIN_AFTER: Final = timedelta(days=1)
ASKED_A_DAY_MAX: Final = 50  # of one organization
_SALT: Final = "gateway.alerts.confirmation"
# The slug, not the name: an admin writes anything into a name, and this goes to strangers.
_SUBJECT: Final = "Confirm this address for alerts of {slug}"
_TEXT: Final = """\
The organization "{slug}" wants to send alerts about its AI costs to {email}.

Confirm by this link, which is valid for {days} days:
{url}

If you did not expect this, ignore it: nothing more is sent to this address.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The addresses that got a link, and why others did not, as a phrase."""

    emails: tuple[str, ...] = ()
    fault: str = ""


def confirmed(organization_id: UUID, emails: Collection[str]) -> set[str]:
    """Return those of the addresses that get alerts: two queries.

    An active member's address counts when the account's is confirmed.
    """
    if not emails:
        return set()
    addresses = AlertAddress.objects.filter(org=organization_id, email__in=emails)
    members = User.objects.filter(
        email__in=emails,
        is_active=True,
        email_confirmed_at__isnull=False,
        memberships__org=organization_id,
    )
    confirmed_ones = addresses.filter(confirmed_at__isnull=False)
    return {
        *confirmed_ones.values_list("email", flat=True),
        *members.values_list("email", flat=True),
    }


def ask(channel: AlertChannel, *, now: datetime) -> Asked:
    """Send a link to each address of the channel that is not confirmed.

    One address is asked once a day, and no more than ASKED_A_DAY_MAX of an organization.
    """
    due, fault = _claim(channel, now)
    sent: list[str] = []
    for address in due:
        outcome = _send_link(address, slug=channel.org.slug)
        if outcome.is_delivered:
            sent.append(address.email)
            continue
        fault = outcome.detail
        if outcome.may_pass:
            break  # the server is not there, and each try takes its time
    # Those that got no link may be asked again at once.
    not_asked = [each.pk for each in due if each.email not in sent]
    AlertAddress.objects.filter(pk__in=not_asked).update(asked_at=None)
    return Asked(emails=tuple(sent), fault=fault)


def token(address: AlertAddress) -> str:
    """Return what a link proves: that its mail was received."""
    return signing.dumps(str(address.pk), salt=_SALT)


def opened(text: str) -> AlertAddress | None:
    """Return the address of a link, or None for one that has expired or is forged."""
    try:
        address_id = signing.loads(text, salt=_SALT, max_age=LINK_LASTS)
    except signing.BadSignature:
        return None
    return AlertAddress.objects.select_related("org").filter(pk=address_id).first()


def confirm(address: AlertAddress, *, now: datetime) -> None:
    """Confirm the address; the first time counts."""
    AlertAddress.objects.filter(pk=address.pk, confirmed_at=None).update(confirmed_at=now)


def _send_link(address: AlertAddress, *, slug: str) -> Outcome:
    url = f"{installation_url()}{reverse('alert-confirm', kwargs={'token': token(address)})}"
    text = _TEXT.format(slug=slug, email=address.email, days=LINK_LASTS.days, url=url)
    message_id = f"{new_id()}@pulse-ai-gateway"
    return mail.send([address.email], _SUBJECT.format(slug=slug), text, message_id=message_id)


def _claim(channel: AlertChannel, now: datetime) -> tuple[Sequence[AlertAddress], str]:
    """Return the addresses to ask now, marked as asked, and why others are not."""
    known = confirmed(channel.org_id, channel.emails)
    missing = [email for email in channel.emails if email not in known]
    with transaction.atomic():
        organization = locked(channel.org_id)
        rows = AlertAddress.objects.filter(org=organization)
        is_over = Q(asked_at=None) | Q(asked_at__lt=now - LINK_LASTS)
        rows.filter(is_over, confirmed_at=None).exclude(email__in=missing).delete()
        there = set(rows.filter(email__in=missing).values_list("email", flat=True))
        AlertAddress.objects.bulk_create(
            AlertAddress(org=organization, email=email) for email in missing if email not in there
        )
        is_recent = Q(asked_at__gt=now - ASKED_AGAIN_AFTER)
        due = list(rows.filter(email__in=missing).exclude(is_recent).order_by("email"))
        left = max(0, ASKED_A_DAY_MAX - rows.filter(is_recent).count())
        rows.filter(pk__in=[each.pk for each in due[:left]]).update(asked_at=now)
    if len(due) > left:
        return due[:left], f"at most {ASKED_A_DAY_MAX} confirmations are sent in a day"
    if len(due) < len(missing):
        return due, "a link was sent less than a day ago"
    return due, ""
