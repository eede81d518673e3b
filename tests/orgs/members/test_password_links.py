"""Links by which a member who lost the password sets another one, and whose account they open."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils.timezone import now

from orgs.core.errors import Conflict
from orgs.members import invitations
from orgs.members import operations as members_operations
from orgs.models import Membership, Organization, User
from tests.cast import CLIENTS
from tests.factories import PASSWORD, MembershipFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

NEW_PASSWORD = "what the member chose"
SETTINGS = "/settings/organization"


def set_password(client: Client, path: str, password: str = NEW_PASSWORD) -> Any:
    return client.post(path, {"new_password1": password, "new_password2": password})


def membership_of(user: User) -> Membership:
    return Membership.objects.get(user=user)


def link_of(user: User) -> str:
    return invitations.link_for_member(membership=membership_of(user)).path


def has_password(user: User, password: str) -> bool:
    return User.objects.get(pk=user.pk).check_password(password)


def test_admin_gives_link_that_sets_another_password(
    client_for: CLIENTS, admin_user: User, member_user: User
) -> None:
    before = client_for(member_user)
    admin = client_for(admin_user)
    place = f"{SETTINGS}/members/{membership_of(member_user).pk}/link"
    assert place in admin.get(SETTINGS).content.decode()
    page = admin.post(place).content.decode()
    assert "can set the password of this account" in page
    found = re.search(r"http://testserver(/welcome/[^<]+)", page)
    assert found is not None
    assert before.get(SETTINGS).status_code == 200
    client = Client()
    assert "Set a new password" in client.get(found[1]).content.decode()
    assert set_password(client, found[1]).status_code == 302
    assert "Your password is changed." in client.get(SETTINGS).content.decode()
    assert before.get(SETTINGS).status_code == 302
    assert has_password(member_user, NEW_PASSWORD)
    assert membership_of(member_user).role == "member"
    assert client.get(found[1]).status_code == 410


def test_own_link_is_refused(client_for: CLIENTS, admin_user: User) -> None:
    place = f"{SETTINGS}/members/{membership_of(admin_user).pk}/link"
    admin = client_for(admin_user)
    assert place not in admin.get(SETTINGS).content.decode()
    assert "on your profile page" in admin.post(place, follow=True).content.decode()


@pytest.mark.parametrize("standing", ["is_staff", "is_superuser"])
def test_operators_account_has_no_link(member_user: User, standing: str) -> None:
    User.objects.filter(pk=member_user.pk).update(**{standing: True})
    with pytest.raises(Conflict, match="ask an operator"):
        link_of(member_user)


def test_member_of_two_organizations_has_no_link(member_user: User, globex: Organization) -> None:
    path = link_of(member_user)
    there = MembershipFactory.create(org=globex, user=member_user)
    for membership in (Membership.objects.get(user=member_user, org__slug="acme"), there):
        with pytest.raises(Conflict, match=r"manage\.py changepassword"):
            invitations.link_for_member(membership=membership)
    client = Client()
    assert "new_password1" not in client.get(path).content.decode()
    set_password(client, path)
    assert has_password(member_user, PASSWORD)


def test_link_does_not_open_account_that_joined_another_organization_meanwhile(
    member_user: User, globex: Organization
) -> None:
    opened = invitations.link_for_member(membership=membership_of(member_user)).invitation
    theirs = invitations.invite(org=globex, email=member_user.email, role="admin").invitation
    invitations.accept_signed_in(invitation=theirs, user=member_user)
    with pytest.raises(Conflict, match="sign in to accept"):
        invitations.accept_with_password(invitation=opened, password=NEW_PASSWORD)
    assert has_password(member_user, PASSWORD)


def test_account_made_operator_meanwhile_is_not_opened(member_user: User) -> None:
    path = link_of(member_user)
    User.objects.filter(pk=member_user.pk).update(is_staff=True)
    set_password(Client(), path)
    assert has_password(member_user, PASSWORD)


def test_deactivated_member_has_no_link(member_user: User) -> None:
    path = link_of(member_user)
    User.objects.filter(pk=member_user.pk).update(is_active=False)
    assert Client().get(path).status_code == 410
    with pytest.raises(Conflict, match="deactivated"):
        link_of(member_user)


def test_changed_password_ends_link(client_for: CLIENTS, member_user: User) -> None:
    path = link_of(member_user)
    both = dict.fromkeys(("new_password1", "new_password2"), NEW_PASSWORD)
    changed = client_for(member_user).post(
        "/settings/profile/password", both | {"old_password": PASSWORD}
    )
    assert changed.status_code == 302
    assert Client().get(path).status_code == 410
    assert set_password(Client(), path, "taken over 1234").status_code == 410
    assert has_password(member_user, NEW_PASSWORD)


def test_removal_ends_link(member_user: User, admin_user: User) -> None:
    path = link_of(member_user)
    members_operations.remove_member(membership=membership_of(member_user))
    assert set_password(Client(), path).status_code == 410
    assert has_password(member_user, PASSWORD)


def test_newer_link_ends_older_one(member_user: User) -> None:
    older, newer = link_of(member_user), link_of(member_user)
    assert [Client().get(path).status_code for path in (older, newer)] == [410, 200]


def test_address_is_unconfirmed_after_link(member_user: User) -> None:
    User.objects.filter(pk=member_user.pk).update(email_confirmed_at=now())
    set_password(Client(), link_of(member_user))
    assert has_password(member_user, NEW_PASSWORD)
    assert User.objects.get(pk=member_user.pk).email_confirmed_at is None


def test_admin_who_reset_password_is_out_once_member_sets_another(member_user: User) -> None:
    taken = Client()
    set_password(taken, link_of(member_user), "what the admin chose")
    assert taken.get(SETTINGS).status_code == 200
    set_password(Client(), link_of(member_user))
    assert taken.get(SETTINGS).status_code == 302
    assert not has_password(member_user, "what the admin chose")


def test_foreign_admin_gives_no_link(
    client_for: CLIENTS, stranger: User, member_user: User
) -> None:
    place = f"{SETTINGS}/members/{membership_of(member_user).pk}/link"
    assert client_for(stranger).post(place).status_code == 404
