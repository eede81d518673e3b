"""Throttles password guessing: by network address, by account and by known device apart.

A stranger's failures must not lock out the owner of an account, so:

- A device on which the account was signed in before (`orgs.auth.devices`) has a count of its own,
  and no other counts for it.
- Any other device is counted by its address, by its address and the account together, and by the
  account alone. The last is for guesses from many addresses, so it is above what one address may
  fail; only with several can anyone keep new devices of an account from signing in.

Each count is a row, named by the first digits of an HMAC: two names may share a row (one in a
million), and there are at most 16**DIGITS rows of a kind, whatever strangers send.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import F
from django.utils.crypto import salted_hmac

from orgs.models import SignInCounter, User

WINDOW: Final = timedelta(minutes=15)
FAILURES_PER_ADDRESS: Final = 30  # an office shares one address
FAILURES_PER_ADDRESS_AND_ACCOUNT: Final = 10
FAILURES_PER_ACCOUNT: Final = 25  # 100 an hour
FAILURES_PER_DEVICE: Final = 10
FAILURES_PER_SESSION: Final = 10  # of an account, where a page asks for the password again
DIGITS: Final = 5
PRUNED_AT_ONCE_MAX: Final = 1000
DAY: Final = timedelta(days=1)

_COUNT: Final = """
    INSERT INTO sign_in_counter (who, failures, ends_at) VALUES (%(who)s, 1, %(ends_at)s)
    ON CONFLICT (who) DO UPDATE SET
        failures = CASE WHEN sign_in_counter.ends_at <= %(moment)s
            THEN 1 ELSE sign_in_counter.failures + 1 END,
        ends_at = CASE WHEN sign_in_counter.ends_at <= %(moment)s
            THEN excluded.ends_at ELSE sign_in_counter.ends_at END
    WHERE sign_in_counter.ends_at <= %(moment)s OR sign_in_counter.failures < %(limit)s
    RETURNING failures
"""
UNLIMITED: Final = 2**31 - 1  # the column's


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that counts as failed, under these names, until `forgive` is called."""

    names: tuple[str, ...]


class _LimitReached(Exception):
    """One of the counts is full; the others are rolled back."""


def begin_sign_in(
    *, email: str, address: str, device_id: str | None, moment: datetime
) -> Attempt | None:
    """Count a sign-in, or return None when too many failed.

    `device_id` is of a device that is known for this account. It is counted before the password is
    checked, so that concurrent guesses are limited as sequential ones are.
    """
    if device_id is not None:
        return _begin({_name("device", device_id, email): FAILURES_PER_DEVICE}, moment)
    limits = {
        _name("address", address): FAILURES_PER_ADDRESS,
        _name("both", address, email): FAILURES_PER_ADDRESS_AND_ACCOUNT,
        _name("account", email): FAILURES_PER_ACCOUNT,
    }
    return _begin(limits, moment)


def begin_confirmation(*, user: User, moment: datetime) -> Attempt | None:
    """Count a signed-in person's password, or return None when too many were wrong."""
    return _begin({_name("session", str(user.pk)): FAILURES_PER_SESSION}, moment)


def forgive(attempt: Attempt) -> None:
    """Delete the counts of a successful attempt.

    Other failures from its network address stay: signing in to an own account must not allow more
    guesses.
    """
    for name in attempt.names:
        row = SignInCounter.objects.filter(who=name)
        if name.startswith("address:"):
            row.filter(failures__gt=0).update(failures=F("failures") - 1)
        else:
            row.delete()


def failures_today(user: User | None, *, moment: datetime) -> int:
    """Count a failure for the history and return how many there are in 24 hours.

    All accounts that do not exist are counted as one.
    """
    name = _name("history", str(user.pk) if user else "")
    return _count(name, limit=UNLIMITED, window=DAY, moment=moment) or UNLIMITED


def _begin(limits: Mapping[str, int], moment: datetime) -> Attempt | None:
    names = tuple(sorted(limits))  # the one order in which rows are locked
    try:
        with transaction.atomic():
            for name in names:
                if _count(name, limit=limits[name], window=WINDOW, moment=moment) is None:
                    raise _LimitReached
    except _LimitReached:
        return None
    _prune(moment)
    return Attempt(names)


def _count(name: str, *, limit: int, window: timedelta, moment: datetime) -> int | None:
    """Add a failure and return how many there are now, or None at the limit."""
    adapted = connection.ops.adapt_datetimefield_value
    parameters = {
        "who": name,
        "ends_at": adapted(moment + window),
        "moment": adapted(moment),
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, parameters)
        row = cursor.fetchone()
    return row[0] if row else None


def _prune(moment: datetime) -> None:
    """Delete counts that are over, but for those that another sign-in has locked."""
    with transaction.atomic():
        rows = SignInCounter.objects.select_for_update(skip_locked=True)
        over = rows.filter(ends_at__lte=moment).values_list("pk", flat=True)[:PRUNED_AT_ONCE_MAX]
        SignInCounter.objects.filter(pk__in=list(over)).delete()


def _name(kind: str, *values: str) -> str:
    digest = salted_hmac(f"orgs.auth.throttle.{kind}", "\n".join(values), algorithm="sha256")
    return f"{kind}:{digest.hexdigest()[:DIGITS]}"
