"""`manage.py keys`: create, list, update, rotate and revoke API keys."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils.timezone import now

from gateway.keys.forms import KeyLimitsForm
from gateway.keys.operations import create_key
from gateway.providers.known import known_models
from orgs.console.commands import (
    ActionCommand,
    add_report,
    as_typed,
    checked,
    given,
    organization,
    write_rows,
)
from orgs.core import keys as key_format
from orgs.core import permissions
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.keys import operations, reports
from orgs.keys.forms import KEY_LASTS_AT_MOST_DAYS
from orgs.keys.reports import KeyRow
from orgs.models import ApiKey, Organization, User

KEY_HELP = (
    "the key: its public part (the 12 characters after pulse_), its id, the whole key, or SLUG NAME"
)
CLIENT_FROM_HELP = (
    "where calls without a client take it from: user, safety_identifier, metadata.user_id "
    "or header:NAME"
)
# option, the form's field, how its value is written, what it is: limits of a key's own policy
LIMITS = (
    ("--models", "allowed_models", "M,…", "the only models that it may call"),
    ("--max-cost-per-day", "max_cost_per_day_eur", "EUR", "its daily limit"),
    ("--rpm", "requests_per_minute", "N", "the most admitted requests in a minute"),
    ("--tpm", "tokens_per_minute", "N", "the most tokens in a minute, input and output cap"),
    ("--concurrent", "concurrent_requests", "N", "the most requests that run at once"),
)
FIELDS = tuple(field for _, field, _, _ in LIMITS)


class Command(ActionCommand):
    help = (
        "Create, list, update, rotate and revoke API keys. A key is shown once, when it is created."
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="create a key; prints it alone on the last line")
        create.add_argument("slug", metavar="SLUG", help="the organization")
        create.add_argument("--name", required=True, help="what will use the key")
        create.add_argument(
            "--user", metavar="EMAIL", help="its owner; calls are attributed to this user"
        )
        for name in operations.FIXABLE:
            what = name.removesuffix("_id")
            create.add_argument(f"--{what}", dest=name, help=f"set the {what} of all its calls")
        create.add_argument("--client-from", default="", metavar="SOURCE", help=CLIENT_FROM_HELP)
        create.add_argument(
            "--expires-days", type=int, metavar="D", help="days until it expires; never if omitted"
        )
        create.add_argument(
            "--permissions",
            default=permissions.ALL,
            metavar="P,...",
            help=f"what it may do; default: {permissions.ALL}",
        )
        for option, field, metavar, what in LIMITS:
            create.add_argument(option, dest=field, metavar=metavar, help=what)
        add_report(add("list", self.list, help="list an organization's keys, newest first"))
        update = add("update", self.update, help="change where the client comes from")
        update.add_argument("key", nargs="+", metavar="KEY", help=KEY_HELP)
        update.add_argument(
            "--client-from", required=True, metavar="SOURCE", help=f"{CLIENT_FROM_HELP}; or none"
        )
        rotate = add(
            "rotate",
            self.rotate,
            help="replace a key; prints the new one alone on the last line",
            description="Creates a key with the same name and settings. The old key stays valid "
            "for the overlap. A name selects the newest key of that name.",
        )
        rotate.add_argument("key", nargs="+", metavar="KEY", help=KEY_HELP)
        rotate.add_argument(
            "--overlap-hours",
            type=float,
            default=24,
            metavar="H",
            help="how long the old key stays valid; default: 24",
        )
        revoke = add("revoke", self.revoke, help="revoke a key permanently, from the next request")
        revoke.add_argument("key", nargs="+", metavar="KEY", help=KEY_HELP)

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        limits = checked(KeyLimitsForm(as_typed(given(options, FIELDS)))).limits()
        key, text, policy = create_key(
            org=org,
            name=options["name"],
            limits=limits,
            owner=_owner(org, options["user"]),
            expires_at=_expiry(options["expires_days"]),
            team_id=options["team_id"],
            project_id=options["project_id"],
            app_id=options["app_id"],
            client_id=options["client_id"],
            permissions=options["permissions"],
            client_from=options["client_from"],
        )
        if policy is not None:
            self.stdout.write(f"Created policy {policy.name}, which applies to this key.")
        if unknown := known_models(org.pk).unknown(limits.allowed_models):
            self.stderr.write(f"Warning: unknown model: {', '.join(unknown)}")
        self.stdout.write(f'Created key "{key.name}" for {org.slug}. It is shown only once:')
        self.stdout.write(text)

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        page = reports.keys(org=org, moment=now(), limit=None)
        write_rows(self.stdout, [_row(key) for key in page.rows], format=options["format"])

    def update(self, options: dict[str, Any]) -> None:
        key, source = _the_key(options["key"], newest=True), options["client_from"]
        operations.update_key(key=key, client_from="" if source == "none" else source)
        self.stdout.write(f'Updated key "{key.name}" ({key.public}).')

    def rotate(self, options: dict[str, Any]) -> None:
        key = _the_key(options["key"], newest=True)
        hours = options["overlap_hours"]
        try:
            overlap = timedelta(hours=hours)
        except (OverflowError, ValueError) as exc:
            raise Invalid("--overlap-hours must be a number of hours, such as 24") from exc
        key, text = operations.rotate_key(key=key, overlap=overlap)
        self.stdout.write(
            f'The old key "{key.name}" expires in {hours:g} hours. The new key is shown only once:'
        )
        self.stdout.write(text)

    def revoke(self, options: dict[str, Any]) -> None:
        key = _the_key(options["key"], newest=False)
        if operations.revoke_key(key=key):
            self.stdout.write(f'The key "{key.name}" ({key.public}) is revoked.')
        else:
            self.stdout.write(f'The key "{key.name}" ({key.public}) was already revoked.')


def _owner(org: Organization, email: str | None) -> User | None:
    if email is None:
        return None
    members = User.objects.filter(memberships__org=org)
    owner = members.filter(email=email.strip().lower()).first()
    if owner is None:
        raise Missing(f"No user of this organization has the email address {email}")
    return owner


def _expiry(days: int | None) -> datetime | None:
    if days is None:
        return None
    if not 1 <= days <= KEY_LASTS_AT_MOST_DAYS:
        raise Invalid(f"--expires-days must be between 1 and {KEY_LASTS_AT_MOST_DAYS}")
    return now() + timedelta(days=days)


def _the_key(parts: list[str], *, newest: bool) -> ApiKey:
    if len(parts) == 1:
        return _key_by_itself(parts[0])
    if len(parts) > 2:
        raise Invalid(
            "Specify one key: its public part, its id, or SLUG NAME (quote a name with spaces)"
        )
    org, name = organization(parts[0]), parts[1]
    return _key_by_name(org, name, newest=newest)


def _key_by_itself(text: str) -> ApiKey:
    parsed = key_format.parse(text)
    public = parsed.public if parsed else text.removeprefix("pulse_")
    found = ApiKey.objects.filter(public=public).first()
    if found is None and (key_id := _id(text)):
        found = ApiKey.objects.filter(pk=key_id).first()
    if found is None:
        raise Missing("Key not found; give its public part, its id, or SLUG NAME")
    return found


def _id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _key_by_name(org: Organization, name: str, *, newest: bool) -> ApiKey:
    """Return the unrevoked key of this name; a key and its successor share a name for a while."""
    living = ApiKey.objects.filter(org=org, name__iexact=name, revoked_at__isnull=True)
    found = list(living.order_by("-id"))
    if not found:
        raise Missing(f'{org.slug} has no key "{name}" that is not revoked')
    if len(found) > 1 and not newest:
        publics = ", ".join(key.public for key in found)
        raise Conflict(f'{len(found)} keys are named "{name}": {publics}; give the public part')
    return found[0]


def _row(key: KeyRow) -> dict[str, Any]:
    def instant(at: datetime | None) -> str | None:
        return at.isoformat(timespec="seconds") if at else None

    return {
        "name": key.name,
        "public": key.public,
        "last_four": key.last_four,
        "status": key.status,
        "owner": key.owner,
        "locked_to": key.locked_to,
        "callers_choose": key.callers_choose,
        "client_from": key.client_from or None,
        "permissions": key.permissions,
        "expires_at": instant(key.expires_at),
        "last_used_at": instant(key.last_used_at),
        "id": str(key.id),
    }
