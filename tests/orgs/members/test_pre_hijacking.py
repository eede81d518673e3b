"""Accounts that somebody else registered first (Sudhodanan and Paverd, 2022) gain nothing.

The attacker administers Globex and prepares an account with the victim's address. Acme invites the
victim. In each sequence the attacker keeps everything that was ever theirs: links, a password, a
signed-in browser, keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from orgs.console.commands import LOCAL_URL
from orgs.core.errors import OrgsError
from orgs.keys import operations as keys_operations
from orgs.models import Invitation, Membership, Organization, User
from tests.commands import output_of
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

VICTIM = "victim@example.org"
ATTACKERS_PASSWORD = "what the attacker chose"
VICTIMS_PASSWORD = "what the victim chose"
CONSOLE = "/settings/organization"


@dataclass(frozen=True)
class Way:
    """How an admin or an operator acts on the members of an organization."""

    invite: Callable[[Organization, str], str]
    remove: Callable[[Organization], None]


def by_command(acme: Organization, globex: Organization) -> Way:
    def invite(org: Organization, role: str) -> str:
        reported = output_of("members", "add", org.slug, VICTIM, "--role", role)
        return reported.splitlines()[-1].removeprefix(LOCAL_URL)

    def remove(org: Organization) -> None:
        output_of("members", "remove", org.slug, VICTIM)

    return Way(invite, remove)


def by_page(acme: Organization, globex: Organization) -> Way:
    clients = {}
    for org in (acme, globex):
        clients[org.pk] = Client()
        clients[org.pk].force_login(org.memberships.get(role="admin").user)

    def invite(org: Organization, role: str) -> str:
        posted = {"email": VICTIM, "role": role}
        return _link(clients[org.pk].post(f"{CONSOLE}/members", posted))

    def remove(org: Organization) -> None:
        row = clients[org.pk].get(f"{CONSOLE}/members.json")
        [shown] = [each for each in _json(row) if each["email"] == VICTIM]
        answer = clients[org.pk].post(f"{CONSOLE}/members/{shown['memberId']}/remove")
        assert answer.status_code == 302

    return Way(invite, remove)


def by_django_admin(acme: Organization, globex: Organization) -> Way:
    operator = Client()
    operator.force_login(UserFactory.create(is_staff=True, is_superuser=True))

    def invite(org: Organization, role: str) -> str:
        posted = {"org": str(org.pk), "email": VICTIM, "role": role}
        return _link(operator.post(reverse("admin:orgs_invitation_add"), posted))

    def remove(org: Organization) -> None:
        row: Any = org.memberships.filter(user__email=VICTIM).first()
        model, action = ("membership", "remove") if row else ("invitation", "withdraw")
        row = row or org.invitations.get(email=VICTIM)
        posted = {"action": action, "_selected_action": str(row.pk)}
        operator.post(reverse(f"admin:orgs_{model}_changelist"), posted)

    return Way(invite, remove)


def _link(answer: Any) -> str:
    found = re.search(r"http://testserver(/welcome/[^<]+)", answer.content.decode())
    assert found is not None
    return found[1]


def _json(answer: Any) -> Any:
    return json.loads(answer.getvalue())


@pytest.fixture(params=[by_page, by_command, by_django_admin], ids=lambda way: way.__name__)
def way(
    request: pytest.FixtureRequest,
    acme: Organization,
    globex: Organization,
    admin_user: User,
    stranger: User,
) -> Way:
    return request.param(acme, globex)  # type: ignore[no-any-return]  # pytest does not know


def set_password(client: Client, path: str, password: str) -> Any:
    return client.post(path, {"new_password1": password, "new_password2": password})


def signs_in(password: str) -> Client | None:
    client = Client()
    answer = client.post("/login", {"email": VICTIM, "password": password})
    return client if answer.status_code == 302 else None


def sees_acme(client: Client) -> bool:
    answer = client.get(CONSOLE)
    return answer.status_code == 200 and ">Acme</strong>" in answer.content.decode()


def is_in(org: Organization) -> bool:
    return org.memberships.filter(user__email=VICTIM).exists()


@pytest.fixture
def attacker(way: Way, globex: Organization) -> Client:
    """The attacker's browser, signed in with an account that has the victim's address."""
    client = Client()
    set_password(client, way.invite(globex, "member"), ATTACKERS_PASSWORD)
    assert is_in(globex)
    return client


def test_old_link_does_not_open_account_that_another_organization_invites(
    way: Way, acme: Organization, globex: Organization
) -> None:
    old = way.invite(globex, "member")
    way.remove(globex)
    new = way.invite(acme, "admin")
    attacker = Client()
    assert attacker.get(old).status_code == 410
    assert set_password(attacker, old, ATTACKERS_PASSWORD).status_code == 410
    victim = Client()
    set_password(victim, new, VICTIMS_PASSWORD)
    assert set_password(attacker, old, ATTACKERS_PASSWORD).status_code == 410
    assert sees_acme(victim)
    assert acme.memberships.get(user__email=VICTIM).role == "admin"
    assert signs_in(ATTACKERS_PASSWORD) is None


def test_old_link_does_not_open_membership_of_later_invitation(
    way: Way, acme: Organization
) -> None:
    old = way.invite(acme, "member")
    way.remove(acme)
    new = way.invite(acme, "admin")
    assert set_password(Client(), old, ATTACKERS_PASSWORD).status_code == 410
    assert set_password(Client(), new, VICTIMS_PASSWORD).status_code == 302


def test_link_that_is_still_open_ends_in_its_own_organization(
    way: Way, acme: Organization, globex: Organization
) -> None:
    theirs = way.invite(globex, "member")
    victim = Client()
    set_password(victim, way.invite(acme, "admin"), VICTIMS_PASSWORD)
    attacker = Client()
    set_password(attacker, theirs, ATTACKERS_PASSWORD)
    assert not sees_acme(attacker)
    assert not is_in(globex)
    assert signs_in(ATTACKERS_PASSWORD) is None
    assert sees_acme(victim)


def test_password_and_session_set_first_end_when_victim_joins(
    way: Way, acme: Organization, globex: Organization, attacker: Client
) -> None:
    way.remove(globex)
    victim = Client()
    set_password(victim, way.invite(acme, "admin"), VICTIMS_PASSWORD)
    assert sees_acme(victim)
    assert not sees_acme(attacker)
    assert attacker.get(CONSOLE).status_code == 302
    posted = attacker.post("/api/ai/request", {}, content_type="application/json")
    assert posted.status_code == 401
    assert signs_in(ATTACKERS_PASSWORD) is None
    assert signs_in(VICTIMS_PASSWORD) is not None


def test_account_kept_by_attacker_does_not_get_invitations_of_others(
    way: Way, acme: Organization, attacker: Client
) -> None:
    link = way.invite(acme, "admin")
    assert not sees_acme(attacker)
    assert "Acme" not in attacker.get(CONSOLE).content.decode()
    again = signs_in(ATTACKERS_PASSWORD)
    assert again is not None
    assert not sees_acme(again)
    # Nothing but the link that Acme sent accepts.
    assert attacker.post(re.sub(r"/[^/]+/$", "/guess/", link)).status_code == 410
    posted = {"organization": str(acme.pk)}
    assert attacker.post("/organizations/switch", posted).status_code == 404
    assert not is_in(acme)


def test_account_kept_by_attacker_is_given_back_by_operator(
    way: Way, acme: Organization, attacker: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = way.invite(acme, "admin")
    victim = Client()
    assert "already has an account" in victim.get(link).content.decode()
    set_password(victim, link, VICTIMS_PASSWORD)
    assert signs_in(VICTIMS_PASSWORD) is None
    monkeypatch.setattr("getpass.getpass", lambda prompt: VICTIMS_PASSWORD)
    output_of("changepassword", VICTIM)
    assert attacker.get(CONSOLE).status_code == 302
    assert signs_in(ATTACKERS_PASSWORD) is None
    returned = signs_in(VICTIMS_PASSWORD)
    assert returned is not None
    returned.post(link)
    assert sees_acme(returned)


def test_admin_cannot_take_account_of_member_of_another_organization(
    way: Way, acme: Organization, globex: Organization
) -> None:
    victim = Client()
    set_password(victim, way.invite(acme, "admin"), VICTIMS_PASSWORD)
    attacker = Client()
    for _ in range(2):
        link = way.invite(globex, "member")
        set_password(attacker, link, ATTACKERS_PASSWORD)
        attacker.post(link)
        assert not is_in(globex)
        way.remove(globex)
    assert signs_in(VICTIMS_PASSWORD) is not None
    assert not sees_acme(attacker)
    assert sees_acme(victim)


def test_removal_ends_access_at_once(way: Way, acme: Organization, globex: Organization) -> None:
    victim = Client()
    set_password(victim, way.invite(acme, "admin"), VICTIMS_PASSWORD)
    assert sees_acme(victim)
    way.remove(acme)
    assert victim.get(CONSOLE).status_code == 403
    assert victim.get("/api/ai/requests").status_code == 401


def test_key_cannot_be_owned_by_person_who_has_not_accepted(
    way: Way, acme: Organization, attacker: Client
) -> None:
    way.invite(acme, "admin")
    account = User.objects.get(email=VICTIM)
    with pytest.raises(OrgsError, match="not an active member"):
        keys_operations.create_key(org=acme, name="ci", owner=account)
    with pytest.raises(CommandError, match="No user of this organization"):
        call_command("keys", "create", "acme", "--name", "ci", "--user", VICTIM)
    admin = Client()
    admin.force_login(acme.memberships.get(role="admin").user)
    page = admin.post(
        "/admin/ai/keys/create", {"name": "ci", "owner": str(account.pk), "permissions": "send"}
    )
    assert "Select a valid choice" in page.content.decode()
    assert VICTIM not in page.content.decode()
    assert not acme.api_keys.exists()


def test_invitation_reveals_nothing_to_holder_of_address(
    way: Way, acme: Organization, attacker: Client
) -> None:
    way.invite(acme, "admin")
    for page in (CONSOLE, f"{CONSOLE}/members.json", "/admin/ai/keys"):
        assert "Acme" not in b"".join(attacker.get(page)).decode()
    assert Invitation.objects.filter(org=acme).exists()
    assert Membership.objects.filter(org=acme).count() == 1
