"""The organization's settings and members, as pages."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils.timezone import now

from orgs.keys import operations
from orgs.members import invitations
from orgs.models import Membership, Organization, User
from tests.cast import CLIENTS
from tests.factories import PASSWORD, MembershipFactory

pytestmark = pytest.mark.django_db

SETTINGS = "/settings/organization"


def membership_of(user: User) -> Membership:
    return Membership.objects.get(user=user)


def is_on(org: Organization) -> bool:
    return Organization.objects.get(pk=org.pk).ai_gateway_enabled


def page_of(client: Client) -> str:
    return client.get(SETTINGS).content.decode()


def values(**changes: str) -> dict[str, str]:
    """Return the form data of Acme's settings, with some changes."""
    return {
        "ai_gateway_enabled": "on",
        "name": "Acme",
        "timezone": "Europe/Paris",
        "on_disconnect": "close",
        "stores_answers": "on",
    } | changes


def as_rendered(page: str) -> dict[str, str]:
    """Return the hidden fields of the page's form."""
    found = re.findall(r'<input type="hidden" name="(initial-\w+)" value="([^"]*)"', page)
    return dict(found)


def test_admin_sees_switch_with_help_text(client_for: CLIENTS, admin_user: User) -> None:
    page = page_of(client_for(admin_user))
    assert ">AI Gateway</label>" in page
    assert "every new request is refused" in page
    assert re.search(r'<input type="checkbox"[^>]* checked', page)
    assert ">Save</button>" in page
    assert admin_user.email in page


def test_admin_switches_gateway_off_and_on(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    client = client_for(admin_user)
    off = values()
    del off["ai_gateway_enabled"]
    assert client.post(SETTINGS, off).status_code == 302
    assert not is_on(acme)
    client.post(SETTINGS, values(name="Acme & Sons", timezone="UTC", on_disconnect="drain"))
    acme.refresh_from_db()
    assert is_on(acme)
    assert (acme.name, acme.timezone, acme.on_disconnect) == ("Acme & Sons", "UTC", "drain")


def test_admin_turns_storage_off_and_on(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    client, off = client_for(admin_user), values()
    del off["stores_answers"]
    for posted, stores in ((off, False), (values(), True)):
        assert client.post(SETTINGS, posted).status_code == 302
        acme.refresh_from_db()
        assert (acme.stores_answers, acme.ai_gateway_enabled) == (stores, True)


def test_stale_page_does_not_undo_later_changes(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    client = client_for(admin_user)
    rendered = as_rendered(page_of(client))
    assert len(rendered) == 5
    Organization.objects.filter(pk=acme.pk).update(ai_gateway_enabled=False)
    client.post(SETTINGS, values(name="Renamed") | rendered)
    acme.refresh_from_db()
    assert (acme.name, acme.ai_gateway_enabled) == ("Renamed", False)


def test_turning_gateway_off_requires_confirmation_and_keeps_input(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    client = client_for(admin_user)
    off = values(name="Acme <& Sons>") | as_rendered(page_of(client))
    del off["ai_gateway_enabled"]
    asked = client.post(SETTINGS, off).content.decode()
    assert "Turn the AI Gateway off for Acme?" in asked
    assert is_on(acme)
    sent_again = re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)"', asked)
    again = {name: unescape(value) for name, value in sent_again}
    assert again.pop("form_organization") == str(acme.pk)
    again.pop("csrfmiddlewaretoken")
    assert again == off
    assert client.post(SETTINGS, again | {"turn_off": "yes"}).status_code == 302
    acme.refresh_from_db()
    assert (acme.ai_gateway_enabled, acme.name) == (False, "Acme <& Sons>")


def test_turning_gateway_on_requires_no_confirmation(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    Organization.objects.filter(pk=acme.pk).update(ai_gateway_enabled=False)
    client = client_for(admin_user)
    off = values(name="Still off") | as_rendered(page_of(client))
    del off["ai_gateway_enabled"]
    assert client.post(SETTINGS, off).status_code == 302
    assert client.post(SETTINGS, values() | as_rendered(page_of(client))).status_code == 302
    assert is_on(acme)


@pytest.mark.parametrize(
    "change",
    [{"name": ""}, {"name": "x" * 201}, {"timezone": "Mars"}, {"on_disconnect": "hang"}],
)
def test_invalid_input_shows_error_and_is_kept(
    client_for: CLIENTS, acme: Organization, admin_user: User, change: dict[str, str]
) -> None:
    typed = {"name": "Typed name"} | change
    answer = client_for(admin_user).post(SETTINGS, values(**typed))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "errorlist" in page
    assert typed["name"] in page
    acme.refresh_from_db()
    assert acme.name == "Acme"


@pytest.mark.parametrize("who", ["member_user", "auditor_user"])
def test_non_admins_can_view_but_not_change(
    request: pytest.FixtureRequest,
    client_for: CLIENTS,
    acme: Organization,
    admin_user: User,
    who: str,
) -> None:
    client = client_for(request.getfixturevalue(who))
    page = page_of(client)
    assert "Europe/Paris" in page
    assert admin_user.email in page
    assert ">Save</button>" not in page
    member = f"{SETTINGS}/members/{membership_of(admin_user).pk}"
    posts = (
        SETTINGS,
        f"{SETTINGS}/members",
        f"{member}/role",
        f"{member}/link",
        f"{member}/remove",
    )
    for path in posts:
        answer = client.post(path, values(name="Mine", role="auditor", email="x@y.example"))
        assert answer.status_code == 403, path
    acme.refresh_from_db()
    assert (acme.name, acme.memberships.count()) == ("Acme", 2)


def test_user_without_organization_gets_message(client: Client, stranger: User) -> None:
    Membership.objects.all().delete()
    client.force_login(stranger)
    answer = client.get(SETTINGS)
    assert answer.status_code == 403
    assert "You do not belong to an organization yet" in answer.content.decode()


# --- members --------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["admin_user", "auditor_user"])
def test_members_can_be_exported(
    request: pytest.FixtureRequest, client_for: CLIENTS, stranger: User, who: str
) -> None:
    user: User = request.getfixturevalue(who)
    User.objects.filter(pk=user.pk).update(name="=1+1")
    client = client_for(user)
    assert f'href="{SETTINGS}/members.csv"' in page_of(client)
    answer = client.get(f"{SETTINGS}/members.csv")
    assert answer["Content-Disposition"] == 'attachment; filename="members.csv"'
    member = membership_of(user)
    assert answer.getvalue().decode().splitlines() == [
        "memberId,email,name,role,active,hasPassword,accepted,addressConfirmed",
        f"{member.pk},{user.email},'=1+1,{member.role},True,True,True,False",
    ]
    [row] = json.loads(client.get(f"{SETTINGS}/members.json").getvalue())
    assert (row["email"], row["name"], row["active"]) == (user.email, "=1+1", True)


def link_in(answer: Any) -> str:
    found = re.search(r"http://testserver(/welcome/[^<]+)", answer.content.decode())
    assert found is not None
    assert "no-store" in answer["Cache-Control"]
    return found[1]


def invite(client: Client, email: str = "new@acme.example", role: str = "auditor") -> str:
    return link_in(client.post(f"{SETTINGS}/members", {"email": email, "role": role}))


def test_link_of_invitation_is_shown_once(client_for: CLIENTS, admin_user: User) -> None:
    client = client_for(admin_user)
    link = invite(client)
    assert "/welcome/" not in page_of(client)
    assert "has not accepted yet" in page_of(client)
    assert "address unconfirmed" in page_of(client)
    assert admin_user.email in Client().get(link).content.decode()
    password = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    assert Client().post(link, password).status_code == 302
    assert "has not accepted yet" not in page_of(client)


def test_invitation_of_account_shows_same_as_of_unknown_address(
    client_for: CLIENTS, acme: Organization, admin_user: User, stranger: User
) -> None:
    client = client_for(admin_user)
    invite(client, stranger.email)
    invite(client, "unknown@globex.example")
    assert acme.memberships.count() == 1
    row = re.compile(r"<tr role=.row.>.*?</tr>", re.DOTALL)
    shown = [each for each in row.findall(page_of(client)) if "globex.example" in each]
    ids = r'/members/[0-9a-f-]{36}/|value="\w{64}"'
    same = {
        re.sub(ids, "", each).replace(email, "")
        for each in shown
        for email in (stranger.email, "unknown@globex.example")
        if email in each
    }
    assert (len(shown), len(same)) == (2, 1)


def test_lost_link_can_be_replaced(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    client = client_for(admin_user)
    lost = invite(client)
    row = f"{SETTINGS}/members/{acme.invitations.get().pk}"
    newer = link_in(client.post(f"{row}/link"))
    other_role = link_in(client.post(f"{row}/role", {"role": "member"}))
    statuses = [Client().get(link).status_code for link in (lost, newer, other_role)]
    assert statuses == [410, 410, 200]
    assert acme.invitations.get().role == "member"
    wrong = client.post(f"{row}/role", {"role": "king"}, follow=True)
    assert "The role must be" in wrong.content.decode()
    refused = client.post(f"{SETTINGS}/members/{membership_of(admin_user).pk}/link", follow=True)
    assert "Change your own password on your profile page" in refused.content.decode()


def test_member_without_password_gets_link(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    waiting = MembershipFactory.create(org=acme, user__password="!")
    client = client_for(admin_user)
    assert "has not set a password yet" in page_of(client)
    assert f"{SETTINGS}/members/{waiting.pk}/link" in page_of(client)
    link_in(client.post(f"{SETTINGS}/members/{waiting.pk}/link"))


def test_expired_link_is_marked(client_for: CLIENTS, acme: Organization, admin_user: User) -> None:
    client = client_for(admin_user)
    invite(client)
    assert "the link has expired" not in page_of(client)
    acme.invitations.update(link_created_at=now() - timedelta(days=3))
    assert "the link has expired" in page_of(client)


def test_removal_of_invitation_requires_confirmation(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    client = client_for(admin_user)
    link = invite(client)
    path = f"{SETTINGS}/members/{acme.invitations.get().pk}/remove"
    assert "The link that was sent stops working." in client.get(path).content.decode()
    assert acme.invitations.exists()
    answer = client.post(path, follow=True)
    assert "Removed the invitation of new@acme.example." in answer.content.decode()
    assert Client().get(link).status_code == 410
    assert client.post(path).status_code == 404


def test_confirmed_address_has_no_mark(client_for: CLIENTS, admin_user: User) -> None:
    client = client_for(admin_user)
    assert ">address unconfirmed<" in page_of(client)
    User.objects.update(email_confirmed_at=now())
    assert ">address unconfirmed<" not in page_of(client)


@pytest.mark.parametrize("email", ["no address", "admin@acme.example", ""])
def test_add_member_error_is_at_its_field(
    client_for: CLIENTS, admin_user: User, email: str
) -> None:
    answer = client_for(admin_user).post(f"{SETTINGS}/members", {"email": email, "role": "member"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "errorlist" in page.split("Add a member")[1]
    assert f'value="{email}"' in page or not email


def test_role_change_on_page(client_for: CLIENTS, admin_user: User, member_user: User) -> None:
    client = client_for(admin_user)
    path = f"{SETTINGS}/members/{membership_of(member_user).pk}/role"
    client.post(path, {"role": "admin"})
    assert membership_of(member_user).role == "admin"
    page = client.post(path, {"role": "king"}, follow=True).content.decode()
    assert "The role must be" in page


def test_last_admin_error_is_shown(client_for: CLIENTS, admin_user: User) -> None:
    client = client_for(admin_user)
    path = f"{SETTINGS}/members/{membership_of(admin_user).pk}"
    for answer in (
        client.post(f"{path}/role", {"role": "member"}, follow=True),
        client.post(f"{path}/remove", follow=True),
    ):
        assert "is the last admin" in answer.content.decode()
    assert membership_of(admin_user).role == "admin"


def test_removal_requires_confirmation(
    client_for: CLIENTS, acme: Organization, admin_user: User, member_user: User
) -> None:
    operations.create_key(org=acme, name="ci", owner=member_user)
    client = client_for(admin_user)
    path = f"{SETTINGS}/members/{membership_of(member_user).pk}/remove"
    assert "Their 1 API key is revoked." in client.get(path).content.decode()
    assert acme.memberships.filter(user=member_user).exists()
    answer = client.post(path, follow=True)
    assert "Keys revoked: 1" in answer.content.decode()
    assert not acme.memberships.filter(user=member_user).exists()


@pytest.mark.parametrize("what", ["role", "link", "remove"])
def test_foreign_and_malformed_member_ids_are_404(
    client_for: CLIENTS, admin_user: User, stranger: User, what: str
) -> None:
    client = client_for(admin_user)
    theirs = membership_of(stranger)
    invited = invitations.invite(org=theirs.org, email="x@globex.example", role="admin")
    for member_id in (theirs.pk, invited.invitation.pk, "0" * 32, "nonsense"):
        answer = client.post(f"{SETTINGS}/members/{member_id}/{what}", {"role": "member"})
        assert answer.status_code == 404
    assert membership_of(stranger).role == "admin"
    assert Client().get(invited.path).status_code == 200


# --- working in another organization ----------------------------------------------------------


def test_switched_organization_is_active(
    client_for: CLIENTS, acme: Organization, globex: Organization, member_user: User
) -> None:
    MembershipFactory.create(org=globex, user=member_user)
    client = client_for(member_user)
    assert ">Acme</dd>" in page_of(client)
    answer = client.post(
        "/organizations/switch", {"organization": str(globex.pk), "next": SETTINGS}
    )
    assert answer["Location"] == SETTINGS
    assert ">Globex</dd>" in page_of(client)


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example/", ""])
def test_switch_redirects_only_to_this_site(
    client_for: CLIENTS, acme: Organization, member_user: User, wanted: str
) -> None:
    answer = client_for(member_user).post(
        "/organizations/switch", {"organization": str(acme.pk), "next": wanted}
    )
    assert answer["Location"] == "/"


def test_switch_to_foreign_organization_is_404(
    client_for: CLIENTS, globex: Organization, member_user: User
) -> None:
    client = client_for(member_user)
    for org_id in (str(globex.pk), "nonsense", ""):
        answer = client.post("/organizations/switch", {"organization": org_id})
        assert answer.status_code == 404
    assert client.get("/organizations/switch").status_code == 405
