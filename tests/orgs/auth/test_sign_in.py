"""Sign-in and sign-out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from orgs.auth import throttle
from orgs.models import SignInFailure, User
from tests.factories import PASSWORD, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

WRONG = "Incorrect email address or password."


def post(client: Client, email: str, password: str, **more: str) -> Any:
    return client.post("/login", {"email": email, "password": password} | more)


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_sign_in_page_has_email_and_password(client: Client) -> None:
    page = client.get("/login").content.decode()
    assert ">Email</label>" in page
    assert ">Password</label>" in page
    assert ">Sign in</button>" in page


def test_user_signs_in(client: Client, member_user: User) -> None:
    answer = post(client, member_user.email.upper(), PASSWORD)
    assert (answer.status_code, answer["Location"]) == (302, reverse("requests"))
    assert is_signed_in(client)


@pytest.mark.parametrize("start", ["/", "/login"])
def test_signed_in_user_is_redirected_to_requests(
    client: Client, member_user: User, start: str
) -> None:
    client.force_login(member_user)
    assert client.get(start)["Location"] == reverse("requests")


def test_anonymous_is_redirected_to_sign_in(client: Client) -> None:
    assert client.get("/")["Location"] == "/login"
    assert client.get("/settings/organization")["Location"] == (
        "/login?next=/settings/organization"
    )


def test_answer_does_not_reveal_accounts(client: Client, member_user: User) -> None:
    gone = UserFactory.create(is_active=False)
    invited = User.objects.create_user("invited@acme.example")
    emails = [member_user.email, gone.email, invited.email, "unknown@acme.example"]
    pages = []
    for email in emails:
        password = PASSWORD if email == gone.email else "not the password"
        answer = post(Client(), email, password)
        assert answer.status_code == 200
        page = answer.content.decode()
        assert WRONG in page
        pages.append(page.replace(email, ""))
    assert len({page.split("<h1>")[1].split("csrfmiddlewaretoken")[0] for page in pages}) == 1
    assert len({len(page) for page in pages}) == 1


def test_form_keeps_email_but_not_password(client: Client) -> None:
    page = post(client, "somebody@acme.example", "a wrong password").content.decode()
    assert "somebody@acme.example" in page
    assert "a wrong password" not in page


@pytest.mark.parametrize(
    ("email", "password"), [("", ""), ("no address", "x"), ("a@b.example", ""), ("a@b\x00", "\x00")]
)
def test_incomplete_form_shows_errors(client: Client, email: str, password: str) -> None:
    answer = post(client, email, password)
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not SignInFailure.objects.exists()


def test_sign_in_rotates_session(client: Client, member_user: User) -> None:
    session = client.session
    session["planted"] = "before"
    session.save()
    before = session.session_key
    post(client, member_user.email, PASSWORD)
    assert client.session.session_key != before


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/settings/organization", "/settings/organization"),
        ("https://evil.example/", None),
        ("//evil.example", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_next_url_must_be_on_this_site(
    client: Client, member_user: User, wanted: str, reached: str | None
) -> None:
    assert post(client, member_user.email, PASSWORD, next=wanted)["Location"] == (
        reached or reverse("requests")
    )


def test_sign_in_page_keeps_next_url(client: Client) -> None:
    assert (
        'value="/settings/organization"'
        in client.get("/login?next=/settings/organization").content.decode()
    )
    assert "evil" not in client.get("/login?next=//evil.example").content.decode()


def test_sign_out_requires_post(client: Client, member_user: User) -> None:
    client.force_login(member_user)
    assert client.get("/logout").status_code == 405
    assert is_signed_in(client)
    assert client.post("/logout")["Location"] == "/login"
    assert not is_signed_in(client)


def test_sign_out_keeps_next_url_on_this_site(client: Client, member_user: User) -> None:
    for wanted, reached in (("/welcome/x/y/", "/login?next=/welcome/x/y/"), ("//evil", "/login")):
        client.force_login(member_user)
        assert client.post("/logout", {"next": wanted})["Location"] == reached


def test_forms_require_csrf_token(member_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    assert post(client, member_user.email, PASSWORD).status_code == 403


# --- guessing -------------------------------------------------------------------------------


def test_eleventh_guess_for_one_email_is_throttled(client: Client, member_user: User) -> None:
    for _ in range(throttle.FAILURES_PER_EMAIL):
        assert post(client, member_user.email, "a guess").status_code == 200
    answer = post(client, member_user.email, PASSWORD)
    assert answer.status_code == 429
    assert answer["Retry-After"] == "900"
    assert "Too many failed sign-in attempts" in answer.content.decode()
    assert not is_signed_in(client)


def test_unknown_email_is_throttled_equally(client: Client) -> None:
    statuses = [post(client, "unknown@acme.example", "a guess").status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]


def test_others_can_still_sign_in(client: Client, member_user: User, admin_user: User) -> None:
    for _ in range(throttle.FAILURES_PER_EMAIL + 1):
        post(client, member_user.email, "a guess")
    assert post(client, admin_user.email, PASSWORD).status_code == 302


def test_one_network_address_is_throttled_across_emails(client: Client, member_user: User) -> None:
    for n in range(throttle.FAILURES_PER_ADDRESS):
        assert post(client, f"person{n}@acme.example", "a guess").status_code == 200
    assert post(client, member_user.email, PASSWORD).status_code == 429
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert post(elsewhere, member_user.email, PASSWORD).status_code == 302


def test_throttling_ends(client: Client, member_user: User) -> None:
    for _ in range(throttle.FAILURES_PER_EMAIL):
        post(client, member_user.email, "a guess")
    SignInFailure.objects.update(failed_at=now() - throttle.WINDOW - timedelta(seconds=1))
    assert post(client, member_user.email, PASSWORD).status_code == 302
    assert not SignInFailure.objects.exists()


def test_throttled_attempts_do_not_extend_wait(client: Client, member_user: User) -> None:
    for _ in range(throttle.FAILURES_PER_EMAIL + 5):
        post(client, member_user.email, "a guess")
    assert SignInFailure.objects.count() == 2 * throttle.FAILURES_PER_EMAIL


def test_success_resets_email_but_not_network_address(client: Client, member_user: User) -> None:
    for _ in range(9):
        post(client, member_user.email, "a guess")
    assert post(client, member_user.email, PASSWORD).status_code == 302
    assert SignInFailure.objects.count() == 9


def test_failures_are_stored_as_hmac(client: Client, member_user: User) -> None:
    post(client, member_user.email, "a guess")
    kept = list(SignInFailure.objects.values_list("who", flat=True))
    assert len(kept) == 2
    assert all(len(who) == 64 for who in kept)
    assert all(member_user.email not in who and "127.0.0.1" not in who for who in kept)
