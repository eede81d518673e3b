"""The first start on an empty database: prices, a demo organization, its admin and a key."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection, transaction

from orgs.keys.operations import create_key
from orgs.members.operations import create_member
from orgs.models import Membership, Organization, User, validate_timezone
from orgs.settings.operations import create_organization, set_gateway

EMAIL: Final = "admin@demo.local"
LOCK_NUMBER: Final = 0x50756C7365  # any number that is ours: "Pulse"


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What the first person needs to get in; the password and the key exist nowhere else."""

    email: str
    password: str
    key: str


def prepare() -> FirstRun | None:
    """Migrate; on an empty database make the demo and return how to get in, else None."""
    with _alone():
        call_command("migrate", interactive=False, verbosity=0)
        if Organization.objects.exists():
            return None
        # Before the organization, whose presence says that the first run is done.
        call_command("prices", "load", stdout=StringIO())
        return _make_demo()


def _make_demo() -> FirstRun:
    password = secrets.token_urlsafe(12)
    with transaction.atomic():
        org = create_organization(name="Demo", slug="demo", timezone=machine_timezone())
        set_gateway(org=org, enabled=True)
        member = create_member(org=org, email=EMAIL, role=Membership.Role.ADMIN, password=password)
        # The one who starts the installation operates it: the pages of /admin/ are theirs too.
        person = User.objects.filter(pk=member.user_id)
        person.update(is_staff=True, is_superuser=True)
        _, key = create_key(org=org, name="First key", owner=member.user)
    return FirstRun(EMAIL, password, key)


def machine_timezone() -> str:
    """Return the machine's IANA time zone, or UTC when it does not say."""
    for name in (_zone_in_file(Path("/etc/timezone")), _zone_of_link(Path("/etc/localtime"))):
        try:
            validate_timezone(name)
        except ValidationError:
            continue
        return name
    return "UTC"


def _zone_in_file(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _zone_of_link(path: Path) -> str:
    return os.path.realpath(path).partition("/zoneinfo/")[2]


@contextmanager
def _alone() -> Iterator[None]:
    """Let one start prepare the database at a time: two migrations at once would collide."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")  # the other may migrate for minutes
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK_NUMBER])
            cursor.execute("RESET lock_timeout")
        try:
            yield
        finally:
            connection.close()  # which lets go of the lock, in whatever state the session is
        return
    database = Path(settings.DATABASES["default"]["NAME"])
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
