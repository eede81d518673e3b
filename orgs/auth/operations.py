"""Operations on an account: sign in, change the password, end sessions, with their history."""

from __future__ import annotations

from django.contrib.auth import login
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest
from django.utils.timezone import now

from orgs.audit import history
from orgs.auth import throttle
from orgs.core.errors import Conflict
from orgs.models import User


def begin_session(request: HttpRequest, user: User, *, device_is_known: bool) -> None:
    """Sign the person in."""
    with transaction.atomic():
        login(request, user)
        history.record("sign_in", user, after={"known_device": device_is_known})


def record_failure(user: User | None) -> None:
    """Record a failed sign-in: the 1st, 2nd, 4th, 8th … of an account in 24 hours.

    So a stranger who guesses for ever adds a few rows a day, and those of accounts that do not
    exist count together. What was typed as the address is not kept: it may be a password.
    """
    with transaction.atomic():
        failures = throttle.failures_today(user, moment=now())
        if failures & (failures - 1) == 0:
            history.record("sign_in_failed", user, after={"failures_in_24_hours": failures})


def change_password(*, user: User, password: str) -> None:
    """Set another password, which ends all sessions. Raises Conflict after another change."""
    _replace_password(user, password, event="password_changed")


def end_sessions(*, user: User, password: str) -> None:
    """End all sessions: the same password is hashed again, and sessions depend on the hash."""
    _replace_password(user, password, event="sessions_ended")


def _replace_password(user: User, password: str, *, event: str) -> None:
    hashed = make_password(password)  # before the transaction: it takes a while
    with transaction.atomic():
        current = User.objects.filter(pk=user.pk, password=user.password)
        if not current.update(password=hashed):
            raise Conflict("The password has just been changed; sign in again")
        history.record(event, user)
    user.password = hashed
