"""Concurrent operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
from django.db import connection
from django.utils.timezone import now

from orgs.auth import throttle
from orgs.core.errors import OrgsError
from orgs.keys import operations as keys_operations
from orgs.members import invitations
from orgs.members import operations as members_operations
from orgs.models import ApiKey, Invitation, Membership, Organization, User
from orgs.settings import operations as settings_operations
from tests.factories import PASSWORD, MembershipFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def together(started: Iterable[Callable[[], object]]) -> list[object]:
    """Start all at once, each on its own connection; return their results or refusals."""
    waiting = list(started)
    barrier = Barrier(len(waiting))

    def start(operation: Callable[[], object]) -> object:
        barrier.wait(timeout=120)
        try:
            return operation()
        except OrgsError as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(waiting)) as threads:
        return list(threads.map(start, waiting))


def refusals(results: list[object]) -> int:
    return sum(isinstance(result, OrgsError) for result in results)


def test_last_two_admins_cannot_both_be_removed(acme: Organization) -> None:
    admins = [MembershipFactory.create(org=acme, role="admin") for _ in range(2)]
    results = together(
        [
            lambda: members_operations.remove_member(membership=admins[0]),
            lambda: members_operations.change_role(membership=admins[1], role="member"),
        ]
    )
    assert refusals(results) == 1
    assert Membership.objects.filter(org=acme, role="admin").count() == 1


def test_concurrent_rotations_rotate_key_once(acme: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci")
    results = together([lambda: keys_operations.rotate_key(key=key)] * 4)
    assert refusals(results) == 3
    assert ApiKey.objects.count() == 2


def test_concurrent_creations_give_name_to_one_key(acme: Organization) -> None:
    results = together([lambda: keys_operations.create_key(org=acme, name="ci")] * 4)
    assert refusals(results) == 3
    assert ApiKey.objects.count() == 1


def test_concurrent_creations_give_slug_to_one_organization(transactional_db: None) -> None:
    results = together([lambda: settings_operations.create_organization(name="Acme")] * 4)
    assert refusals(results) == 3
    assert Organization.objects.count() == 1


def test_concurrent_invitations_of_address_create_one(acme: Organization) -> None:
    results = together(
        [lambda: invitations.invite(org=acme, email="new@example.org", role="member")] * 4
    )
    assert refusals(results) == 3
    assert Invitation.objects.count() == 1


def test_links_of_two_organizations_create_account_of_one(
    acme: Organization, globex: Organization
) -> None:
    links = [
        invitations.invite(org=org, email="new@example.org", role="member").invitation
        for org in (acme, globex)
    ]
    results = together(
        partial(invitations.accept_with_password, invitation=link, password=f"password of {link}")
        for link in links
    )
    assert refusals(results) == 1
    [joined] = [result for result in results if isinstance(result, Membership)]
    assert Membership.objects.get() == joined
    assert User.objects.get().check_password(f"password of new@example.org for {joined.org}")


def test_link_is_used_or_withdrawn(acme: Organization) -> None:
    link = invitations.invite(org=acme, email="new@example.org", role="member").invitation
    results = together(
        [
            partial(invitations.accept_with_password, invitation=link, password=PASSWORD),
            partial(invitations.withdraw, invitation=link),
        ]
    )
    assert refusals(results) == 1
    assert Membership.objects.exists() == isinstance(results[0], Membership)
    assert not Invitation.objects.exists()


def test_no_key_is_created_for_member_being_removed(acme: Organization) -> None:
    for n in range(5):
        membership = MembershipFactory.create(org=acme)
        owner = membership.user
        together(
            [
                partial(members_operations.remove_member, membership=membership),
                partial(keys_operations.create_key, org=acme, name=f"k{n}", owner=owner),
            ]
        )
        assert not ApiKey.objects.filter(owner=owner, revoked_at__isnull=True).exists()


def test_concurrent_revocations_revoke_key_once(acme: Organization) -> None:
    key, _ = keys_operations.create_key(org=acme, name="ci")
    results = together([lambda: keys_operations.revoke_key(key=key)] * 4)
    assert sorted(map(bool, results)) == [False, False, False, True]


def test_link_works_for_one_of_two_concurrent_uses(acme: Organization) -> None:
    link = invitations.invite(org=acme, email="new@example.org", role="member").invitation
    results = together(
        partial(invitations.accept_with_password, invitation=link, password=password)
        for password in ("the first password", "the second password")
    )
    assert refusals(results) == 1
    assert Membership.objects.count() == 1


def test_concurrent_guesses_are_throttled(transactional_db: None) -> None:
    moment = now()
    guess = partial(
        throttle.begin_sign_in, email="a@acme.example", address="192.0.2.1", device_id=None
    )
    results = together([partial(guess, moment=moment)] * 20)
    passed = sum(result is not None for result in results)
    assert passed == throttle.FAILURES_PER_ADDRESS_AND_ACCOUNT
    assert guess(moment=moment + throttle.WINDOW) is not None
