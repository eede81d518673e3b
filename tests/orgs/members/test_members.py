"""Adding members, changing their roles, removing them."""

from __future__ import annotations

import pytest

from orgs.core.errors import Conflict, Invalid, Missing
from orgs.keys import operations as keys_operations
from orgs.members import operations as members_operations
from orgs.models import ApiKey, Membership, Organization, User
from tests.factories import PASSWORD, MembershipFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def membership_of(user: User) -> Membership:
    return Membership.objects.get(user=user)


def test_operator_creates_member_with_password(acme: Organization) -> None:
    made = members_operations.create_member(
        org=acme, email=" New@Acme.example ", role="admin", password=PASSWORD
    )
    assert (made.user.email, made.role) == ("new@acme.example", "admin")
    assert made.user.check_password(PASSWORD)
    assert made.user.email_confirmed_at is not None


@pytest.mark.parametrize(
    ("email", "role", "password", "field"),
    [
        ("not an address", "member", PASSWORD, "email"),
        ("a" * 250 + "@b.example", "member", PASSWORD, "email"),
        ("new@acme.example", "owner", PASSWORD, "role"),
        ("new@acme.example", "member", "short", "password"),
        ("new@acme.example", "member", "new@acme.example", "password"),
    ],
)
def test_invalid_value_creates_no_account(
    acme: Organization, email: str, role: str, password: str, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        members_operations.create_member(org=acme, email=email, role=role, password=password)
    assert refusal.value.field == field
    assert not User.objects.exists()


@pytest.mark.parametrize("who", ["member_user", "stranger"])
def test_existing_account_is_not_created_again(
    request: pytest.FixtureRequest, acme: Organization, who: str
) -> None:
    user: User = request.getfixturevalue(who)
    before = acme.memberships.count()
    with pytest.raises(Conflict, match="already has an account"):
        members_operations.create_member(
            org=acme, email=user.email, role="admin", password="taken over 1234"
        )
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert acme.memberships.count() == before


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
