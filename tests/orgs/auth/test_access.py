"""Access control."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.test import RequestFactory
from pytest_django import DjangoAssertNumQueries

from orgs.auth import access
from orgs.models import ApiKey, Organization, User
from tests.factories import ApiKeyFactory, MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db

UNKNOWN_ID = "0193f5d0-0000-7000-8000-000000000000"


def request_of(user: User | AnonymousUser, **session: str) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    request.session = SessionStore()
    request.session.update(session)
    return request


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("admin_user", {"can_use", "can_change", "sees_everything"}),
        ("member_user", {"can_use"}),
        ("auditor_user", {"sees_everything"}),
    ],
)
def test_roles(
    request: pytest.FixtureRequest, acme: Organization, who: str, allowed: set[str]
) -> None:
    user: User = request.getfixturevalue(who)
    found = access.viewer(request_of(user))
    assert (found.user, found.organization) == (user, acme)
    rights = ("can_use", "can_change", "sees_everything")
    assert {right for right in rights if getattr(found, right)} == allowed


@pytest.mark.parametrize(
    ("who", "access_function"),
    [
        ("member_user", access.admin),
        ("auditor_user", access.admin),
        ("auditor_user", access.member),
    ],
)
def test_insufficient_role_is_denied(
    request: pytest.FixtureRequest,
    who: str,
    access_function: Callable[[HttpRequest], access.Access],
) -> None:
    with pytest.raises(PermissionDenied):
        access_function(request_of(request.getfixturevalue(who)))


@pytest.mark.parametrize("access_function", [access.viewer, access.member, access.admin])
def test_anonymous_and_operators_without_membership_are_denied(
    db: None, access_function: Callable[[HttpRequest], access.Access]
) -> None:
    with pytest.raises(PermissionDenied):
        access_function(request_of(AnonymousUser()))
    with pytest.raises(PermissionDenied, match="an organization yet"):
        access_function(request_of(UserFactory.create(is_staff=True, is_superuser=True)))


def test_session_selects_own_organization(
    acme: Organization, globex: Organization, member_user: User
) -> None:
    MembershipFactory.create(org=globex, user=member_user, role="admin")
    assert access.viewer(request_of(member_user)).organization == acme
    chosen = access.viewer(request_of(member_user, organization_id=str(globex.pk)))
    assert (chosen.organization, chosen.can_change) == (globex, True)


@pytest.mark.parametrize("chosen", ["nonsense", UNKNOWN_ID])
def test_foreign_selection_falls_back_to_own_organization(
    acme: Organization, member_user: User, chosen: str
) -> None:
    assert access.viewer(request_of(member_user, organization_id=chosen)).organization == acme


def test_selection_ends_with_membership(
    acme: Organization, globex: Organization, member_user: User
) -> None:
    elsewhere = MembershipFactory.create(org=globex, user=member_user)
    elsewhere.delete()
    request = request_of(member_user, organization_id=str(globex.pk))
    assert access.viewer(request).organization == acme


def test_row_of_own_organization_is_found(acme: Organization, member_user: User) -> None:
    key = ApiKeyFactory.create(org=acme)
    found = access.viewer(request_of(member_user))
    assert access.get_or_404(found, ApiKey.objects, key.pk) == key
    assert access.get_or_404(found, ApiKey.objects.all(), str(key.pk)) == key


@pytest.mark.parametrize("row_id", ["", "0", "nonsense", "\x00", UNKNOWN_ID, None])
def test_other_ids_are_not_found(acme: Organization, member_user: User, row_id: object) -> None:
    with pytest.raises(Http404):
        access.get_or_404(access.viewer(request_of(member_user)), ApiKey.objects, row_id)


def test_row_of_other_organization_is_not_found(globex: Organization, member_user: User) -> None:
    key = ApiKeyFactory.create(org=globex)
    with pytest.raises(Http404):
        access.get_or_404(access.viewer(request_of(member_user)), ApiKey.objects, key.pk)


def test_header_shows_active_organization(acme: Organization, member_user: User) -> None:
    shown = access.navigation(request_of(member_user))["navigation"]
    assert shown["organization"] == acme
    assert shown["organizations"] == [acme]
    assert (shown["role"], shown["can_change"], shown["can_use"]) == ("member", False, True)


def test_header_without_organization(db: None) -> None:
    shown = access.navigation(request_of(UserFactory.create()))["navigation"]
    assert (shown["organization"], shown["role"], shown["can_change"]) == (None, None, False)


def test_header_needs_no_query_for_anonymous(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        assert access.navigation(request_of(AnonymousUser())) == {"navigation": None}


def test_header_without_middleware(db: None) -> None:
    assert access.navigation(RequestFactory().get("/")) == {"navigation": None}
