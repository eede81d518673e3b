"""Every change that could alter a decision raises config_version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.utils.timezone import now

from orgs.keys import operations as keys_operations
from orgs.members import operations as members_operations
from orgs.models import ApiKey, Membership, Organization, User
from orgs.settings import operations as settings_operations
from tests.factories import MembershipFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

TRIGGERS = {
    "postgresql": {
        "organization_config_version",
        "api_key_config_version",
        "membership_config_version",
        "user_account_config_version",
    },
    "sqlite": {
        "organization_config_version",
        "api_key_config_version",
        "api_key_config_version_gone",
        "membership_config_version",
        "membership_config_version_new",
        "membership_config_version_gone",
        "user_account_config_version",
    },
}
NAMES_OF_TRIGGERS = {
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
}


def version(org: Organization) -> int:
    return Organization.objects.values_list("config_version", flat=True).get(pk=org.pk)


@contextmanager
def raises_version(org: Organization) -> Iterator[None]:
    before = version(org)
    yield
    assert version(org) > before


@contextmanager
def leaves_version(org: Organization) -> Iterator[None]:
    before = version(org)
    yield
    assert version(org) == before


def by_hand(statement: str, *values: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        assert cursor.rowcount == 1


@pytest.fixture
def key(acme: Organization, admin_user: User, member_user: User) -> ApiKey:
    return keys_operations.create_key(org=acme, name="ci", owner=member_user)[0]


def test_triggers_exist() -> None:
    with connection.cursor() as cursor:
        cursor.execute(NAMES_OF_TRIGGERS[connection.vendor])
        assert {row[0] for row in cursor.fetchall()} >= TRIGGERS[connection.vendor]


@pytest.mark.parametrize(
    "change",
    [
        {"ai_gateway_enabled": False},
        {"name": "Other"},
        {"timezone": "UTC"},
        {"on_disconnect": "drain"},
        {"stores_answers": False},
    ],
)
def test_settings_change_raises_config_version(acme: Organization, change: Any) -> None:
    with raises_version(acme):
        settings_operations.change_organization(org=acme, **change)


def test_unchanged_settings_do_not_raise_config_version(acme: Organization) -> None:
    with leaves_version(acme):
        settings_operations.change_organization(org=acme, name=acme.name, ai_gateway_enabled=True)


def test_sql_change_raises_config_version_by_one(acme: Organization, globex: Organization) -> None:
    before, elsewhere = version(acme), version(globex)
    by_hand("UPDATE organization SET ai_gateway_enabled = false WHERE slug = %s", "acme")
    assert version(acme) == before + 1
    assert version(globex) == elsewhere


def test_stale_object_cannot_reset_config_version(acme: Organization) -> None:
    stale = Organization.objects.get(pk=acme.pk)
    settings_operations.set_gateway(org=acme, enabled=False)
    with raises_version(acme):
        stale.save()


@pytest.mark.parametrize(
    "operation",
    [
        lambda key: keys_operations.revoke_key(key=key),
        lambda key: keys_operations.rotate_key(key=key),
        lambda key: ApiKey.objects.filter(pk=key.pk).update(team_id="other"),
        lambda key: ApiKey.objects.filter(pk=key.pk).update(expires_at=now()),
        lambda key: ApiKey.objects.filter(pk=key.pk).delete(),
        lambda key: members_operations.remove_member(
            membership=Membership.objects.get(user=key.owner)
        ),
        lambda key: members_operations.change_role(
            membership=Membership.objects.get(user=key.owner), role="auditor"
        ),
    ],
    ids=["revoke", "rotate", "fix", "expire", "delete", "remove the owner", "change a role"],
)
def test_key_or_owner_change_raises_config_version(
    acme: Organization, key: ApiKey, operation: Callable[[ApiKey], object]
) -> None:
    with raises_version(acme):
        operation(key)


def test_sql_removal_of_membership_raises_config_version(acme: Organization, key: ApiKey) -> None:
    assert key.owner is not None
    with raises_version(acme):
        Membership.objects.filter(user=key.owner).delete()
    with raises_version(acme):
        MembershipFactory.create(org=acme, user=key.owner)


def test_deactivating_user_raises_config_version_of_all_organizations(
    acme: Organization, globex: Organization, member_user: User
) -> None:
    MembershipFactory.create(org=globex, user=member_user)
    with raises_version(acme), raises_version(globex):
        User.objects.filter(pk=member_user.pk).update(is_active=False)


def test_sign_in_does_not_raise_config_version(acme: Organization, member_user: User) -> None:
    with leaves_version(acme):
        member_user.last_login = now()
        member_user.save()


def test_using_key_does_not_raise_config_version(acme: Organization, key: ApiKey) -> None:
    with leaves_version(acme):
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now())


def test_creating_key_does_not_raise_config_version(acme: Organization) -> None:
    with leaves_version(acme):
        keys_operations.create_key(org=acme, name="new")
