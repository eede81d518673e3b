"""Adding members, changing their roles, removing them."""

from __future__ import annotations

import pytest
from django.test import Client

from orgs.core.errors import Conflict, Invalid, Missing
from orgs.keys import operations as keys_operations
from orgs.members import operations as members_operations
from orgs.models import ApiKey, Membership, Organization, User
from tests.factories import PASSWORD, MembershipFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def membership_of(user: User) -> Membership:
    return Membership.objects.get(user=user)


def test_new_user_gets_account_and_link(acme: Organization) -> None:
    added = members_operations.add_member(org=acme, email=" New@Acme.example ", role="member")
    assert added.membership.user.email == "new@acme.example"
    assert not added.membership.user.has_usable_password()
    assert added.welcome_path is not None
    assert added.welcome_path.startswith("/welcome/")


def test_new_user_can_be_given_password(acme: Organization) -> None:
    added = members_operations.add_member(
        org=acme, email="new@acme.example", role="admin", password=PASSWORD
    )
    assert added.welcome_path is None
    assert added.membership.user.check_password(PASSWORD)


def test_existing_user_keeps_account(acme: Organization, stranger: User) -> None:
    added = members_operations.add_member(org=acme, email=stranger.email, role="auditor")
    assert added.membership.user == stranger
    assert added.welcome_path is None


@pytest.mark.parametrize(
    ("email", "role", "password", "field"),
    [
        ("not an address", "member", None, "email"),
        ("a" * 250 + "@b.example", "member", None, "email"),
        ("new@acme.example", "owner", None, "role"),
        ("new@acme.example", "member", "short", "password"),
        ("new@acme.example", "member", "new@acme.example", "password"),
    ],
)
def test_invalid_value_creates_no_account(
    acme: Organization, email: str, role: str, password: str | None, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        members_operations.add_member(org=acme, email=email, role=role, password=password)
    assert refusal.value.field == field
    assert not User.objects.exists()


def test_member_cannot_be_added_twice(acme: Organization, member_user: User) -> None:
    with pytest.raises(Conflict, match="is already a member"):
        members_operations.add_member(org=acme, email=member_user.email, role="admin")
    assert membership_of(member_user).role == "member"


def test_password_of_existing_account_cannot_be_set(acme: Organization, stranger: User) -> None:
    with pytest.raises(Conflict, match="already has an account"):
        members_operations.add_member(
            org=acme, email=stranger.email, role="member", password="taken over 1234"
        )
    stranger.refresh_from_db()
    assert stranger.check_password(PASSWORD)
    assert not acme.memberships.exists()


def test_deactivated_account_cannot_be_added(acme: Organization) -> None:
    gone = UserFactory.create(is_active=False)
    with pytest.raises(Conflict, match="deactivated"):
        members_operations.add_member(org=acme, email=gone.email, role="member")


def test_user_without_password_cannot_join_second_organization(
    acme: Organization, globex: Organization
) -> None:
    members_operations.add_member(org=globex, email="new@example.org", role="member")
    with pytest.raises(Conflict, match="has not set a password yet"):
        members_operations.add_member(org=acme, email="new@example.org", role="admin")


def test_new_link_can_be_created_until_password_is_set(acme: Organization) -> None:
    added = members_operations.add_member(org=acme, email="new@acme.example", role="member")
    path = members_operations.new_welcome_path(membership=added.membership)
    password = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    assert Client().post(path, password).status_code == 302
    membership = Membership.objects.get(pk=added.membership.pk)
    with pytest.raises(Conflict, match="has already set a password"):
        members_operations.new_welcome_path(membership=membership)


def test_role_can_be_changed(acme: Organization, admin_user: User, member_user: User) -> None:
    members_operations.change_role(membership=membership_of(member_user), role="auditor")
    assert membership_of(member_user).role == "auditor"
    with pytest.raises(Invalid):
        members_operations.change_role(membership=membership_of(member_user), role="king")


def test_last_admin_cannot_be_removed_or_demoted(admin_user: User, member_user: User) -> None:
    membership = membership_of(admin_user)
    with pytest.raises(Conflict, match="last admin"):
        members_operations.change_role(membership=membership, role="member")
    with pytest.raises(Conflict, match="last admin"):
        members_operations.remove_member(membership=membership)
    members_operations.change_role(membership=membership, role="admin")
    assert membership_of(admin_user).role == "admin"


def test_deactivated_admin_does_not_count(acme: Organization, admin_user: User) -> None:
    MembershipFactory.create(org=acme, role="admin", user__is_active=False)
    with pytest.raises(Conflict, match="last admin"):
        members_operations.remove_member(membership=membership_of(admin_user))


def test_admin_can_be_removed_if_another_remains(acme: Organization, admin_user: User) -> None:
    MembershipFactory.create(org=acme, role="admin")
    members_operations.remove_member(membership=membership_of(admin_user))
    assert not Membership.objects.filter(user=admin_user).exists()


def test_removal_revokes_keys_of_this_organization_only(
    acme: Organization, globex: Organization, admin_user: User, member_user: User
) -> None:
    MembershipFactory.create(org=globex, user=member_user)
    here, _ = keys_operations.create_key(org=acme, name="here", owner=member_user)
    there, _ = keys_operations.create_key(org=globex, name="there", owner=member_user)
    unowned, _ = keys_operations.create_key(org=acme, name="unowned")
    revoked_before, _ = keys_operations.create_key(org=acme, name="old", owner=member_user)
    keys_operations.revoke_key(key=revoked_before)

    membership = Membership.objects.get(org=acme, user=member_user)
    assert members_operations.remove_member(membership=membership) == 1

    revoked = ApiKey.objects.filter(revoked_at__isnull=False)
    assert set(revoked) == {here, revoked_before}
    assert there not in revoked
    assert unowned not in revoked


def test_removed_member_is_missing(admin_user: User, member_user: User) -> None:
    membership = membership_of(member_user)
    members_operations.remove_member(membership=membership_of(member_user))
    with pytest.raises(Missing):
        members_operations.remove_member(membership=membership)
    with pytest.raises(Missing):
        members_operations.change_role(membership=membership, role="admin")
