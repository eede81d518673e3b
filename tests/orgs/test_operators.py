"""Django admin for users, organizations and keys."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from orgs.keys import operations
from orgs.models import ApiKey, Membership, Organization, User
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
    return client


def listing(model: str) -> str:
    return reverse(f"admin:orgs_{model}_changelist")


def act(client: Client, model: str, action: str, row: ApiKey | Membership) -> str:
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


def test_operator_creates_organizations_and_memberships(
    operator: Client, member_user: User
) -> None:
    data = {"name": "New", "slug": "new", "timezone": "UTC", "on_disconnect": "close"}
    assert operator.post(reverse("admin:orgs_organization_add"), data).status_code == 302
    org = Organization.objects.get(slug="new")
    assert org.ai_gateway_enabled is False
    membership = {"org": str(org.pk), "user": str(member_user.pk), "role": "admin"}
    assert operator.post(reverse("admin:orgs_membership_add"), membership).status_code == 302
    assert org.memberships.get().role == "admin"


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
