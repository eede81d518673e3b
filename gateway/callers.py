"""The one function that decides who is calling, for every path of the API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from gateway.core.calls import Dimensions, Principal
from gateway.core.errors import Refused
from gateway.runtime import UNAUTHENTICATED, Gateway
from gateway.snapshot import read
from orgs.core.keys import matches, parse
from orgs.credentials import KeyRecord, SessionCaller, session_caller
from orgs.models import Membership

KEY_HEADER: Final = "x-pulse-key"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# An unknown key is compared with this, so that it costs what a known one costs.
NO_DIGEST: Final = bytes(32)


async def authenticate(
    gateway: Gateway,
    request: HttpRequest,
    *,
    channel: str,
    more_headers: Iterable[str] = (),
    reads: bool = False,
) -> Principal:
    """Return who is calling: an API key's organization, or a signed-in browser's.

    `more_headers` are those in which a vendor's client sends its key. A call is checked again by
    RESERVE; what only `reads` is not, so its key is looked up live. Raises Refused: 400 for two
    keys that differ, 401 for none or a wrong one - the same answer for an unknown, a malformed,
    a revoked and an expired key.
    """
    key = _key_in(request, more_headers)
    if key is not None:
        return await _by_key(gateway, key, channel=channel, live=reads)
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        raise unauthenticated()
    caller = await read(session_caller, request)
    if caller is None:
        raise unauthenticated()
    return _by_session(request, caller)


def unauthenticated() -> Refused:
    """Return the one answer to a credential that is absent or wrong."""
    return Refused("unauthenticated", UNAUTHENTICATED, status=401)


def _key_in(request: HttpRequest, more_headers: Iterable[str]) -> str | None:
    found = {request.headers.get(name) for name in (KEY_HEADER, *more_headers)}
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.add(token.strip())
    found.discard(None)
    if len(found) > 1:
        sentence = "Two different credentials were given; send one"
        raise Refused("ambiguous_credentials", sentence, status=400)
    return found.pop() if found else None


async def _by_key(gateway: Gateway, text: str, *, channel: str, live: bool) -> Principal:
    parsed = parse(text)
    if parsed is None:  # the checksum is wrong: no query for junk
        raise unauthenticated()
    now, directory = datetime.now(UTC), gateway.directory
    record = await (directory.reload_key if live else directory.key)(parsed.public)
    if record is not None and not record.is_usable_at(now):
        record = await directory.reload_key(parsed.public)  # it may be good again
    digest = record.digest if record is not None else NO_DIGEST
    is_right = matches(text, digest, settings.API_KEY_PEPPER)
    if record is None or not is_right or not record.is_usable_at(now):
        raise unauthenticated()
    gateway.used_keys.add(record.id)
    return Principal(
        org_id=record.org_id,
        fixed=_fixed_by(record),
        channel=channel,
        key_id=record.id,
        key_public=record.public,
    )


def _fixed_by(record: KeyRecord) -> Dimensions:
    return Dimensions(
        user_id=str(record.owner_id) if record.owner_id else None,
        team_id=record.team_id,
        project_id=record.project_id,
        app_id=record.app_id,
        client_id=record.client_id,
    )


def _by_session(request: HttpRequest, caller: SessionCaller) -> Principal:
    if request.method not in SAFE_METHODS:
        if not _is_same_origin(request) or _csrf_refusal(request) is not None:
            sentence = "A browser's request needs the CSRF token and the gateway's own origin"
            raise Refused("unauthenticated", sentence, status=401)
        if caller.role == Membership.Role.AUDITOR:
            raise Refused("role_not_allowed", "An auditor sees everything and sends nothing")
    return Principal(
        org_id=caller.org_id, fixed=Dimensions(user_id=caller.user_id), channel="browser"
    )


def _is_same_origin(request: HttpRequest) -> bool:
    return request.headers.get("sec-fetch-site", "same-origin") == "same-origin"


def _csrf_refusal(request: HttpRequest) -> HttpResponse | None:
    """Check the CSRF token and the Origin header as Django's middleware does."""
    check = CsrfViewMiddleware(lambda _: HttpResponse())
    check.process_request(request)
    return check.process_view(request, _csrf_refusal, (), {})
