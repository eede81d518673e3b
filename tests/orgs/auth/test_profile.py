"""The page of the own account: another password, and the end of other sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from orgs.auth import throttle
from orgs.models import User
from tests.cast import CLIENTS
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db

NEW = "another long password"
PAGE = "/settings/profile"


def change(client: Client, old: str, new: str = NEW, again: str = NEW) -> Any:
    posted = {"old_password": old, "new_password1": new, "new_password2": again}
    return client.post(f"{PAGE}/password", posted)


def end(client: Client, password: str) -> Any:
    return client.post(f"{PAGE}/sessions", {"password": password})


def is_in(client: Client) -> bool:
    return client.get(PAGE).status_code == 200


def test_person_changes_password_and_ends_other_sessions(
    client_for: CLIENTS, member_user: User
) -> None:
    here, elsewhere = client_for(member_user), client_for(member_user)
    assert change(here, PASSWORD)["Location"] == PAGE
    assert "Your password is changed." in here.get(PAGE).content.decode()
    assert not is_in(elsewhere)
    assert elsewhere.get("/api/ai/requests").status_code == 401
    member_user.refresh_from_db()
    assert member_user.check_password(NEW)


def test_browser_keeps_no_message(client_for: CLIENTS, member_user: User) -> None:
    client = client_for(member_user)
    change(client, PASSWORD)
    names = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.DEVICE_COOKIE_NAME}
    assert set(client.cookies) <= names


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [("wrong", NEW, NEW), ("", NEW, NEW), (PASSWORD, NEW, "other"), (PASSWORD, "short", "short")],
)
def test_wrong_or_weak_password_changes_nothing(
    client_for: CLIENTS, member_user: User, old: str, new: str, again: str
) -> None:
    here, elsewhere = client_for(member_user), client_for(member_user)
    answer = change(here, old, new, again)
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    member_user.refresh_from_db()
    assert member_user.check_password(PASSWORD)
    assert is_in(elsewhere)


def test_other_sessions_end_and_password_stays(client_for: CLIENTS, member_user: User) -> None:
    here, elsewhere = client_for(member_user), client_for(member_user)
    assert "Incorrect password." in end(here, "wrong").content.decode()
    assert is_in(elsewhere)
    assert end(here, PASSWORD).status_code == 302
    assert (is_in(here), is_in(elsewhere)) == (True, False)
    member_user.refresh_from_db()
    assert member_user.check_password(PASSWORD)


@pytest.mark.parametrize("ask", [change, end])
def test_open_session_does_not_guess_password(
    client_for: CLIENTS, member_user: User, ask: Callable[..., Any]
) -> None:
    client = client_for(member_user)
    most = throttle.FAILURES_PER_SESSION
    assert {ask(client, "a guess").status_code for _ in range(most)} == {200}
    assert ask(client, PASSWORD).status_code == 429
    member_user.refresh_from_db()
    assert member_user.check_password(PASSWORD)


def test_person_without_organization_has_profile(client_for: CLIENTS, db: None) -> None:
    user = User.objects.create_user("alone@example.org", PASSWORD)
    assert is_in(client_for(user))


def test_profile_requires_sign_in(client: Client, db: None) -> None:
    assert client.get(PAGE)["Location"] == f"/login?next={PAGE}"
    assert change(client, PASSWORD).status_code == 302
