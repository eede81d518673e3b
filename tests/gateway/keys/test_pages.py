"""API keys, as pages."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse
from django.utils.timezone import now

from gateway.keys.snippets import snippets_for
from orgs.auth import credentials
from orgs.core import keys as key_format
from orgs.keys import operations
from orgs.models import ApiKey, Organization, User
from tests.cast import CLIENTS
from tests.factories import ApiKeyFactory, CostEventFactory

pytestmark = pytest.mark.django_db

ALL = {"permissions": ["send", "read", "quote"]}


def path(name: str, key: ApiKey | str | None = None) -> str:
    if key is None:
        return reverse(name)
    return reverse(name, args=[key.pk if isinstance(key, ApiKey) else key])


def shown_key(page: str) -> str:
    found = re.search(r'id="new-key">(pulse_\w+)<', page)
    assert found is not None
    return found[1]


def is_revoked(key: ApiKey) -> bool:
    return ApiKey.objects.get(pk=key.pk).revoked_at is not None


def make(acme: Organization, name: str = "ci", **fields: object) -> ApiKey:
    return operations.create_key(org=acme, name=name, **fields)[0]  # type: ignore[arg-type]  # as given


def test_admin_creates_key_shown_once(
    client_for: CLIENTS, acme: Organization, admin_user: User, member_user: User
) -> None:
    client = client_for(admin_user)
    form = client.get(path("key-create")).content.decode()
    assert ">Key name</label>" in form
    assert ">Create key</button>" in form
    answer = client.post(
        path("key-create"),
        {
            "name": "ci",
            "owner": str(member_user.pk),
            "team_id": "t-1",
            "permissions": ["send", "quote"],
            "expires_days": "30",
        },
    )
    page = answer.content.decode()
    text = shown_key(page)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert "curl http://testserver/api/ai/request" in page
    parsed = key_format.parse(text)
    assert parsed is not None
    record = credentials.key_record(parsed.public)
    assert record is not None
    assert (record.owner_id, record.team_id, record.project_id) == (member_user.pk, "t-1", None)
    assert record.expires_at is not None
    assert timedelta(days=29) < record.expires_at - now() <= timedelta(days=30)
    assert record.permissions == {"send", "quote"}
    assert ApiKey.objects.get(pk=record.id).created_by_id == admin_user.pk
    listing = client.get(path("keys")).content.decode()
    assert "may only send,quote" in listing
    assert text not in listing
    assert parsed.public in listing
    assert text[-4:] in listing


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "taken"}, "name"),
        ({"name": "new", "team_id": "x" * 129}, "team_id"),
        ({"name": "new", "team_id": "two\tparts"}, "team_id"),
        ({"name": "new", "expires_days": "0"}, "expires_days"),
        ({"name": "new", "expires_days": "soon"}, "expires_days"),
        ({"name": "new", "expires_days": "9" * 30}, "expires_days"),
        ({"name": "new", "owner": "nonsense"}, "owner"),
        ({"name": "new", "client_from": "header:cookie"}, "client_from"),
        ({"name": "new", "permissions": [""]}, "permissions"),
        ({"name": "new", "permissions": ["pay"]}, "permissions"),
    ],
)
def test_invalid_value_is_error_at_its_field_and_input_is_kept(
    client_for: CLIENTS, acme: Organization, admin_user: User, values: dict[str, str], field: str
) -> None:
    make(acme, "taken")
    answer = client_for(admin_user).post(path("key-create"), ALL | values | {"client_id": "typed"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert answer.context["form"].errors.keys() == {field}
    assert 'value="typed"' in page
    assert ApiKey.objects.count() == 1


def test_owner_must_be_member(client_for: CLIENTS, admin_user: User, stranger: User) -> None:
    client = client_for(admin_user)
    assert stranger.email not in client.get(path("key-create")).content.decode()
    answer = client.post(path("key-create"), ALL | {"name": "new", "owner": str(stranger.pk)})
    assert answer.context["form"].errors.keys() == {"owner"}


def test_admin_rotates_key(client_for: CLIENTS, acme: Organization, admin_user: User) -> None:
    key, client = make(acme), client_for(admin_user)
    assert (
        "Both are valid until the old one expires"
        in client.get(path("key-rotate", key)).content.decode()
    )
    answer = client.post(path("key-rotate", key), {"overlap_hours": "1"})
    assert "no-store" in answer["Cache-Control"]
    parsed = key_format.parse(shown_key(answer.content.decode()))
    assert parsed is not None
    assert ApiKey.objects.get(public=parsed.public).replaces == key
    key.refresh_from_db()
    assert key.expires_at is not None
    assert key.expires_at <= now() + timedelta(hours=1)
    assert "being replaced" in client.get(path("keys")).content.decode()
    again = client.post(path("key-rotate", key), {"overlap_hours": "1"})
    assert "already been rotated" in again.content.decode()


def test_unlisted_overlap_is_refused(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    answer = client_for(admin_user).post(path("key-rotate", make(acme)), {"overlap_hours": "9999"})
    assert answer.context["form"].errors.keys() == {"overlap_hours"}
    assert ApiKey.objects.count() == 1


def test_revoking_asks_first(client_for: CLIENTS, acme: Organization, admin_user: User) -> None:
    key, client = make(acme), client_for(admin_user)
    assert "This cannot be undone" in client.get(path("key-revoke", key)).content.decode()
    assert not is_revoked(key)
    answer = client.post(path("key-revoke", key), follow=True)
    assert "revoked." in answer.content.decode()
    assert is_revoked(key)
    assert (
        "is already revoked" in client.post(path("key-revoke", key), follow=True).content.decode()
    )


@pytest.mark.parametrize("who", ["member_user", "auditor_user"])
def test_only_admins_change_keys(
    request: pytest.FixtureRequest, client_for: CLIENTS, acme: Organization, who: str
) -> None:
    user: User = request.getfixturevalue(who)
    key, client = make(acme, owner=user), client_for(user)
    listing = client.get(path("keys")).content.decode()
    assert key.public in listing
    assert "Revoke" not in listing.split("</thead>")[1]
    for address in (path("key-create"), path("key-rotate", key), path("key-revoke", key)):
        assert client.get(address).status_code == 403
        assert client.post(address, {"name": "x", "overlap_hours": "1"}).status_code == 403
    assert not is_revoked(key)
    assert ApiKey.objects.count() == 1


def test_members_see_their_own_keys_and_auditors_all(
    client_for: CLIENTS, acme: Organization, member_user: User, auditor_user: User
) -> None:
    own, other = make(acme, "own", owner=member_user), make(acme, "other")
    mine = client_for(member_user).get(path("keys")).content.decode()
    assert own.public in mine
    assert other.public not in mine
    everything = client_for(auditor_user).get(path("keys")).content.decode()
    assert own.public in everything
    assert other.public in everything


def test_unconfirmed_address_of_owner_is_marked(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    make(acme, owner=admin_user)
    client = client_for(admin_user)
    marks = {"keys": "address unconfirmed", "key-create": f"{admin_user.email} (unconfirmed)"}
    for page, mark in marks.items():
        assert mark in client.get(path(page)).content.decode()
    User.objects.update(email_confirmed_at=now())
    for page in marks:
        assert "unconfirmed" not in client.get(path(page)).content.decode()


def test_foreign_and_malformed_keys_do_not_exist(
    client_for: CLIENTS, globex: Organization, admin_user: User
) -> None:
    foreign, client = make(globex), client_for(admin_user)
    assert foreign.public not in client.get(path("keys")).content.decode()
    for name in ("key-rotate", "key-revoke"):
        for key in (foreign, "nonsense", "0" * 32):
            assert client.get(path(name, key)).status_code == 404
            assert client.post(path(name, key), {"overlap_hours": "0"}).status_code == 404
    foreign.refresh_from_db()
    assert (foreign.revoked_at, foreign.expires_at) == (None, None)


def test_every_state_has_label(
    client_for: CLIENTS, acme: Organization, admin_user: User, member_user: User
) -> None:
    make(acme, "works")
    operations.revoke_key(key=make(acme, "closed"))
    ApiKey.objects.filter(pk=make(acme, "late").pk).update(expires_at=now())
    make(acme, "orphan", owner=member_user)
    User.objects.filter(pk=member_user.pk).update(is_active=False)
    lines = client_for(admin_user).get(path("keys")).context["lines"]
    rows = [line.key for line in lines]
    states = {row.name: (row.status, row.can_be_rotated, row.can_be_revoked) for row in rows}
    assert states == {
        "works": ("active", True, True),
        "closed": ("revoked", False, False),
        "late": ("expired", False, True),
        "orphan": ("owner not active", False, True),
    }


def test_empty_list_has_next_step(client_for: CLIENTS, admin_user: User, member_user: User) -> None:
    assert "Create key" in client_for(admin_user).get(path("keys")).content.decode()
    assert "You do not own a key" in client_for(member_user).get(path("keys")).content.decode()


def test_list_is_paged(client_for: CLIENTS, acme: Organization, admin_user: User) -> None:
    made = [ApiKeyFactory.create(org=acme, name=f"key number {n}") for n in range(101)]
    client = client_for(admin_user)
    first = client.get(path("keys"))
    older = first.context["older_than"]
    assert len(first.context["lines"]) == 100
    assert f"?older_than={older}" in first.content.decode()
    second = client.get(path("keys"), {"older_than": str(older)}).context
    assert [line.key.id for line in second["lines"]] == [made[0].pk]
    assert second["older_than"] is None
    assert client.get(path("keys"), {"older_than": "nonsense"}).status_code == 400


def test_times_are_in_organization_time_zone(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    ApiKeyFactory.create(org=acme, last_used_at="2025-07-01T22:30:00Z")
    page = client_for(admin_user).get(path("keys")).content.decode()
    assert "2 Jul 2025, 00:30:00</time>" in page


def test_new_key_has_example_for_each_client(client_for: CLIENTS, admin_user: User) -> None:
    page = client_for(admin_user).post(path("key-create"), ALL | {"name": "ci"}).content.decode()
    text = shown_key(page)
    code = html.unescape(page)
    assert f'OpenAI(base_url="http://testserver/v1", api_key="{text}")' in code
    assert f'Anthropic(base_url="http://testserver", api_key="{text}")' in code
    assert f'-H "x-pulse-key: {text}"' in code
    assert f"ANTHROPIC_AUTH_TOKEN={text}" in code
    assert f'"baseURL": "http://testserver/v1", "apiKey": "{text}"' in code
    snippets = snippets_for(key=text, base_url="http://testserver/", sandbox=True)
    assert code.count("data-copy=") == 1 + len(snippets)


def test_key_cost_is_counted_from_first_of_month(
    client_for: CLIENTS, acme: Organization, globex: Organization, admin_user: User
) -> None:
    key = make(acme)
    zone = ZoneInfo(acme.timezone)
    begins = now().astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for org, at in ((acme, begins), (acme, begins - timedelta(seconds=1)), (globex, begins)):
        CostEventFactory.create(org=org, key_id=key.pk, occurred_at=at, amount_nanoeur=700)
    client = client_for(admin_user)
    [line] = client.get(path("keys")).context["lines"]
    assert line.spent_nanoeur == 700
    [row] = json.loads(client.get("/admin/ai/keys.json").getvalue())
    assert (row["keyId"], row["spentThisMonthEur"]) == (str(key.pk), "0.000000700")
    assert client.get("/admin/ai/keys.csv").getvalue().decode().count("\n") == 2


def test_confirmation_is_page_and_dialog(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    key, client = make(acme), client_for(admin_user)
    for name in ("key-rotate", "key-revoke"):
        page = client.get(path(name, key)).content.decode()
        part = client.get(path(name, key), headers={"HX-Request": "true"}).content.decode()
        assert part.strip().startswith("<article")
        assert "<html" in page
        assert f'action="{path(name, key)}"' in part


def test_form_that_names_no_permission_means_all(
    client_for: CLIENTS, acme: Organization, admin_user: User
) -> None:
    client_for(admin_user).post(path("key-create"), {"name": "ci"})
    assert ApiKey.objects.get(name="ci").permissions == "send,read,quote"
