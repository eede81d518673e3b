"""The pages of aliases: admins change them, all members can view them."""

from __future__ import annotations

import json

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from gateway.aliases.operations import ALIASES_MAX
from gateway.models import ModelAlias
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.factories import AliasFactory

pytestmark = pytest.mark.django_db

ALIASES = "/admin/ai/aliases"
CREATE = "/admin/ai/aliases/create"
TYPED = {"name": "fast", "models": "gpt-4o-mini\n Claude-3-5-Sonnet ,", "retries": "2"}


@pytest.fixture
def admin(acme: Organization, client_for: CLIENTS, admin_user: User) -> Client:
    """Acme's admin; one alias exists."""
    AliasFactory.create(org=acme, name="smart")
    return client_for(admin_user)


def version(organization: Organization) -> int:
    return Organization.objects.get(pk=organization.pk).config_version


def test_admin_creates_alias_as_typed(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    response = client_for(admin_user).post(CREATE, TYPED, follow=True)
    alias = ModelAlias.objects.get(org=acme)
    assert (alias.name, alias.retries, alias.enabled) == ("fast", 2, True)
    assert alias.models == ["gpt-4o-mini", "Claude-3-5-Sonnet"]
    page = response.content.decode()
    assert "Alias &quot;fast&quot; created." in page
    assert (
        "Calls gpt-4o-mini, then Claude-3-5-Sonnet; each is retried up to 2 times after a "
        "temporary failure."
    ) in page


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("name", "", "required"),
        ("name", "a b", "begin with a letter"),
        ("name", "gpt-4", "is a model name"),
        ("name", "x" * 101, "at most 100"),
        ("models", "", "Enter at least one model"),
        ("models", "gpt 4", "is not a valid model name"),
        ("models", "gpt-*", "Unknown model"),
        ("models", "smart", "is an alias"),
        ("models", "gpt-4o,openai/gpt-4o", "are the same model"),
        ("retries", "6", "less than or equal to 5"),
        ("retries", "-1", "greater than or equal to 0"),
        ("retries", "", "required"),
    ],
)
def test_invalid_value_is_error_at_its_field_and_input_is_kept(
    admin: Client, field: str, text: str, sentence: str
) -> None:
    response = admin.post(CREATE, TYPED | {field: text})
    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    assert sentence in response.context["form"].errors[field][0]
    assert f'id="id_{field}_error"' in response.content.decode()
    assert ModelAlias.objects.count() == 1


def test_name_is_unique_ignoring_case(
    acme: Organization, globex: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    AliasFactory.create(org=acme, name="FAST")
    other = AliasFactory.create(org=acme, name="other")
    AliasFactory.create(org=globex, name="elsewhere")
    client = client_for(admin_user)
    for address in (CREATE, f"{ALIASES}/{other.pk}"):
        assert "already exists" in client.post(address, TYPED).content.decode()
    client.post(CREATE, TYPED | {"name": "elsewhere"})
    assert ModelAlias.objects.filter(org=acme).count() == 3


@pytest.mark.parametrize("values", [{"name": "FAST"}, {"retries": 6}, {"name": ""}])
def test_database_enforces_rules(acme: Organization, values: dict[str, object]) -> None:
    AliasFactory.create(org=acme, name="fast")
    with pytest.raises(IntegrityError), transaction.atomic():
        AliasFactory.create(org=acme, **values)


def test_every_change_raises_config_version_even_in_sql(
    acme: Organization, globex: Organization
) -> None:
    versions = [version(acme)]
    alias = AliasFactory.create(org=acme)
    for statement in (
        "UPDATE model_alias SET enabled = NOT enabled",
        "UPDATE model_alias SET retries = 1",
        "DELETE FROM model_alias",
    ):
        versions.append(version(acme))
        with connection.cursor() as cursor:
            cursor.execute(statement)
            assert cursor.rowcount == 1
    versions.append(version(acme))
    assert versions == sorted(set(versions))
    moved = AliasFactory.create(org=acme, name=alias.name)
    before = version(acme), version(globex)
    ModelAlias.objects.filter(pk=moved.pk).update(org=globex)
    assert version(acme) > before[0]
    assert version(globex) > before[1]


def test_number_of_aliases_is_limited(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    AliasFactory.create_batch(ALIASES_MAX, org=acme)
    assert "can have at most" in client_for(admin_user).post(CREATE, TYPED).content.decode()


def test_unknown_model_is_warning(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    typed = TYPED | {"models": "gpt-4o\ngpt-44\nclaude-3-5-sonnet-20240620"}
    page = client_for(admin_user).post(CREATE, typed, follow=True).content.decode()
    assert "Unknown model: gpt-44." in page
    assert ModelAlias.objects.filter(org=acme).exists()


def test_admin_edits_and_toggles_alias(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    alias = AliasFactory.create(org=acme, name="fast")
    client = client_for(admin_user)
    assert "gpt-4o-mini</textarea>" in client.get(f"{ALIASES}/{alias.pk}").content.decode()
    client.post(f"{ALIASES}/{alias.pk}", TYPED | {"name": "faster"})
    alias.refresh_from_db()
    assert (alias.name, alias.retries, len(alias.models)) == ("faster", 2, 2)
    for enabled in (False, False, True):
        client.post(f"{ALIASES}/{alias.pk}/toggle", {"enabled": "on" if enabled else "off"})
        alias.refresh_from_db()
        assert alias.enabled is enabled


def test_deleting_asks_first(acme: Organization, client_for: CLIENTS, admin_user: User) -> None:
    alias = AliasFactory.create(org=acme, name="old")
    client = client_for(admin_user)
    assert "Delete “old”?" in client.get(f"{ALIASES}/{alias.pk}/delete").content.decode()
    assert ModelAlias.objects.filter(pk=alias.pk).exists()
    client.post(f"{ALIASES}/{alias.pk}/delete")
    assert not ModelAlias.objects.filter(pk=alias.pk).exists()


def test_htmx_request_gets_only_dialog(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    alias = AliasFactory.create(org=acme, name="old")
    asked = client_for(admin_user).get(
        f"{ALIASES}/{alias.pk}/delete", headers={"HX-Request": "true"}
    )
    assert "Delete “old”?" in asked.content.decode()
    assert "<html" not in asked.content.decode()


def test_aliases_are_exported_as_files(
    acme: Organization, globex: Organization, client_for: CLIENTS, auditor_user: User
) -> None:
    client = client_for(auditor_user)
    assert "aliases.csv" not in client.get(ALIASES).content.decode()
    alias = AliasFactory.create(org=acme, name="fast", models=["gpt-4o-mini", "gpt-4o"])
    AliasFactory.create(org=globex, name="theirs")
    page = client.get(ALIASES).content.decode()
    assert f'href="{ALIASES}.csv"' in page
    assert f'href="{ALIASES}.json"' in page
    lines = client.get(f"{ALIASES}.csv").getvalue().decode().splitlines()
    assert lines == [
        "aliasId,name,models,retries,enabled",
        f"{alias.pk},fast,gpt-4o-mini gpt-4o,{alias.retries},True",
    ]
    [row] = json.loads(client.get(f"{ALIASES}.json").getvalue())
    assert row["models"] == ["gpt-4o-mini", "gpt-4o"]


def test_members_and_auditors_can_only_view(
    acme: Organization, client_for: CLIENTS, member_user: User, auditor_user: User
) -> None:
    alias = AliasFactory.create(org=acme, name="kept")
    for user in (member_user, auditor_user):
        client = client_for(user)
        page = client.get(ALIASES).content.decode()
        assert "kept" in page
        assert "Create alias" not in page
        for address in (CREATE, f"{ALIASES}/{alias.pk}", f"{ALIASES}/{alias.pk}/delete"):
            assert client.get(address).status_code == 403
            assert client.post(address, TYPED).status_code == 403
        toggled = client.post(f"{ALIASES}/{alias.pk}/toggle", {"enabled": "off"})
        assert toggled.status_code == 403
    assert ModelAlias.objects.get().enabled


def test_foreign_alias_is_404(globex: Organization, client_for: CLIENTS, admin_user: User) -> None:
    foreign = AliasFactory.create(org=globex, name="theirs")
    client = client_for(admin_user)
    assert "theirs" not in client.get(ALIASES).content.decode()
    for alias_id in (foreign.pk, new_id(), "x"):
        for address in (f"{ALIASES}/{alias_id}", f"{ALIASES}/{alias_id}/delete"):
            assert client.get(address).status_code == 404
            assert client.post(address, TYPED).status_code == 404
        assert client.post(f"{ALIASES}/{alias_id}/toggle").status_code == 404
    assert ModelAlias.objects.filter(pk=foreign.pk, enabled=True).exists()


def test_changes_require_post_and_csrf_token(acme: Organization, admin_user: User) -> None:
    alias = AliasFactory.create(org=acme)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(CREATE, TYPED).status_code == 403
    assert client.get(f"{ALIASES}/{alias.pk}/toggle").status_code == 405
