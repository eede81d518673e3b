"""Invitations: their links, and the page on which people accept or decline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now
from pytest_django import Settings

from orgs.core.errors import Conflict, Invalid, Missing
from orgs.members import invitations, reports
from orgs.members import operations as members_operations
from orgs.members.invitations import NewLink
from orgs.models import Invitation, Membership, Organization, User
from tests.cast import CLIENTS
from tests.factories import PASSWORD, MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db

NEW = "new@acme.example"


def set_password(client: Client, path: str, password: str = PASSWORD) -> Any:
    return client.post(path, {"new_password1": password, "new_password2": password})


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


@pytest.fixture
def link(acme: Organization, admin_user: User) -> NewLink:
    return invitations.invite(
        org=acme, email=f" {NEW.title()} ", role="auditor", invited_by=admin_user
    )


# --- inviting -------------------------------------------------------------------------------


def test_invitation_creates_no_account(link: NewLink) -> None:
    assert link.path.startswith(f"/welcome/{link.invitation.pk}/")
    assert (link.invitation.email, link.invitation.role) == (NEW, "auditor")
    assert not User.objects.filter(email=NEW).exists()


def test_secret_is_stored_only_as_hash(link: NewLink) -> None:
    secret = link.path.split("/")[3]
    assert len(secret) >= 43
    assert all(secret not in str(value) for value in Invitation.objects.values().get().values())


@pytest.mark.parametrize(
    ("email", "role", "field"),
    [
        ("not an address", "member", "email"),
        ("a" * 250 + "@b.example", "member", "email"),
        (NEW, "owner", "role"),
    ],
)
def test_invalid_invitation_is_refused(
    acme: Organization, email: str, role: str, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        invitations.invite(org=acme, email=email, role=role)
    assert refusal.value.field == field
    assert not Invitation.objects.exists()


def test_members_invited_and_deactivated_people_cannot_be_invited(
    acme: Organization, member_user: User, link: NewLink
) -> None:
    gone = UserFactory.create(is_active=False)
    for email, reason in (
        (member_user.email.upper(), "already a member"),
        (NEW, "already been invited"),
        (gone.email, "deactivated"),
    ):
        with pytest.raises(Conflict, match=reason):
            invitations.invite(org=acme, email=email, role="admin")


def test_members_are_listed_with_invitations(
    acme: Organization, admin_user: User, link: NewLink, settings: Settings
) -> None:
    made = members_operations.create_member(
        org=acme, email="b@acme.example", role="member", password=PASSWORD
    )
    shown = [
        (row.email, row.has_accepted, row.is_active, row.is_confirmed, row.link_has_expired)
        for row in reports.members(acme, moment=now())
    ]
    assert shown == [
        (admin_user.email, True, True, False, False),
        (made.user.email, True, True, True, False),
        (NEW, False, False, False, False),
    ]
    later = now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
    assert reports.members(acme, moment=later)[-1].link_has_expired


# --- a link ---------------------------------------------------------------------------------


def test_link_sets_first_password_once(client: Client, acme: Organization, link: NewLink) -> None:
    page = client.get(link.path)
    text = page.content.decode()
    for shown in (NEW, "Acme", "Auditor", "admin@acme.example"):
        assert shown in text
    assert "earlier password" not in text
    assert "no-store" in page["Cache-Control"]
    assert set_password(client, link.path)["Location"] == reverse("requests")
    assert is_signed_in(client)
    assert acme.memberships.get(user__email=NEW).role == "auditor"
    assert set_password(Client(), link.path, "x" * 20).status_code == 410
    assert User.objects.get(email=NEW).check_password(PASSWORD)


@pytest.mark.parametrize(
    ("first", "second"),
    [("short", "short"), (PASSWORD, PASSWORD + "!"), ("", ""), (NEW, NEW)],
)
def test_weak_password_shows_reason(client: Client, link: NewLink, first: str, second: str) -> None:
    answer = client.post(link.path, {"new_password1": first, "new_password2": second})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not is_signed_in(client)


def test_forged_link_is_rejected(client: Client, acme: Organization, link: NewLink) -> None:
    _, _, uid, token, _ = link.path.split("/")
    other = invitations.invite(org=acme, email="other@acme.example", role="admin")
    digest = link.invitation.link_digest
    for path in [
        f"/welcome/{uid}/{token}x/",
        f"/welcome/{uid}/{digest}/",
        f"/welcome/{uid}/%ff/",
        f"/welcome/{other.invitation.pk}/{token}/",
        f"/welcome/nonsense/{token}/",
        "/welcome/%00/%ff/",
    ]:
        assert client.get(path).status_code == 410
        assert set_password(client, path).status_code == 410
    assert not User.objects.filter(email=NEW).exists()


def _expire(link: NewLink) -> None:
    made_at = now() - timedelta(days=3, seconds=1)
    Invitation.objects.filter(pk=link.invitation.pk).update(link_created_at=made_at)


ENDS: dict[str, Callable[[NewLink], object]] = {
    "expired": _expire,
    "newer link": lambda link: invitations.renew_link(invitation=link.invitation),
    "another role": lambda link: invitations.renew_link(invitation=link.invitation, role="admin"),
    "withdrawn": lambda link: invitations.withdraw(invitation=link.invitation),
    "organization gone": lambda link: link.invitation.org.delete(),
    "deactivated": lambda link: UserFactory.create(email=NEW, is_active=False),
    "created with password": lambda link: members_operations.create_member(
        org=link.invitation.org, email=NEW, role="member", password="an operator's password"
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_ended_link_opens_nothing(client: Client, link: NewLink, end: str) -> None:
    assert client.get(link.path).status_code == 200
    ENDS[end](link)
    assert client.get(link.path).status_code == 410
    assert set_password(client, link.path).status_code == 410
    assert not is_signed_in(client)


def test_link_works_until_it_expires(client: Client, link: NewLink) -> None:
    made_at = now() - timedelta(days=3) + timedelta(minutes=1)
    Invitation.objects.update(link_created_at=made_at)
    assert set_password(client, link.path).status_code == 302


def test_new_link_has_role_given_with_it(link: NewLink) -> None:
    newer = invitations.renew_link(invitation=link.invitation, role="member")
    set_password(Client(), newer.path)
    assert Membership.objects.get(user__email=NEW).role == "member"
    with pytest.raises(Missing):
        invitations.renew_link(invitation=link.invitation)
    with pytest.raises(Missing):
        invitations.withdraw(invitation=link.invitation)


def test_page_left_open_cannot_use_replaced_link(link: NewLink, stranger: User) -> None:
    invitations.renew_link(invitation=link.invitation)
    with pytest.raises(Conflict, match="used or replaced"):
        invitations.accept_with_password(invitation=link.invitation, password=PASSWORD)
    with pytest.raises(Conflict, match="used or replaced"):
        invitations.accept_signed_in(invitation=link.invitation, user=stranger)


def test_invited_person_declines(client: Client, link: NewLink) -> None:
    answer = client.post(link.path, {"decline": "yes"})
    assert answer["Location"] == "/"
    assert not Invitation.objects.exists()
    assert not User.objects.filter(email=NEW).exists()
    assert client.get(link.path).status_code == 410


def test_link_requires_csrf_token(link: NewLink) -> None:
    assert set_password(Client(enforce_csrf_checks=True), link.path).status_code == 403


# --- an existing account --------------------------------------------------------------------


@pytest.fixture
def to_stranger(acme: Organization, stranger: User) -> NewLink:
    """A link for somebody who has an account in another organization."""
    return invitations.invite(org=acme, email=stranger.email, role="member")


def test_existing_account_accepts_signed_in(
    client_for: CLIENTS, acme: Organization, stranger: User, to_stranger: NewLink
) -> None:
    client = client_for(stranger)
    page = client.get(to_stranger.path).content.decode()
    assert ">Accept</button>" in page
    assert "an operator of this installation" in page
    assert not acme.memberships.exists()
    assert client.post(to_stranger.path)["Location"] == reverse("requests")
    assert acme.memberships.get().role == "member"
    shown = client.get("/settings/organization").content.decode()
    assert "You are now a member of Acme." in shown
    assert ">Acme</dd>" in shown
    assert client.post(to_stranger.path).status_code == 410


def test_existing_account_declines(
    client_for: CLIENTS, acme: Organization, stranger: User, to_stranger: NewLink
) -> None:
    client_for(stranger).post(to_stranger.path, {"decline": "yes"})
    assert not acme.memberships.exists()
    assert not Invitation.objects.exists()


def test_link_alone_does_not_open_existing_account(
    client: Client, acme: Organization, stranger: User, to_stranger: NewLink
) -> None:
    page = client.get(to_stranger.path).content.decode()
    assert f'href="/login?next={to_stranger.path}"' in page
    assert "new_password1" not in page
    for posted in ({}, {"decline": "yes"}, {"new_password1": "x" * 20, "new_password2": "x" * 20}):
        assert client.post(to_stranger.path, posted).status_code == 200
    stranger.refresh_from_db()
    assert stranger.check_password(PASSWORD)
    assert not is_signed_in(client)
    assert not acme.memberships.exists()
    assert Invitation.objects.exists()


def test_another_account_cannot_accept(
    client_for: CLIENTS, acme: Organization, admin_user: User, to_stranger: NewLink
) -> None:
    client = client_for(admin_user)
    page = client.get(to_stranger.path).content.decode()
    assert f"You are signed in as {admin_user.email}." in page
    assert "Sign out and continue" in page
    assert ">Accept</button>" not in page
    for posted in ({}, {"decline": "yes"}):
        assert client.post(to_stranger.path, posted).status_code == 200
    assert acme.memberships.count() == 1
    with pytest.raises(Conflict, match="can accept this invitation"):
        invitations.accept_signed_in(invitation=to_stranger.invitation, user=admin_user)


def test_password_of_account_of_another_organization_is_kept(
    acme: Organization, stranger: User, to_stranger: NewLink
) -> None:
    with pytest.raises(Conflict, match="sign in to accept"):
        invitations.accept_with_password(
            invitation=to_stranger.invitation, password="taken over 1234"
        )
    stranger.refresh_from_db()
    assert stranger.check_password(PASSWORD)


@pytest.mark.parametrize(
    "standing", [{"is_staff": True}, {"is_superuser": True}, {"email_confirmed_at": now()}]
)
def test_link_does_not_open_confirmed_and_operators_accounts(
    client: Client, acme: Organization, standing: dict[str, Any]
) -> None:
    UserFactory.create(email=NEW, **standing)
    path = invitations.invite(org=acme, email=NEW, role="member").path
    assert "already has an account" in client.get(path).content.decode()
    set_password(client, path, "taken over 1234")
    assert User.objects.get(email=NEW).check_password(PASSWORD)
    assert not is_signed_in(client)


def test_account_without_organization_cannot_accept_with_old_password(
    client_for: CLIENTS, acme: Organization
) -> None:
    user = UserFactory.create(email=NEW)
    link = invitations.invite(org=acme, email=NEW, role="member")
    with pytest.raises(Conflict, match="Set a new password"):
        invitations.accept_signed_in(invitation=link.invitation, user=user)
    page = client_for(user).get(link.path).content.decode()
    assert "new_password1" in page
    assert "replaces the earlier password" in page


# --- members from before, who have no password ------------------------------------------------


@pytest.fixture
def waiting(acme: Organization) -> Membership:
    """A member without a password, as older versions created them."""
    return MembershipFactory.create(org=acme, user__email=NEW, user__password="!", role="member")


def test_member_without_password_gets_link(client: Client, waiting: Membership) -> None:
    link = invitations.link_for_member(membership=waiting)
    assert [row.email for row in reports.members(waiting.org, moment=now())] == [NEW]
    set_password(client, link.path)
    assert Membership.objects.get() == waiting
    assert not Invitation.objects.exists()
    assert client.get(link.path).status_code == 410


def test_link_of_member_ends_when_operator_sets_password(
    client: Client, waiting: Membership
) -> None:
    link = invitations.link_for_member(membership=waiting)
    waiting.user.set_password(PASSWORD)
    waiting.user.save()
    set_password(client, link.path, "taken over 1234")
    waiting.user.refresh_from_db()
    assert waiting.user.check_password(PASSWORD)


def test_link_of_member_ends_with_membership(
    client: Client, admin_user: User, waiting: Membership
) -> None:
    link = invitations.link_for_member(membership=waiting)
    members_operations.remove_member(membership=waiting)
    assert client.get(link.path).status_code == 410
    with pytest.raises(Missing):
        invitations.link_for_member(membership=waiting)


def test_member_of_two_organizations_gets_no_link(
    globex: Organization, waiting: Membership
) -> None:
    MembershipFactory.create(org=globex, user=waiting.user)
    with pytest.raises(Conflict, match="ask an operator"):
        invitations.link_for_member(membership=waiting)
