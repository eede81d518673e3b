"""Sign-in and sign-out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.timezone import now

from orgs.auth import devices, throttle
from orgs.models import SignInCounter, User
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
    assert not SignInCounter.objects.exists()


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


def guess(client: Client, email: str, *, n: int) -> list[int]:
    return [post(client, email, "a guess").status_code for _ in range(n)]


def at(address: str) -> Client:
    return Client(REMOTE_ADDR=address)


def fill(email: str, address: str, *, n: int) -> None:
    """Fail without the work of a request."""
    for _ in range(n):
        throttle.begin_sign_in(email=email, address=address, device_id=None, moment=now())


def let_window_end() -> None:
    SignInCounter.objects.update(ends_at=now() - timedelta(seconds=1))


def test_eleventh_guess_from_one_address_is_throttled(client: Client, member_user: User) -> None:
    most = throttle.FAILURES_PER_ADDRESS_AND_ACCOUNT
    assert guess(client, member_user.email, n=most) == [200] * most
    answer = post(client, member_user.email, PASSWORD)
    assert answer.status_code == 429
    assert answer["Retry-After"] == "900"
    assert "Too many failed sign-in attempts" in answer.content.decode()
    assert not is_signed_in(client)


def test_unknown_email_is_throttled_equally(client: Client) -> None:
    assert guess(client, "unknown@acme.example", n=11) == [200] * 10 + [429]


def test_others_can_still_sign_in(client: Client, member_user: User, admin_user: User) -> None:
    guess(client, member_user.email, n=11)
    assert post(client, admin_user.email, PASSWORD).status_code == 302


def test_guesses_from_one_address_do_not_lock_owner_out(member_user: User) -> None:
    fill(member_user.email, "192.0.2.1", n=throttle.FAILURES_PER_ACCOUNT + 1)
    assert post(at("198.51.100.1"), member_user.email, PASSWORD).status_code == 302


def test_guesses_for_one_account_from_many_addresses_are_throttled(member_user: User) -> None:
    addresses = [f"192.0.2.{n}" for n in range(throttle.FAILURES_PER_ACCOUNT)]
    assert {guess(at(address), member_user.email, n=1)[0] for address in addresses} == {200}
    assert post(at("198.51.100.1"), member_user.email, PASSWORD).status_code == 429


def test_one_network_address_is_throttled_across_emails(client: Client, member_user: User) -> None:
    for n in range(throttle.FAILURES_PER_ADDRESS):
        assert post(client, f"person{n}@acme.example", "a guess").status_code == 200
    assert post(client, member_user.email, PASSWORD).status_code == 429
    assert post(at("192.0.2.7"), member_user.email, PASSWORD).status_code == 302


def test_throttling_ends(client: Client, member_user: User) -> None:
    guess(client, member_user.email, n=10)
    let_window_end()
    assert post(client, member_user.email, PASSWORD).status_code == 302
    assert not SignInCounter.objects.exclude(who__startswith="address:").exists()


def test_throttled_attempts_do_not_count(client: Client, member_user: User) -> None:
    guess(client, member_user.email, n=15)
    counts = SignInCounter.objects.exclude(who__startswith="history:")
    assert sorted(counts.values_list("failures", flat=True)) == [10, 10, 10]


def test_success_resets_account_but_not_network_address(client: Client, member_user: User) -> None:
    guess(client, member_user.email, n=9)
    assert post(client, member_user.email, PASSWORD).status_code == 302
    [left] = SignInCounter.objects.exclude(who__startswith="history:")
    assert (left.who.partition(":")[0], left.failures) == ("address", 9)


def test_counts_are_named_by_few_digits_of_hmac(client: Client, member_user: User) -> None:
    guess(client, member_user.email, n=1)
    kept = SignInCounter.objects.values_list("who", flat=True)
    assert {len(who.partition(":")[2]) for who in kept} == {throttle.DIGITS}
    assert {who.partition(":")[0] for who in kept} == {"address", "both", "account", "history"}


def test_counts_that_are_over_are_deleted(client: Client) -> None:
    for n in range(5):
        guess(at(f"192.0.2.{n}"), f"person{n}@acme.example", n=1)
    let_window_end()
    guess(client, "other@acme.example", n=1)
    assert SignInCounter.objects.count() == 4


# --- known devices --------------------------------------------------------------------------


def returning(user: User, *, cookies_of: Client) -> Client:
    """The browser that signed in before, signed out."""
    post(cookies_of, user.email, PASSWORD)
    cookies_of.post("/logout")
    return cookies_of


def lock_out(user: User, *, address: str = "127.0.0.1") -> None:
    """Fail at the address until it is full, and from others until the account is."""
    for n in range(3):
        fill(user.email, f"192.0.2.{n}", n=10)
    for n in range(30):
        fill(f"person{n}@acme.example", address, n=1)
    assert post(at("198.51.100.1"), user.email, PASSWORD).status_code == 429


def test_known_device_signs_in_while_account_and_address_are_full(member_user: User) -> None:
    device = returning(member_user, cookies_of=Client())
    lock_out(member_user)
    assert post(Client(), member_user.email, PASSWORD).status_code == 429
    assert post(device, member_user.email, PASSWORD).status_code == 302


def test_known_device_has_limit_of_its_own(client: Client, member_user: User) -> None:
    device = returning(member_user, cookies_of=client)
    assert guess(device, member_user.email, n=11) == [200] * 10 + [429]
    assert post(Client(), member_user.email, PASSWORD).status_code == 302


def test_device_is_known_for_its_account_only(
    client: Client, member_user: User, admin_user: User
) -> None:
    device = returning(member_user, cookies_of=client)
    lock_out(admin_user)
    assert post(device, admin_user.email, PASSWORD).status_code == 429


@pytest.mark.parametrize("forged", ["", "x", "W10:1vK:abc", "\xff", "a" * 5000])
def test_forged_device_is_unknown(client: Client, member_user: User, forged: str) -> None:
    lock_out(member_user)
    client.cookies["pulse_device"] = forged
    assert post(client, member_user.email, PASSWORD).status_code == 429


def test_new_password_makes_devices_unknown(client: Client, member_user: User) -> None:
    device = returning(member_user, cookies_of=client)
    member_user.set_password(PASSWORD)
    member_user.save()
    lock_out(member_user)
    assert post(device, member_user.email, PASSWORD).status_code == 429


def test_device_cookie_is_hidden_and_bounded(client: Client) -> None:
    people = UserFactory.create_batch(devices.ACCOUNTS_MAX + 2)
    for person in people:
        returning(person, cookies_of=client)
    cookie = client.cookies["pulse_device"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert len(cookie.value) < 400
    known = [returning_is_known(client, person) for person in people]
    assert known == [False] * 2 + [True] * devices.ACCOUNTS_MAX


def returning_is_known(client: Client, person: User) -> bool:
    request = RequestFactory().get("/login")
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    return devices.known_device(request, person) is not None
