"""Throttles password guessing, by email address and by network address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils.crypto import salted_hmac

from orgs.models import SignInFailure

WINDOW: Final = timedelta(minutes=15)
FAILURES_PER_EMAIL: Final = 10
FAILURES_PER_ADDRESS: Final = 30  # an office shares one address


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that counts as failed until `forgive` is called."""

    email_mark: str
    row_ids: tuple[int, ...]


def begin_attempt(*, email: str, address: str, moment: datetime) -> Attempt | None:
    """Count an attempt, or return None when there were too many.

    It is counted before the password is checked, so that concurrent guesses are limited as
    sequential ones are.
    """
    limits = {
        _mark("email", email): FAILURES_PER_EMAIL,
        _mark("address", address): FAILURES_PER_ADDRESS,
    }
    recent = SignInFailure.objects.filter(failed_at__gt=moment - WINDOW)
    if any(recent.filter(who=who).count() >= limit for who, limit in limits.items()):
        return None
    SignInFailure.objects.filter(failed_at__lte=moment - WINDOW).delete()
    rows = SignInFailure.objects.bulk_create(
        SignInFailure(who=who, failed_at=moment) for who in limits
    )
    row_ids = tuple(row.pk for row in rows)
    if any(recent.filter(who=who).count() > limit for who, limit in limits.items()):
        SignInFailure.objects.filter(pk__in=row_ids).delete()
        return None
    return Attempt(email_mark=rows[0].who, row_ids=row_ids)


def forgive(attempt: Attempt) -> None:
    """Delete a successful attempt, and earlier failures for the same email address.

    Other failures from the network address stay: signing in to an own account must not allow
    more guesses.
    """
    SignInFailure.objects.filter(pk__in=attempt.row_ids).delete()
    SignInFailure.objects.filter(who=attempt.email_mark).delete()


def _mark(kind: str, value: str) -> str:
    return salted_hmac(f"orgs.auth.throttle.{kind}", value, algorithm="sha256").hexdigest()
