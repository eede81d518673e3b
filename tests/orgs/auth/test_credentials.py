"""The database reads of authentication: keys and sessions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from orgs.auth import credentials
from orgs.core import keys
from orgs.keys import operations as keys_operations
from orgs.members import operations as members_operations
from orgs.models import ApiKey, Membership, Organization, User
from tests.factories import MembershipFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def bare_request(client: Client) -> HttpRequest:
    """Return a request with the client's cookies, before any middleware."""
    request = RequestFactory().post("/api/ai/request")
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    return request


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_key_is_read_in_one_query(
    acme: Organization,
    member_user: User,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    key, text = keys_operations.create_key(
        org=acme, name="ci", owner=member_user, team_id="t", client_id="c"
    )
    with django_assert_num_queries(1):
        record = credentials.key_record(key.public)
    acme.refresh_from_db()
    assert record is not None
    assert (record.id, record.org_id, record.owner_id) == (key.pk, acme.pk, member_user.pk)
    fixed = (record.team_id, record.project_id, record.app_id, record.client_id)
    assert fixed == ("t", None, None, "c")
    assert record.config_version == acme.config_version
    assert record.owner_active_member
    assert record.is_usable_at(now())
    assert keys.matches(text, record.digest, settings.API_KEY_PEPPER)
    assert str(record.digest) not in repr(record)


def test_unknown_key_is_none() -> None:
    assert credentials.key_record("a" * 12) is None


def test_key_without_owner_is_valid(acme: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci")
    record = credentials.key_record(key.public)
    assert record is not None
    assert record.owner_id is None
    assert record.is_usable_at(now())


def usable(key: ApiKey) -> bool:
    record = credentials.key_record(key.public)
    assert record is not None
    return record.is_usable_at(now())


def test_revoked_or_expired_key_is_invalid(acme: Organization) -> None:
    revoked, _ = keys_operations.create_key(org=acme, name="revoked")
    expiring, _ = keys_operations.create_key(org=acme, name="expiring")
    assert usable(revoked)
    assert usable(expiring)
    keys_operations.revoke_key(key=revoked)
    moment = now() + timedelta(hours=1)
    ApiKey.objects.filter(pk=expiring.pk).update(expires_at=moment)
    assert not usable(revoked)
    record = credentials.key_record(expiring.public)
    assert record is not None
    assert record.is_usable_at(moment - timedelta(microseconds=1))
    assert not record.is_usable_at(moment)


def test_key_requires_active_membership_of_owner(
    acme: Organization, globex: Organization, member_user: User
) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci", owner=member_user)
    MembershipFactory.create(org=globex, user=member_user)
    User.objects.filter(pk=member_user.pk).update(is_active=False)
    assert not usable(key)
    User.objects.filter(pk=member_user.pk).update(is_active=True)
    assert usable(key)
    Membership.objects.filter(org=acme, user=member_user).delete()
    assert not usable(key)


def test_session_is_recognized_without_middleware(acme: Organization, member_user: User) -> None:
    caller = credentials.session_caller(bare_request(signed_in(member_user)))
    acme.refresh_from_db()
    assert caller == credentials.SessionCaller(
        user_id=str(member_user.pk),
        email=member_user.email,
        org_id=acme.pk,
        role="member",
        config_version=acme.config_version,
    )


def test_session_of_middleware_is_used(member_user: User, acme: Organization) -> None:
    request = RequestFactory().get("/")
    request.session = signed_in(member_user).session
    caller = credentials.session_caller(request)
    assert caller is not None
    assert caller.org_id == acme.pk


def test_session_uses_active_organization(
    acme: Organization, globex: Organization, member_user: User
) -> None:
    MembershipFactory.create(org=globex, user=member_user, role="auditor")
    client = signed_in(member_user)
    client.post("/organizations/switch", {"organization": str(globex.pk)})
    caller = credentials.session_caller(bare_request(client))
    assert caller is not None
    assert (caller.org_id, caller.role) == (globex.pk, "auditor")


def test_anonymous_has_no_session_caller(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        assert credentials.session_caller(RequestFactory().get("/")) is None
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    request.COOKIES[settings.SESSION_COOKIE_NAME] = "made up"
    assert credentials.session_caller(request) is None


@pytest.mark.parametrize("end", ["password", "inactive", "removed", "expired", "signed out"])
def test_ended_session_is_rejected_immediately(
    acme: Organization, admin_user: User, member_user: User, end: str
) -> None:
    client = signed_in(member_user)
    request = bare_request(client)
    if end == "password":
        member_user.set_password("another long password")
        member_user.save()
    elif end == "inactive":
        User.objects.filter(pk=member_user.pk).update(is_active=False)
    elif end == "removed":
        members_operations.remove_member(membership=Membership.objects.get(user=member_user))
    elif end == "expired":
        Session.objects.update(expire_date=now() - timedelta(seconds=1))
    else:
        client.post("/logout")
    assert credentials.session_caller(request) is None


def test_operator_without_membership_has_no_session_caller(db: None) -> None:
    operator = UserFactory.create(is_staff=True, is_superuser=True)
    assert credentials.session_caller(bare_request(signed_in(operator))) is None
