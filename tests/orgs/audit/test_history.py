"""The history: who did what, from where, in rows that stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from orgs.audit import history
from orgs.auth import throttle
from orgs.core.errors import Conflict
from orgs.keys import operations as keys_operations
from orgs.members import invitations
from orgs.members import operations as members_operations
from orgs.models import HistoryEvent, Membership, Organization, User
from orgs.settings import operations as settings_operations
from tests.cast import CLIENTS
from tests.commands import output_of
from tests.factories import PASSWORD, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def events(*names: str) -> list[HistoryEvent]:
    rows = HistoryEvent.objects.order_by("id")
    return list(rows.filter(event__in=names) if names else rows)


def only() -> HistoryEvent:
    return HistoryEvent.objects.get()


def sign_in(client: Client, email: str, password: str) -> None:
    client.post("/login", {"email": email, "password": password})


# --- rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE history_event SET event = 'other'",
        "UPDATE history_event SET after = NULL",
        "DELETE FROM history_event",
    ],
)
def test_rows_are_never_changed_or_deleted(acme: Organization, statement: str) -> None:
    settings_operations.set_gateway(org=acme, enabled=not acme.ai_gateway_enabled)
    with (
        pytest.raises(DatabaseError, match="never changed or deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert only().event == "organization_changed"


@pytest.mark.postgres_only
def test_table_is_never_truncated(acme: Organization) -> None:
    with (
        pytest.raises(DatabaseError, match="never changed or deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("TRUNCATE history_event")


def test_event_is_kept_only_with_its_change(acme: Organization, admin_user: User) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        settings_operations.change_organization(org=acme, name="Other")
        raise RuntimeError
    with pytest.raises(Conflict):
        members_operations.change_role(
            membership=Membership.objects.get(user=admin_user), role="member"
        )
    assert events() == []


@pytest.mark.django_db(transaction=True)
def test_event_outside_transaction_is_refused(acme: Organization) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        history.record("organization_changed", acme)


def test_event_stays_when_its_organization_is_deleted(acme: Organization) -> None:
    settings_operations.change_organization(org=acme, name="Other")
    acme.delete()
    assert only().subject_name == "Acme"


# --- who, from where, what, before and after --------------------------------------------------


def test_change_on_page_names_person_and_address(
    client_for: CLIENTS, acme: Organization, admin_user: User, member_user: User
) -> None:
    membership = Membership.objects.get(user=member_user)
    client_for(admin_user).post(
        f"/settings/organization/members/{membership.pk}/role",
        {"role": "auditor"},
        REMOTE_ADDR="::ffff:192.0.2.7",
    )
    row = only()
    assert (row.event, row.org, row.subject_name) == ("role_changed", acme, member_user.email)
    assert (row.actor_kind, row.actor_id, row.actor_name) == (
        "person",
        admin_user.pk,
        admin_user.email,
    )
    assert row.address == "192.0.2.7"
    assert (row.before, row.after) == ({"role": "member"}, {"role": "auditor"})


def test_change_by_command_names_machines_user(acme: Organization) -> None:
    output_of("orgs", "disable", "acme")
    row = only()
    assert (row.actor_kind, row.actor_id, row.address) == ("operator", None, "")
    assert row.actor_name
    assert (row.before, row.after) == ({"ai_gateway_enabled": True}, {"ai_gateway_enabled": False})


def test_unchanged_values_leave_no_row(acme: Organization, member_user: User) -> None:
    settings_operations.set_gateway(org=acme, enabled=True)
    members_operations.change_role(
        membership=Membership.objects.get(user=member_user), role="member"
    )
    assert events() == []


def test_keys_are_recorded_without_secret(acme: Organization, member_user: User) -> None:
    key, text = keys_operations.create_key(org=acme, name="ci", owner=member_user, team_id="t1")
    newer, _ = keys_operations.rotate_key(key=key)
    keys_operations.revoke_key(key=newer)
    keys_operations.revoke_key(key=newer)
    assert [row.event for row in events()] == ["key_created", "key_rotated", "key_revoked"]
    made = events()[0].after or {}
    assert (made["owner"], made["team_id"]) == (member_user.email, "t1")
    kept = json.dumps([[row.before, row.after] for row in events()])
    assert text.split("_")[2] not in kept
    assert key.digest.hex() not in kept


def test_joining_and_leaving_are_recorded(acme: Organization, admin_user: User) -> None:
    path = invitations.invite(org=acme, email="new@acme.example", role="auditor").path
    both = dict.fromkeys(("new_password1", "new_password2"), PASSWORD)
    Client().post(path, both)
    joined = Membership.objects.get(user__email="new@acme.example")
    members_operations.remove_member(membership=joined)
    assert [(row.event, row.actor_kind) for row in events()] == [
        ("invitation_link_created", "operator"),
        ("member_joined", "stranger"),
        ("sign_in", "person"),
        ("member_removed", "operator"),
    ]


def test_change_in_django_admin_is_recorded(acme: Organization) -> None:
    operator = UserFactory.create(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(operator)
    data = {"name": "Acme", "slug": "acme", "timezone": "UTC", "on_disconnect": "close"}
    data["stores_answers"] = "on"
    client.post(reverse("admin:orgs_organization_change", args=[acme.pk]), data)
    row = only()
    assert (row.event, row.actor_name) == ("organization_changed", operator.email)
    assert row.after == {"timezone": "UTC", "ai_gateway_enabled": False}


def test_password_is_never_recorded(client_for: CLIENTS, member_user: User) -> None:
    new = "another long password"
    posted = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    client_for(member_user).post("/settings/profile/password", posted)
    row = only()
    assert (row.event, row.subject_id) == ("password_changed", member_user.pk)
    assert (row.before, row.after) == (None, None)


# --- sign-ins ---------------------------------------------------------------------------------


def test_sign_in_is_recorded_with_address(client: Client, member_user: User) -> None:
    for known in (False, True):
        sign_in(client, member_user.email, PASSWORD)
        client.post("/logout")
        row = events("sign_in")[-1]
        assert (row.actor_id, row.subject_id) == (member_user.pk, member_user.pk)
        assert (row.address, row.after) == ("127.0.0.1", {"known_device": known})


def test_failures_of_account_are_recorded_at_powers_of_two(member_user: User) -> None:
    for n in range(9):
        sign_in(Client(REMOTE_ADDR=f"192.0.2.{n}"), member_user.email, "a guess")
    rows = events("sign_in_failed")
    assert [row.after for row in rows] == [{"failures_in_24_hours": n} for n in (1, 2, 4, 8)]
    assert [row.address for row in rows] == [f"192.0.2.{n}" for n in (0, 1, 3, 7)]
    assert {(row.actor_kind, row.subject_id) for row in rows} == {("stranger", member_user.pk)}


def test_failures_of_unknown_accounts_are_one_count(db: None) -> None:
    for n in range(9):
        sign_in(Client(REMOTE_ADDR=f"192.0.2.{n}"), f"person{n}@acme.example", "a guess")
    rows = events()
    assert [row.after for row in rows] == [{"failures_in_24_hours": n} for n in (1, 2, 4, 8)]
    assert {(row.subject_id, row.subject_name) for row in rows} == {(None, "")}


def test_failures_beyond_throttle_leave_no_row(client: Client, member_user: User) -> None:
    for _ in range(throttle.FAILURES_PER_ADDRESS_AND_ACCOUNT + 10):
        sign_in(client, member_user.email, "a guess")
    assert len(events()) == 4


# --- reading ----------------------------------------------------------------------------------


def listed(*words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        output_of("audit", "history", *words, "--format", "json")
    )
    return rows


def test_command_lists_events_of_organization_and_its_members(
    client: Client, acme: Organization, globex: Organization, member_user: User, stranger: User
) -> None:
    settings_operations.change_organization(org=acme, name="Other")
    settings_operations.change_organization(org=globex, name="Another")
    sign_in(client, member_user.email, PASSWORD)
    sign_in(Client(), stranger.email, PASSWORD)
    assert [row["event"] for row in listed("acme")] == ["sign_in", "organization_changed"]
    assert [row["of"] for row in listed("acme")] == [member_user.email, "Acme"]
    everything = listed()
    assert len(everything) == 4
    assert listed("--limit", "2") == everything[:2]
    assert listed("--before", everything[1]["id"]) == everything[2:]
    with pytest.raises(CommandError, match="between 1 and"):
        listed("--limit", "0")


def test_django_admin_shows_events_and_changes_none(acme: Organization) -> None:
    settings_operations.change_organization(org=acme, name="Other")
    client = Client()
    client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
    page = client.get(reverse("admin:orgs_historyevent_changelist")).content.decode()
    assert "organization_changed" in page
    row = reverse("admin:orgs_historyevent_change", args=[only().pk])
    assert client.get(row).status_code == 200
    assert client.post(row, {"event": "other"}).status_code == 403
