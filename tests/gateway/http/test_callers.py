"""Who is calling: one function decides, for keys and for signed-in browsers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test import Client, RequestFactory
from django.utils.timezone import now

from gateway.call.runtime import UNAUTHENTICATED, Gateway
from gateway.call.snapshot import UNSEALED_KEPT_S
from gateway.core.calls import Principal
from gateway.http.callers import authenticate
from gateway.models import AiRequestLog
from orgs.core import keys
from orgs.core.permissions import Permission
from orgs.keys import operations
from orgs.models import ApiKey, Membership, Organization, User
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply, send_to_api

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"model": "sandbox-small", "prompt": "Say hello"}
BODY = json.dumps(HELLO).encode()
JSON = {"content-type": "application/json"}
TOKEN = "t" * 32
UNKNOWN = "u" * 32  # a session that does not exist
AMBIGUOUS = (400, "ambiguous_credentials", "Two different credentials were sent; send only one")


def send(headers: Mapping[str, str], *, path: str = "/api/ai/request", body: bytes = BODY) -> Reply:
    return send_to_api("POST", path, body=body, headers=JSON | dict(headers))


def same_answer(replies: list[Reply]) -> None:
    """Check that the answers differ only in their ids."""
    answers = set()
    for reply in replies:
        body = reply.body.replace(reply.json["requestId"].encode(), b"")
        headers = {name: value for name, value in reply.headers.items() if name != "vary"}
        answers.add((reply.status, body, tuple(sorted(headers.items()))))
    assert len(answers) == 1


def test_key_can_be_in_either_header_or_equal_in_both(ask_both: Asking, api_key: str) -> None:
    for headers in (
        {"x-pulse-key": api_key},
        {"authorization": f"Bearer {api_key}"},
        {"authorization": f"bearer  {api_key} "},
        {"x-pulse-key": api_key, "authorization": f"Bearer {api_key}"},
        {"x-pulse-key": api_key, "authorization": "Basic eDp5"},
        {"x-pulse-key": f"{api_key}, {api_key}"},  # the header came twice
        {"x-pulse-key": api_key, "cookie": "sessionid=whatever"},
    ):
        assert ask_both(HELLO, key="", headers=headers).status == 200


def test_two_different_keys_are_ambiguous(
    ask_both: Asking, api_key: str, acme: Organization, make_key: Callable[..., str]
) -> None:
    other = make_key(acme, "other")
    for headers in (
        {"x-pulse-key": api_key, "authorization": f"Bearer {other}"},
        {"x-pulse-key": "junk", "authorization": f"Bearer {api_key}"},
        {"x-pulse-key": f"{api_key},{other}"},
        {"authorization": f"Bearer {api_key},Bearer {other}"},
    ):
        reply = ask_both(HELLO, key="", headers=headers)
        assert reply.refusal == AMBIGUOUS
        assert "x-pulse-request-id" not in reply.headers
    assert not AiRequestLog.objects.exists()


def test_every_invalid_key_gets_same_response(
    ask_both: Asking, api_key: str, acme: Organization, make_key: Callable[..., str]
) -> None:
    revoked, expired = make_key(acme, "revoked"), make_key(acme, "expired")
    assert ask_both(HELLO, key=revoked).status == 200  # it is known, and remembered
    operations.revoke_key(key=ApiKey.objects.get(name="revoked"))
    ApiKey.objects.filter(name="expired").update(expires_at=now() - timedelta(seconds=1))
    unknown = keys.new_key(settings.API_KEY_PEPPER).text
    forged = unknown[:19] + keys.new_key(settings.API_KEY_PEPPER).text[19:]
    same_answer(
        [
            ask_both(HELLO, key="", headers=headers)
            for headers in (
                {},
                {"x-pulse-key": "junk"},
                {"x-pulse-key": "é"},
                {"x-pulse-key": unknown},
                {"x-pulse-key": forged},
                {"x-pulse-key": api_key[:-1]},
                {"x-pulse-key": api_key + " x"},
                {"x-pulse-key": revoked},
                {"authorization": f"Bearer {revoked}"},
                {"x-pulse-key": expired},
                {"authorization": "Bearer"},
                {"authorization": api_key},
                {"authorization": f"Basic {api_key}"},
                {"x-api-key": api_key},
                {"x-goog-api-key": api_key},
                {"cookie": f"x-pulse-key={api_key}"},
                {"cookie": "sessionid=nobodys"},
                {"cookie": 'sessionid="a\\000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'},
            )
        ]
    )
    reply = ask_both(HELLO, key="")
    assert reply.refusal == (401, "unauthenticated", UNAUTHENTICATED)
    assert reply.headers["www-authenticate"] == 'Bearer realm="pulse"'
    assert "x-pulse-request-id" not in reply.headers


def test_key_that_was_never_issued_costs_no_query(
    gateway: Gateway, ask_both: Asking, make_key: Callable[..., str], acme: Organization
) -> None:
    queries: list[str] = []

    def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
        connection.execute_wrappers.append(note)

    def note(execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        queries.extend([sql] if "api_key" in sql else [])
        return execute(sql, *more)

    connection_created.connect(watch)
    try:
        begun = time.monotonic()
        for _ in range(20):
            stranger = keys.new_key(b"another installation").text
            for path in ("/api/ai/request", "/api/ai/quote", "/v1/models"):
                method = "GET" if path == "/v1/models" else "POST"
                assert ask_both(HELLO, key=stranger, method=method, path=path).status == 401
        rounds = 1 + (time.monotonic() - begun) // UNSEALED_KEPT_S
        assert 1 <= len(queries) <= rounds  # for the keys without a seal
        assert ask_both(HELLO, key=make_key(acme, "new")).status == 200  # at once
    finally:
        connection_created.disconnect(watch)


def test_key_without_seal_is_found(gateway: Gateway, ask_both: Asking, acme: Organization) -> None:
    body = f"pulse_{'a' * 12}_{'b' * 32}"
    text = body + keys.checksum(body)
    assert ask_both(HELLO, key=text).status == 401
    ApiKey.objects.create(
        org=acme,
        name="old",
        public="a" * 12,
        last_four=text[-4:],
        digest=keys.digest(text, settings.API_KEY_PEPPER),
    )
    gateway.directory.forget()  # or UNSEALED_KEPT_S later
    assert ask_both(HELLO, key=text).status == 200
    other = text[:19] + "c" * 32
    assert ask_both(HELLO, key=other + keys.checksum(other)).status == 401


def test_key_in_query_string_is_not_accepted(ask: Asking, api_key: str) -> None:
    for name in ("key", "x-pulse-key", "x_pulse_key", "api_key", "authorization"):
        for path in ("/api/ai/request", "/api/ai/quote"):
            assert ask(HELLO, key="", path=f"{path}?{name}={api_key}").status == 401
        assert ask(key="", method="GET", path=f"/api/ai/requests?{name}={api_key}").status == 401


def test_every_organization_endpoint_requires_authentication(ask: Asking) -> None:
    for method, path in (
        ("POST", "/api/ai/request"),
        ("POST", "/api/ai/quote"),
        ("GET", "/api/ai/requests"),
        ("GET", "/api/ai/requests/0193e4a0-0000-7000-8000-000000000000"),
    ):
        assert ask(HELLO, method=method, path=path, key="").status == 401
        assert ask(HELLO, method=method, path=path, key="junk").status == 401


def test_revoked_or_expired_key_is_refused_at_once(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    for end in ("revoked_at", "expires_at"):
        text = make_key(acme, end)
        assert ask(HELLO, key=text).status == 200
        ApiKey.objects.filter(name=end).update(**{end: now()})
        for path in ("/api/ai/request", "/api/ai/quote"):
            assert ask(HELLO, key=text, path=path).status == 401
        assert ask(key=text, method="GET", path="/api/ai/requests").status == 401


def test_key_of_removed_member_is_refused(
    ask: Asking, acme: Organization, member_user: User, make_key: Callable[..., str]
) -> None:
    text = make_key(acme, "owned", owner=member_user)
    assert ask(HELLO, key=text).status == 200
    Membership.objects.filter(user=member_user).delete()
    assert ask(HELLO, key=text).status == 401


def test_rows_have_keys_fixed_dimensions(
    ask: Asking, acme: Organization, make_key: Callable[..., str]
) -> None:
    fixed = {"team_id": "t", "project_id": "p", "app_id": "a", "client_id": "c"}
    text = make_key(acme, "fixed", **fixed)
    assert ask(HELLO | {"userId": "u", "teamId": "t"}, key=text).status == 200
    row = AiRequestLog.objects.get()
    assert {name: getattr(row, name) for name in fixed} == fixed
    assert row.user_id == "u"
    reply = ask(HELLO | {"teamId": "other"}, key=text)
    sentence = "teamId is fixed by the key and cannot be changed"
    assert reply.refusal == (403, "dimension_fixed_by_key", sentence)
    assert AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"]).team_id == "t"


# --- signed-in browsers -----------------------------------------------------------------------


def browser(user: User, **changes: Any) -> dict[str, str]:
    """Return the headers of the gateway's own page; None removes a header."""
    client = Client()
    client.force_login(user)
    session = client.cookies["sessionid"].value
    headers: dict[str, Any] = {
        "cookie": f"sessionid={session}; csrftoken={TOKEN}",
        "x-csrftoken": TOKEN,
        "origin": "http://testserver",
        "sec-fetch-site": "same-origin",
    } | changes
    return {name: value for name, value in headers.items() if value is not None}


def test_browser_request_is_attributed_to_signed_in_user(
    ask_both: Asking, acme: Organization, member_user: User
) -> None:
    reply = ask_both(HELLO, key="", headers=browser(member_user))
    assert reply.status == 200
    row = AiRequestLog.objects.get()
    assert (row.org_id, row.user_id) == (acme.id, str(member_user.pk))
    assert (row.channel, row.key_id) == ("browser", None)
    reply = ask_both(HELLO | {"userId": "x"}, key="", headers=browser(member_user))
    sentence = "userId is fixed for this caller and cannot be changed"
    assert reply.refusal == (403, "dimension_fixed_by_key", sentence)


def test_browser_needs_csrf_token_and_same_origin(ask_both: Asking, member_user: User) -> None:
    sentence = "Browser requests must have a CSRF token and the gateway's own origin"
    for changes in (
        {"x-csrftoken": None},
        {"x-csrftoken": "u" * 32},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        reply = ask_both(HELLO, key="", headers=browser(member_user, **changes))
        assert reply.refusal == (401, "unauthenticated", sentence)
    assert not AiRequestLog.objects.exists()


def test_page_of_other_organization_sends_nothing(
    ask_both: Asking, acme: Organization, globex: Organization, member_user: User
) -> None:
    headers = browser(member_user)
    reply = ask_both(HELLO, key="", headers=headers | {"x-pulse-organization": str(globex.pk)})
    sentence = "x-pulse-organization must be the session's active organization"
    assert reply.refusal == (400, "ambiguous_credentials", sentence)
    assert not AiRequestLog.objects.exists()
    reply = ask_both(HELLO, key="", headers=headers | {"x-pulse-organization": str(acme.pk)})
    assert reply.status == 200


def test_row_says_whether_user_was_proved(
    ask: Asking, acme: Organization, member_user: User, make_key: Callable[..., str]
) -> None:
    owned = make_key(acme, "owned", owner=member_user)
    asked = (
        (ask(HELLO | {"userId": str(member_user.pk)}), False),
        (ask(HELLO), None),
        (ask(HELLO, key=owned), True),
        (ask(HELLO, key="", headers=browser(member_user)), True),
        (ask(HELLO | {"userId": "x", "nonsense": 1}), None),
    )
    for reply, is_proved in asked:
        request_id = reply.headers["x-pulse-request-id"]
        assert AiRequestLog.objects.get(id=request_id).user_proved is is_proved
        detail = ask(path=f"/api/ai/requests/{request_id}", method="GET").json["request"]
        assert detail["userProved"] is is_proved


def test_browser_body_must_be_json(ask_both: Asking, member_user: User) -> None:
    token = f"csrfmiddlewaretoken={TOKEN}".encode()
    for content_type, body in (
        ("text/plain", BODY),
        ("application/x-www-form-urlencoded", token),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 2000)),
        ("multipart/form-data", BODY),
        ("multipart/form-data; boundary=x", b"junk"),
    ):
        headers = browser(member_user) | {"content-type": content_type}
        reply = ask_both(body, key="", headers=headers)
        assert reply.refusal == (
            415,
            "unsupported_media_type",
            "Content-Type must be application/json",
        )


def test_read_requests_need_no_csrf_token(
    ask_both: Asking, member_user: User, auditor_user: User
) -> None:
    for user in (member_user, auditor_user):
        headers = browser(user, **{"x-csrftoken": None, "origin": None})
        assert (
            ask_both(method="GET", path="/api/ai/requests", key="", headers=headers).status == 200
        )


def test_auditor_cannot_send_and_leaves_row(ask_both: Asking, auditor_user: User) -> None:
    for path in ("/api/ai/request", "/api/ai/quote"):
        reply = ask_both(HELLO, key="", path=path, headers=browser(auditor_user))
        sentence = "Auditors can view everything but cannot send requests"
        assert reply.refusal == (403, "role_not_allowed", sentence)
        assert "x-pulse-request-id" in reply.headers
    row = AiRequestLog.objects.get()
    assert (row.code, row.user_id) == ("role_not_allowed", str(auditor_user.pk))


def test_session_is_valid_only_for_active_member(
    ask: Asking, member_user: User, stranger: User
) -> None:
    theirs = ask(HELLO, key="", headers=browser(stranger))
    assert theirs.status == 200
    headers = browser(member_user)
    ended = browser(member_user)
    SessionStore(ended["cookie"].split(";")[0].removeprefix("sessionid=")).delete()
    assert ask(HELLO, key="", headers=ended).status == 401
    member_user.set_password("another one")
    member_user.save()
    assert ask(HELLO, key="", headers=headers).status == 401
    headers = browser(member_user)
    Membership.objects.filter(user=member_user).delete()
    assert ask(HELLO, key="", headers=headers).status == 401
    assert AiRequestLog.objects.get().org_id == stranger.memberships.get().org_id


def test_unknown_sessions_of_one_address_leave_threads_to_others(
    gateway: Gateway, member_user: User
) -> None:
    may_end = threading.Event()

    def hold(execute: Callable[..., Any], sql: str, values: Any, many: bool, context: Any) -> Any:
        if UNKNOWN in (values or ()):
            may_end.wait(120)
        return execute(sql, values, many, context)

    def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
        connection.execute_wrappers.append(hold)

    def calling(address: str, session: str) -> asyncio.Task[Principal]:
        request = RequestFactory(REMOTE_ADDR=address).get("/api/ai/requests")
        request.COOKIES["sessionid"] = session
        return asyncio.create_task(
            authenticate(gateway, request, channel="api", needs=Permission.READ)
        )

    async def visited(session: str) -> tuple[Principal, list[Any]]:
        strangers = [calling("192.0.2.1", UNKNOWN) for _ in range(8)]
        await asyncio.sleep(0.2)  # they have the threads that they get
        try:
            principal = await asyncio.wait_for(calling("192.0.2.2", session), 120)
        finally:
            may_end.set()
        return principal, await asyncio.gather(*strangers, return_exceptions=True)

    member = Client()
    member.force_login(member_user)
    connection_created.connect(watch)
    try:
        principal, refusals = asyncio.run(visited(member.cookies["sessionid"].value))
    finally:
        connection_created.disconnect(watch)
    assert principal.fixed.user_id == str(member_user.pk)
    assert {refusal.status for refusal in refusals} == {401}
