"""Known devices: browsers on which an account was signed in, remembered in a signed cookie.

The cookie gives no access: it only tells a browser from a stranger's when guesses are counted
(https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies). A new
password, and the end of all other sessions, makes every device unknown.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from orgs.models import User

LASTS: Final = timedelta(days=180)
ACCOUNTS_MAX: Final = 5  # of one browser, the newest
_SALT: Final = "orgs.auth.devices"


def known_device(request: HttpRequest, user: User | None) -> str | None:
    """Return the id of the request's device if the account was signed in on it before."""
    device_id, marks = _read(request)
    return device_id if user is not None and _mark(user) in marks else None


def remember_device(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Make the request's browser a known device of the account that is signed in on it."""
    device_id, marks = _read(request)
    mark = _mark(user)
    newest = [mark, *(other for other in marks if other != mark)][:ACCOUNTS_MAX]
    response.set_cookie(
        settings.DEVICE_COOKIE_NAME,
        signing.dumps([device_id or secrets.token_urlsafe(12), *newest], salt=_SALT),
        max_age=LASTS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _read(request: HttpRequest) -> tuple[str | None, list[str]]:
    text = request.COOKIES.get(settings.DEVICE_COOKIE_NAME, "")
    try:
        device_id, *marks = signing.loads(text, salt=_SALT, max_age=LASTS)
    except signing.BadSignature:
        return None, []
    return device_id, marks


def _mark(user: User) -> str:
    """Return the account's mark, which ends with its password."""
    value = f"{user.pk} {user.get_session_auth_hash()}"
    return salted_hmac(_SALT, value, algorithm="sha256").hexdigest()[:24]
