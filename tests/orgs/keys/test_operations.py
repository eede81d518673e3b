"""Creating, rotating and revoking keys."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils.timezone import now

from orgs.core import keys
from orgs.core.errors import Conflict, Invalid, Missing
from orgs.keys import operations as keys_operations
from orgs.members import operations as members_operations
from orgs.models import ApiKey, HistoryEvent, Membership, Organization, User
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_key_is_stored_only_as_digest(acme: Organization) -> None:
    key, text = keys_operations.create_key(org=acme, name="ci")
    row = ApiKey.objects.values().get(pk=key.pk)
    assert keys.matches(text, bytes(row["digest"]), settings.API_KEY_PEPPER)
    secret = text.split("_")[2]
    assert all(secret not in str(value) for value in row.values())
    assert (row["public"], row["last_four"]) == (text.split("_")[1], text[-4:])


def test_key_fixes_given_dimensions(acme: Organization, member_user: User) -> None:
    expires_at = now() + timedelta(days=7)
    key, _ = keys_operations.create_key(
        org=acme,
        name=" ci ",
        owner=member_user,
        team_id="team-1",
        client_id="Ünïcode client",
        expires_at=expires_at,
    )
    key = ApiKey.objects.get(pk=key.pk)
    assert (key.name, key.owner, key.expires_at) == ("ci", member_user, expires_at)
    fixed = (key.team_id, key.project_id, key.app_id, key.client_id)
    assert fixed == ("team-1", None, None, "Ünïcode client")


@pytest.mark.parametrize("value", ["", "  ", "x" * 129, "tab\there", "nul\x00"])
@pytest.mark.parametrize("field", keys_operations.FIXABLE)
def test_invalid_dimension_is_rejected(acme: Organization, field: str, value: str) -> None:
    fixed: keys_operations.KeyFields = {field: value}  # type: ignore[misc]  # one of FIXABLE
    with pytest.raises(Invalid) as refusal:
        keys_operations.create_key(org=acme, name="ci", **fixed)
    assert refusal.value.field == field


def test_client_source_is_checked_and_recorded(acme: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci", client_from=" Header:X-User-Id ")
    assert ApiKey.objects.get(pk=key.pk).client_from == "header:x-user-id"
    before = Organization.objects.get(pk=acme.pk).config_version
    keys_operations.update_key(key=key, client_from="metadata.user_id")
    assert ApiKey.objects.get(pk=key.pk).client_from == "metadata.user_id"
    assert Organization.objects.get(pk=acme.pk).config_version > before
    event = HistoryEvent.objects.get(event="key_changed")
    assert (event.before, event.after) == (
        {"client_from": "header:x-user-id"},
        {"client_from": "metadata.user_id"},
    )
    for source in ("header:authorization", "client_id"):
        with pytest.raises(Invalid, match="The client source must be user, ") as refusal:
            keys_operations.update_key(key=key, client_from=source)
        assert refusal.value.field == "client_from"


def test_dimension_of_128_characters_is_accepted(acme: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci", team_id="x" * 128)
    assert key.team_id == "x" * 128


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "nul\x00"])
def test_invalid_name_is_rejected(acme: Organization, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        keys_operations.create_key(org=acme, name=name)
    assert refusal.value.field == "name"


def test_new_key_cannot_be_expired(acme: Organization) -> None:
    with pytest.raises(Invalid, match="must be in the future"):
        keys_operations.create_key(org=acme, name="ci", expires_at=now())


def test_owner_must_be_active_member(acme: Organization, stranger: User) -> None:
    with pytest.raises(Invalid, match="not an active member"):
        keys_operations.create_key(org=acme, name="ci", owner=stranger)
    gone = UserFactory.create(is_active=False)
    Membership.objects.create(org=acme, user=gone, role="member")
    with pytest.raises(Invalid, match="not an active member"):
        keys_operations.create_key(org=acme, name="ci", owner=gone)


def test_name_can_be_reused_after_revocation(acme: Organization, globex: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci")
    keys_operations.create_key(org=globex, name="ci")
    with pytest.raises(Conflict, match='named "CI" already exists'):
        keys_operations.create_key(org=acme, name="CI")
    keys_operations.revoke_key(key=key)
    keys_operations.create_key(org=acme, name="CI")


def test_revoked_key_stays_revoked(acme: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci")
    assert keys_operations.revoke_key(key=key) is True
    first = ApiKey.objects.get(pk=key.pk).revoked_at
    assert keys_operations.revoke_key(key=key) is False
    assert ApiKey.objects.get(pk=key.pk).revoked_at == first
    with pytest.raises(Conflict, match="is revoked"):
        keys_operations.rotate_key(key=key)


def test_rotation_keeps_name_and_settings(acme: Organization, member_user: User) -> None:
    old, old_text = keys_operations.create_key(
        org=acme, name="ci", owner=member_user, project_id="p", app_id="a", client_from="user"
    )
    new, new_text = keys_operations.rotate_key(key=old, created_by_id=member_user.pk)
    assert new_text != old_text
    assert (new.name, new.owner, new.project_id, new.app_id) == ("ci", member_user, "p", "a")
    assert new.client_from == "user"
    assert (new.replaces, new.expires_at, new.created_by_id) == (old, None, member_user.pk)


def test_old_key_stays_valid_for_overlap(acme: Organization) -> None:
    old, _ = keys_operations.create_key(org=acme, name="ci")
    before = now()
    keys_operations.rotate_key(key=old)
    old.refresh_from_db()
    assert old.expires_at is not None
    assert before + timedelta(hours=24) <= old.expires_at <= now() + timedelta(hours=24)
    assert old.is_usable_at(old.expires_at - timedelta(microseconds=1))
    assert not old.is_usable_at(old.expires_at)


def test_without_overlap_old_key_expires_immediately(acme: Organization) -> None:
    old, _ = keys_operations.create_key(org=acme, name="ci")
    keys_operations.rotate_key(key=old, overlap=timedelta(0))
    old.refresh_from_db()
    assert not old.is_usable_at(now())


def test_rotation_does_not_extend_old_key(acme: Organization) -> None:
    ends_at = now() + timedelta(hours=1)
    old, _ = keys_operations.create_key(org=acme, name="ci", expires_at=ends_at)
    new, _ = keys_operations.rotate_key(key=old, overlap=timedelta(days=7))
    old.refresh_from_db()
    assert old.expires_at == ends_at
    assert new.expires_at is not None
    assert timedelta(minutes=59) < new.expires_at - now() <= timedelta(hours=1)


def test_key_has_one_unrevoked_successor(acme: Organization) -> None:
    old, _ = keys_operations.create_key(org=acme, name="ci")
    lost, _ = keys_operations.rotate_key(key=old)
    with pytest.raises(Conflict, match="already been rotated"):
        keys_operations.rotate_key(key=old)
    keys_operations.revoke_key(key=lost)
    keys_operations.rotate_key(key=old)


def test_name_of_successor_stays_taken(acme: Organization) -> None:
    old, _ = keys_operations.create_key(org=acme, name="ci")
    keys_operations.rotate_key(key=old)
    keys_operations.revoke_key(key=old)
    with pytest.raises(Conflict, match="already exists"):
        keys_operations.create_key(org=acme, name="ci")


def test_expired_key_cannot_be_rotated(acme: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci")
    ApiKey.objects.filter(pk=key.pk).update(expires_at=now() - timedelta(seconds=1))
    with pytest.raises(Conflict, match="has expired"):
        keys_operations.rotate_key(key=key)


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=30, seconds=1)])
def test_overlap_must_be_within_limits(acme: Organization, overlap: timedelta) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci")
    with pytest.raises(Invalid, match="overlap"):
        keys_operations.rotate_key(key=key, overlap=overlap)


def test_key_of_removed_member_cannot_be_rotated(
    acme: Organization, admin_user: User, member_user: User
) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci", owner=member_user)
    members_operations.remove_member(membership=Membership.objects.get(user=member_user))
    with pytest.raises(Conflict, match="is revoked"):
        keys_operations.rotate_key(key=key)


def test_deleted_key_is_missing(acme: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci")
    ApiKey.objects.filter(pk=key.pk).delete()
    with pytest.raises(Missing):
        keys_operations.rotate_key(key=key)
    assert keys_operations.revoke_key(key=key) is False
