"""Django admin for users, organizations, members, invitations and keys."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from orgs.keys import operations
from orgs.members import invitations
from orgs.models import ApiKey, HistoryEvent, Invitation, Membership, Organization, User
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


def listing(model: str) -> str:
    return reverse(f"admin:orgs_{model}_changelist")


def act(client: Client, model: str, action: str, row: ApiKey | Membership | Invitation) -> str:
    data = {"action": action, "_selected_action": str(row.pk)}
    return client.post(listing(model), data, follow=True).content.decode()


def test_operators_use_console_sign_in_page(
    client: Client, admin_user: User, operator: Client
) -> None:
    answer = client.get("/admin/login/?next=/admin/orgs/user/")
    assert answer["Location"] == "/login?next=/admin/orgs/user/"
    assert client.get("/admin/")["Location"] == "/admin/login/?next=/admin/"
    assert client.post("/admin/login/", {"username": "x"}).status_code == 302
    assert operator.get("/admin/login/")["Location"] == "/admin/"
    client.force_login(admin_user)
    assert client.get("/admin/login/").status_code == 403


def test_operators_change_their_password_on_profile_page(operator: Client) -> None:
    assert operator.get("/admin/password_change/")["Location"] == "/settings/profile"
    assert operator.post("/admin/password_change/")["Location"] == "/settings/profile"


def test_organization_admin_has_no_operator_access(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)
    assert client.get(listing("user"), follow=True).status_code == 403


@pytest.mark.parametrize("model", ["user", "organization", "membership", "apikey"])
def test_rows_are_listed_and_searchable(
    operator: Client, acme: Organization, admin_user: User, model: str
) -> None:
    operations.create_key(org=acme, name="ci", owner=admin_user)
    answer = operator.get(listing(model), {"q": "acme"})
    assert answer.status_code == 200
    assert answer.context["cl"].result_count == 1


def test_operator_creates_users(operator: Client) -> None:
    data = {
        "email": "New@Acme.example",
        "usable_password": "true",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    answer = operator.post(reverse("admin:orgs_user_add"), data)
    assert answer.status_code == 302
    made = User.objects.get(email="new@acme.example")
    assert made.check_password(PASSWORD)
    assert (made.is_staff, made.is_superuser) == (False, False)
    assert made.email_confirmed_at is not None
    assert "already exists" in operator.post(reverse("admin:orgs_user_add"), data).content.decode()


def test_operator_changes_users(operator: Client, member_user: User) -> None:
    address = reverse("admin:orgs_user_change", args=[member_user.pk])
    page = operator.get(address).content.decode()
    assert member_user.password not in page
    data = {"email": "Renamed@Acme.example", "name": "Renamed"}
    assert operator.post(address, data).status_code == 302
    member_user.refresh_from_db()
    assert (member_user.email, member_user.is_active) == ("renamed@acme.example", False)
    password = reverse("admin:auth_user_password_change", args=[member_user.pk])
    assert operator.get(password).status_code == 200


def test_operator_creates_organizations(operator: Client) -> None:
    data = {"name": "New", "slug": "new", "timezone": "UTC", "on_disconnect": "close"}
    assert operator.post(reverse("admin:orgs_organization_add"), data).status_code == 302
    assert Organization.objects.get(slug="new").ai_gateway_enabled is False


def test_operator_invites_but_does_not_add_members(
    operator: Client, acme: Organization, member_user: User, stranger: User
) -> None:
    row = {"org": str(acme.pk), "user": str(stranger.pk), "role": "admin"}
    assert operator.post(reverse("admin:orgs_membership_add"), row).status_code == 403
    there = Membership.objects.get(user=stranger)
    move = reverse("admin:orgs_membership_change", args=[there.pk])
    assert operator.post(move, row).status_code == 403
    assert not acme.memberships.filter(user=stranger).exists()

    add = reverse("admin:orgs_invitation_add")
    row = {"org": str(acme.pk), "email": stranger.email.upper(), "role": "admin"}
    page = operator.post(add, row).content.decode()
    link = re.search(r"http://testserver(/welcome/[^<]+)", page)
    assert link is not None
    assert not acme.memberships.filter(user=stranger).exists()
    assert "already been invited" in operator.post(add, row).content.decode()
    row["email"] = member_user.email
    assert "is already a member" in operator.post(add, row).content.decode()
    client = Client()
    client.force_login(stranger)
    client.post(link[1])
    assert acme.memberships.get(user=stranger).role == "admin"


def test_operator_withdraws_invitations(operator: Client, acme: Organization) -> None:
    link = invitations.invite(org=acme, email="new@acme.example", role="admin")
    change = reverse("admin:orgs_invitation_change", args=[link.invitation.pk])
    assert link.invitation.link_digest not in operator.get(change).content.decode()
    assert operator.post(change, {"role": "member"}).status_code == 403
    assert "Done: 1 of 1" in act(operator, "invitation", "withdraw", link.invitation)
    assert Client().get(link.path).status_code == 410


# --- confirmed addresses ----------------------------------------------------------------------


def confirmed(user: User) -> bool:
    return User.objects.get(pk=user.pk).email_confirmed_at is not None


def change(user: User, **fields: str) -> dict[str, str]:
    return {"email": user.email, "name": user.name, "is_active": "on"} | fields


def test_password_set_by_operator_confirms_address_until_it_changes(
    operator: Client, member_user: User
) -> None:
    assert not confirmed(member_user)
    address = reverse("admin:auth_user_password_change", args=[member_user.pk])
    operator.post(address, {"password1": "another long password", "password2": "no match"})
    assert not confirmed(member_user)
    both = dict.fromkeys(("password1", "password2"), "another long password")
    assert operator.post(address, both).status_code == 302
    assert confirmed(member_user)
    page = reverse("admin:orgs_user_change", args=[member_user.pk])
    operator.post(page, change(member_user, name="Other"))
    assert confirmed(member_user)
    operator.post(page, change(member_user, email="other@acme.example"))
    assert User.objects.get(pk=member_user.pk).email == "other@acme.example"
    assert not confirmed(member_user)


def test_account_without_password_is_unconfirmed(operator: Client, member_user: User) -> None:
    User.objects.update(email_confirmed_at=now())
    address = reverse("admin:auth_user_password_change", args=[member_user.pk])
    disable = {"usable_password": "false", "unset-password": "yes"}
    assert operator.post(address, disable).status_code == 302
    assert not confirmed(member_user)
    data = {"email": "new@acme.example", "usable_password": "false"}
    assert operator.post(reverse("admin:orgs_user_add"), data).status_code == 302
    assert not confirmed(User.objects.get(email="new@acme.example"))


@pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
def test_unconfirmed_account_cannot_become_operator(
    operator: Client, member_user: User, right: str
) -> None:
    page = reverse("admin:orgs_user_change", args=[member_user.pk])
    answer = operator.post(page, change(member_user, **{right: "on"}))
    assert "Set a password for this account first" in answer.content.decode()
    assert not User.objects.get(pk=member_user.pk).is_protected
    User.objects.filter(pk=member_user.pk).update(email_confirmed_at=now())
    renamed = change(member_user, email="other@acme.example", **{right: "on"})
    assert operator.post(page, renamed).status_code == 200
    assert operator.post(page, change(member_user, **{right: "on"})).status_code == 302
    assert User.objects.get(pk=member_user.pk).is_protected


def test_operators_made_by_command_are_confirmed() -> None:
    made = User.objects.create_superuser("ops@example.org", PASSWORD)
    assert made.email_confirmed_at is not None


@pytest.mark.parametrize("model", ["user", "organization", "membership", "apikey"])
def test_rows_cannot_be_deleted(
    operator: Client, acme: Organization, admin_user: User, model: str
) -> None:
    key, _ = operations.create_key(org=acme, name="ci")
    rows = {
        "user": admin_user.pk,
        "organization": acme.pk,
        "membership": Membership.objects.get(user=admin_user).pk,
        "apikey": key.pk,
    }
    address = reverse(f"admin:orgs_{model}_delete", args=[rows[model]])
    assert operator.post(address, {"post": "yes"}).status_code == 403


def test_key_digest_is_hidden_and_key_is_read_only(operator: Client, acme: Organization) -> None:
    key, text = operations.create_key(org=acme, name="ci")
    address = reverse("admin:orgs_apikey_change", args=[key.pk])
    page = operator.get(address).content.decode()
    assert key.public in page
    assert "igest" not in page
    assert text.split("_")[2] not in page
    assert operator.post(address, {"name": "other"}).status_code == 403
    assert operator.get(reverse("admin:orgs_apikey_add")).status_code == 403


def test_operator_revokes_key(operator: Client, acme: Organization) -> None:
    key, _ = operations.create_key(org=acme, name="ci")
    assert "Done: 1 of 1" in act(operator, "apikey", "revoke", key)
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_operator_removes_members_by_same_rules(
    operator: Client, acme: Organization, admin_user: User, member_user: User
) -> None:
    key, _ = operations.create_key(org=acme, name="ci", owner=member_user)
    page = act(operator, "membership", "remove", Membership.objects.get(user=admin_user))
    assert "is the last admin" in page
    promoted = Membership.objects.get(user=member_user)
    assert "Done: 1 of 1" in act(operator, "membership", "make_admin", promoted)
    promoted.refresh_from_db()
    assert promoted.role == "admin"
    act(operator, "membership", "make_auditor", promoted)
    act(operator, "membership", "make_member", promoted)
    assert "Done: 1 of 1" in act(operator, "membership", "remove", promoted)
    key.refresh_from_db()
    assert key.revoked_at is not None


@pytest.mark.parametrize("may_look", [False, True])
def test_operator_without_change_permission_changes_nothing(
    acme: Organization, member_user: User, may_look: bool
) -> None:
    key, _ = operations.create_key(org=acme, name="ci", owner=member_user)
    membership = Membership.objects.get(user=member_user)
    looker = UserFactory.create(is_staff=True)
    if may_look:
        looker.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(looker)
    assert client.get(listing("apikey")).status_code == (200 if may_look else 403)
    act(client, "apikey", "revoke", key)
    for action in ("make_admin", "remove"):
        act(client, "membership", action, membership)
    key.refresh_from_db()
    membership.refresh_from_db()
    assert (key.revoked_at, membership.role) == (None, "member")


# --- staff who are no superusers --------------------------------------------------------------


@pytest.fixture
def staff(db: None) -> User:
    """An operator who has every permission, but is no superuser."""
    user = UserFactory.create(is_staff=True, email_confirmed_at=now())
    user.user_permissions.set(Permission.objects.all())
    return user


def test_staff_give_no_rights(staff: User, member_user: User) -> None:
    User.objects.update(email_confirmed_at=now())
    client = Client()
    client.force_login(staff)
    for user in (staff, member_user):
        rights = {"is_superuser": "on", "is_staff": "on", "user_permissions": "1"}
        client.post(
            reverse("admin:orgs_user_change", args=[user.pk]),
            change(user, name="Renamed", **rights),
        )
    member_user.refresh_from_db()
    assert (member_user.name, member_user.is_protected) == ("Renamed", False)
    assert not member_user.user_permissions.exists()
    assert not User.objects.filter(is_superuser=True).exists()


@pytest.mark.parametrize("standing", ["is_staff", "is_superuser"])
def test_staff_do_not_change_operators(staff: User, standing: str) -> None:
    other = UserFactory.create(**{standing: True})
    client = Client()
    client.force_login(staff)
    password = dict.fromkeys(("password1", "password2"), "another long password")
    for page in ("admin:orgs_user_change", "admin:auth_user_password_change"):
        posted = change(other, name="Renamed") | password
        assert client.post(reverse(page, args=[other.pk]), posted).status_code == 403
    other.refresh_from_db()
    assert other.name != "Renamed"
    assert other.check_password(PASSWORD)


def test_staff_do_not_change_groups(staff: User) -> None:
    group = Group.objects.create(name="staff")
    client = Client()
    client.force_login(staff)
    pages = [reverse("admin:auth_group_add"), reverse("admin:auth_group_change", args=[group.pk])]
    assert {client.post(page, {"name": "x"}).status_code for page in pages} == {403}


def test_rights_given_by_superuser_are_recorded(operator: Client, member_user: User) -> None:
    User.objects.filter(pk=member_user.pk).update(email_confirmed_at=now())
    page = reverse("admin:orgs_user_change", args=[member_user.pk])
    operator.post(page, change(member_user, is_staff="on"))
    row = HistoryEvent.objects.get(event="user_changed")
    assert (row.before, row.after) == ({"is_staff": False}, {"is_staff": True})
