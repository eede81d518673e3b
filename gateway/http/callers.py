"""Authenticate the caller, for every path of the API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from gateway.apis.attribution import session_in
from gateway.call.reads import read
from gateway.call.runtime import UNAUTHENTICATED, Gateway
from gateway.call.snapshot import Directory
from gateway.core.calls import Dimensions, Principal, Session
from gateway.core.errors import KeyNotAllowed, Refused
from gateway.http.headers import header
from orgs.auth.credentials import KeyRecord, SessionCaller, session_caller
from orgs.core.addresses import counted_address
from orgs.core.keys import ParsedKey, matches, parse
from orgs.core.permissions import Permission
from orgs.models import Membership
from orgs.threads import SESSIONS

KEY_HEADER: Final = "x-pulse-key"
# A page's own organization: another tab may have made another one active since it was opened.
ORGANIZATION_HEADER: Final = "x-pulse-organization"
JSON_TYPE: Final = "application/json"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# An unknown key is compared with this, so that it takes as long as a known one.
NO_DIGEST: Final = bytes(32)


class NotAllowed(Refused):
    """The caller is authenticated but may not do this; `principal` is for the audit row."""

    def __init__(self, refusal: Refused, principal: Principal) -> None:
        super().__init__(refusal.code, refusal.message)
        self.principal = principal


async def authenticate(
    gateway: Gateway,
    request: HttpRequest,
    *,
    channel: str,
    needs: Permission | None,
    more_headers: Iterable[str] = (),
) -> Principal:
    """Return who is calling: an API key's organization, or a signed-in browser's.

    `needs` is the permission that a key must have. `more_headers` are those in which a vendor's
    client sends its key. RESERVE checks a call again, but no other request, so its key is looked up
    live. Raises Refused: 400 for two different keys, 401 for a missing or invalid one - the same
    answer for an unknown, a malformed, a revoked and an expired key -, 415 for a browser's body
    that is not JSON, and NotAllowed (403) for a key without the permission and for an auditor.
    """
    key = _key_in(request, more_headers)
    if key is not None:
        session = session_in(partial(header, request))
        return await _by_key(gateway, key, session, channel=channel, needs=needs)
    # A cookie's value may be escaped: a database cannot store an unprintable character (NUL).
    if not request.COOKIES.get(settings.SESSION_COOKIE_NAME, "\0").isprintable():
        raise unauthenticated()
    # By address: strangers choose cookies, and each of them takes a query.
    address = counted_address(request.META.get("REMOTE_ADDR") or "unknown")
    caller = await read(SESSIONS, address, session_caller, request)
    if caller is None:
        raise unauthenticated()
    return _by_session(request, caller)


def unauthenticated() -> Refused:
    """Return the refusal of a missing or invalid credential."""
    return Refused("unauthenticated", UNAUTHENTICATED, status=401)


def not_json() -> Refused:
    """Return the refusal of another content type."""
    return Refused("unsupported_media_type", f"Content-Type must be {JSON_TYPE}", status=415)


def _key_in(request: HttpRequest, more_headers: Iterable[str]) -> str | None:
    found = {key for name in (KEY_HEADER, *more_headers) for key in _values(request, name)}
    for credential in _values(request, "authorization"):
        scheme, _, token = credential.partition(" ")
        if scheme.lower() == "bearer":
            found.add(token.strip())
    if len(found) > 1:
        sentence = "Two different credentials were sent; send only one"
        raise Refused("ambiguous_credentials", sentence, status=400)
    return found.pop() if found else None


def _values(request: HttpRequest, name: str) -> list[str]:
    """Return all values of a header: Django joins repeated ones with commas."""
    joined = header(request, name)
    return [] if joined is None else [value.strip() for value in joined.split(",")]


async def _by_key(
    gateway: Gateway,
    text: str,
    session: Session | None,
    *,
    channel: str,
    needs: Permission | None,
) -> Principal:
    parsed = parse(text)
    if parsed is None:  # the checksum is wrong: no query for an invalid key
        raise unauthenticated()
    now = datetime.now(UTC)
    record = await _record(gateway.directory, parsed, needs=needs, now=now)
    digest = record.digest if record is not None else NO_DIGEST
    is_right = matches(text, digest, settings.API_KEY_PEPPER)
    if record is None or not is_right or not record.is_usable_at(now):
        raise unauthenticated()
    gateway.used_keys.add(record.id)
    principal = Principal(
        org_id=record.org_id,
        fixed=_fixed_by(record),
        channel=channel,
        key_id=record.id,
        key_public=record.public,
        key_lineage=record.lineage_id,
        needs=needs,
        client_from=record.client_from or None,
        session=session,
        key_name=record.name,
        user_name=record.owner_email,
    )
    if not _is_permitted(record, needs):
        # Its audit row needs no permission.
        raise NotAllowed(KeyNotAllowed(f"{needs}"), replace(principal, needs=None))
    return principal


async def _record(
    directory: Directory, parsed: ParsedKey, *, needs: Permission | None, now: datetime
) -> KeyRecord | None:
    """Return the key's row, or None; one that does not suffice is read again, as it may now."""
    if not await directory.may_exist(parsed):
        return None
    is_checked_again = needs is Permission.SEND
    record = await (directory.key if is_checked_again else directory.live_key)(parsed.public)
    if record is None or (record.is_usable_at(now) and _is_permitted(record, needs)):
        return record
    return await directory.live_key(parsed.public)


def _is_permitted(record: KeyRecord, needs: Permission | None) -> bool:
    return needs is None or needs in record.permissions


def _fixed_by(record: KeyRecord) -> Dimensions:
    return Dimensions(
        user_id=str(record.owner_id) if record.owner_id else None,
        team_id=record.team_id,
        project_id=record.project_id,
        app_id=record.app_id,
        client_id=record.client_id,
        user_proved=record.owner_id is not None,
    )


def _by_session(request: HttpRequest, caller: SessionCaller) -> Principal:
    fixed = Dimensions(user_id=caller.user_id, user_proved=True)
    principal = Principal(
        org_id=caller.org_id, fixed=fixed, channel="browser", user_name=caller.email
    )
    if request.method not in SAFE_METHODS:
        if (
            request.content_type != JSON_TYPE
        ):  # before the CSRF token, which is also looked up in forms
            raise not_json()
        if not _is_same_origin(request) or not _has_csrf_token(request):
            sentence = "Browser requests must have a CSRF token and the gateway's own origin"
            raise Refused("unauthenticated", sentence, status=401)
        if header(request, ORGANIZATION_HEADER) not in (None, str(caller.org_id)):
            sentence = f"{ORGANIZATION_HEADER} must be the session's active organization"
            raise Refused("ambiguous_credentials", sentence, status=400)
        if caller.role == Membership.Role.AUDITOR:
            sentence = "Auditors can view everything but cannot send requests"
            raise NotAllowed(Refused("role_not_allowed", sentence), principal)
    return principal


def _is_same_origin(request: HttpRequest) -> bool:
    return header(request, "sec-fetch-site") in (None, "same-origin")


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check of the token and the Origin header, without its page."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        # The page would be rendered for the signed-in user: a query in async code.
        return HttpResponse(status=403)


def _has_csrf_token(request: HttpRequest) -> bool:
    check = _CsrfCheck(_nothing)
    check.process_request(request)
    return check.process_view(request, _nothing, (), {}) is None


def _nothing(_request: HttpRequest) -> HttpResponse:
    """Replace the view, of which the middleware only checks whether it is exempt."""
    return HttpResponse()
