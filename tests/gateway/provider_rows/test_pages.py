"""The pages of providers: operators have the installation's, admins their organization's."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from gateway.models import Provider
from gateway.provider_rows.operations import INSTALLATION_ROWS_MAX, ORGANIZATION_ROWS_MAX
from gateway.providers.rows import config_of
from orgs.fields import new_id
from orgs.models import HistoryEvent, Organization, User
from tests.cast import CLIENTS
from tests.factories import MembershipFactory, ProviderFactory, RateFactory, UserFactory
from tests.gateway.local_rows import make_row
from tests.gateway.small_vendor import SmallVendor

pytestmark = pytest.mark.django_db

PROVIDERS = "/admin/ai/providers"
CREATE = f"{PROVIDERS}/create"
SECRET = "canary-77ab01e9d2"
TYPED = {
    "owner": "organization",
    "name": "Azure-EU",
    "base_url": "https://acme.openai.azure.com/openai/v1",
    "secret": SECRET,
    "models": "gpt-4o=prod-4o\ngpt-4o-mini",
    "regions": "EU, de",
}


@pytest.fixture
def both(client_for: CLIENTS, acme: Organization) -> Client:
    """An operator who is an admin of Acme, too."""
    user = UserFactory.create(is_staff=True, is_superuser=True)
    MembershipFactory.create(org=acme, user=user, role="admin")
    return client_for(user)


def edited(row: Provider, **changes: object) -> dict[str, object]:
    """Return what the form of a row sends, with changes."""
    sent = {
        **{"name": row.name, "title": row.title, "base_url": row.base_url, "auth": row.auth},
        **{"dialects": row.dialects, "takes_stream_options": "on"},
        **{"keeps": "on" if row.keeps else "off"},
    }
    return sent | changes


def test_admin_adds_row_of_organization(acme: Organization, admin: Client) -> None:
    response = admin.post(CREATE, TYPED, follow=True)
    row = Provider.objects.get()
    assert (row.org, row.name, row.title) == (acme, "azure-eu", "Azure OpenAI")
    assert (row.models, row.names) == (["gpt-4o", "gpt-4o-mini"], {"gpt-4o": "prod-4o"})
    assert (row.regions, row.family, row.keeps) == (["eu", "de"], "openai", True)
    assert config_of(row).headers == {"api-key": SECRET}
    page = response.content.decode()
    assert "Provider &quot;azure-eu&quot; added." in page
    assert "https://acme.openai.azure.com/openai/v1" in page
    assert SECRET not in page
    assert row.secret not in page


def test_prices_of_removed_row_are_not_taken_over_on_page(admin: Client) -> None:
    RateFactory.create(provider="azure-eu", model="gpt-4o")
    response = admin.post(CREATE, TYPED, follow=True)
    assert "There are prices for a provider &quot;azure-eu&quot;" in response.content.decode()
    assert not Provider.objects.exists()


def test_prices_of_removed_row_are_not_taken_over_by_new_name(
    acme: Organization, admin: Client
) -> None:
    RateFactory.create(provider="removed", model="gpt-4o")
    RateFactory.create(provider="mine", model="gpt-4o")
    row = ProviderFactory.create(org=acme, name="mine")
    response = admin.post(f"{PROVIDERS}/{row.pk}", edited(row, name="Removed"))
    assert "There are prices for a provider &quot;removed&quot;" in response.content.decode()
    assert admin.post(f"{PROVIDERS}/{row.pk}", edited(row, title="New")).status_code == 302
    assert Provider.objects.get().name == "mine"


def test_operator_adds_row_of_installation(operator: Client) -> None:
    operator.post(CREATE, TYPED | {"owner": "installation"})
    assert Provider.objects.get().org is None
    page = operator.get(PROVIDERS).content.decode()
    assert "All organizations, from the environment" in page
    assert "azure-eu" in page


def test_operator_and_admin_chooses_for_whom(both: Client, acme: Organization) -> None:
    both.post(CREATE, TYPED)
    both.post(CREATE, TYPED | {"owner": "installation", "name": "other"})
    assert {row.name: row.org for row in Provider.objects.all()} == {
        "azure-eu": acme,
        "other": None,
    }


def test_admin_cannot_add_row_of_installation(admin: Client) -> None:
    response = admin.post(CREATE, TYPED | {"owner": "installation"})
    assert "owner" in response.context["form"].errors
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": "openai"}, "name", "is reserved"),
        ({"name": "a b"}, "name", "letters, digits"),
        ({"base_url": "http://models.example.org/v1"}, "base_url", "must start with https"),
        ({"base_url": "https://127.0.0.1/v1"}, "base_url", "not a public address"),
        ({"base_url": "https://10.0.0.1/v1"}, "base_url", "not a public address"),
        ({"base_url": "https://169.254.169.254/v1"}, "base_url", "not a public address"),
        ({"base_url": "https://2130706433/v1"}, "base_url", "valid URL"),
        ({"secret": ""}, "secret", "needs a secret"),
        ({"secret": "two\nlines"}, "secret", "one line"),
        ({"auth": "google", "secret": ""}, "secret", "Only an operator's command"),
        ({"auth": "magic"}, "auth", "The authentication must be"),
        ({"headers": "authorization=x"}, "headers", "carries credentials"),
        ({"headers": "nothing"}, "headers", "NAME=VALUE"),
        ({"dropped": "model"}, "dropped", "cannot be dropped"),
        ({"weight": "1001"}, "weight", "between 0 and 1000"),
        ({"total_s": "0"}, "total_s", "between 0.1 and 86400"),
        ({"models": "a b"}, "models", "not a valid model name"),
        ({"base_url": "https://[::1"}, "base_url", "Not a valid URL"),
        ({"base_url": "https://[::1", "preset": "deepseek"}, "base_url", "Not a valid URL"),
    ],
)
def test_invalid_value_is_error_at_its_field(
    admin: Client, changes: dict[str, str], field: str, sentence: str
) -> None:
    response = admin.post(CREATE, TYPED | changes)
    assert response.status_code == 200
    form = response.context["form"]
    assert list(form.errors) == [field]
    assert sentence in form.errors[field][0]
    assert SECRET not in response.content.decode()
    assert not Provider.objects.exists()


def test_admin_edits_row_and_keeps_secret(admin: Client) -> None:
    admin.post(CREATE, TYPED)
    row = Provider.objects.get()
    page = admin.get(f"{PROVIDERS}/{row.pk}").content.decode()
    assert "gpt-4o=prod-4o\ngpt-4o-mini" in page
    assert SECRET not in page
    sent = edited(row, title="Azure", weight=2, models="gpt-4o=other")
    assert admin.post(f"{PROVIDERS}/{row.pk}", sent).status_code == 302
    changed = Provider.objects.get()
    assert (changed.title, changed.weight, changed.names) == ("Azure", 2, {"gpt-4o": "other"})
    assert config_of(changed).secret == SECRET


def test_secret_is_not_sent_to_new_address(admin: Client) -> None:
    admin.post(CREATE, TYPED)
    row = Provider.objects.get()
    for changes in (
        {"base_url": "https://attacker.example.org/v1"},
        {"base_urls": "chat=https://attacker.example.org/v1"},
        {"auth": "query:key"},
    ):
        response = admin.post(f"{PROVIDERS}/{row.pk}", edited(row, **changes))
        assert "Enter the secret again" in response.context["form"].errors["secret"][0]
    response = admin.post(
        f"{PROVIDERS}/{row.pk}",
        edited(row, base_url="https://other.example.org/v1", secret="another"),
    )
    assert response.status_code == 302
    config = config_of(Provider.objects.get())
    assert (config.base_url, config.secret) == ("https://other.example.org/v1", "another")


def test_secret_that_is_not_needed_is_removed(admin: Client) -> None:
    admin.post(CREATE, TYPED)
    row = Provider.objects.get()
    assert admin.post(f"{PROVIDERS}/{row.pk}", edited(row, auth="None")).status_code == 302
    changed = Provider.objects.get()
    assert (changed.auth, changed.secret, config_of(changed).fault) == ("none", "", None)


def test_page_cannot_move_row_that_command_let_reach_private_addresses(
    admin: Client, acme: Organization
) -> None:
    row = ProviderFactory.create(org=acme, base_url="http://10.0.0.1/v1", allow_private=True)
    assert admin.post(f"{PROVIDERS}/{row.pk}", edited(row, title="Ours")).status_code == 302
    sent = edited(row, base_url="http://10.0.0.2/v1")
    response = admin.post(f"{PROVIDERS}/{row.pk}", sent)
    assert "base_url" in response.context["form"].errors
    kept = Provider.objects.get()
    assert (kept.title, kept.base_url, kept.allow_private) == ("Ours", "http://10.0.0.1/v1", True)


def test_secret_is_rotated(admin: Client) -> None:
    admin.post(CREATE, TYPED)
    row = Provider.objects.get()
    response = admin.post(f"{PROVIDERS}/{row.pk}/secret", {"secret": "newer"}, follow=True)
    assert "was rotated" in response.content.decode()
    assert "newer" not in response.content.decode()
    assert config_of(Provider.objects.get()).secret == "newer"


def test_row_is_toggled_and_removed(acme: Organization, admin: Client) -> None:
    row = ProviderFactory.create(org=acme)
    admin.post(f"{PROVIDERS}/{row.pk}/toggle", {"enabled": "off"})
    assert not Provider.objects.get().enabled
    assert f"Remove “{row.name}”?" in admin.get(f"{PROVIDERS}/{row.pk}/delete").content.decode()
    admin.post(f"{PROVIDERS}/{row.pk}/delete")
    assert not Provider.objects.exists()
    events = HistoryEvent.objects.order_by("id").values_list("event", "org_id", "actor_kind")
    assert list(events) == [
        ("provider_changed", acme.pk, "person"),
        ("provider_deleted", acme.pk, "person"),
    ]


def test_check_shows_answer(acme: Organization, admin: Client) -> None:
    row = ProviderFactory.create(org=acme, base_url="https://models.invalid/v1")
    page = admin.post(f"{PROVIDERS}/check", {"name": row.name}).content.decode()
    assert "the host name could not be resolved" in page


def test_check_says_that_more_models_are_listed_than_shown(operator: Client) -> None:
    with SmallVendor() as server:
        listed = [{"id": f"m{n}"} for n in range(3_000)]
        server.answers("/v1/models", json.dumps({"data": listed}).encode())
        make_row("local", base_url=f"{server.url}/v1", auth="none", secret="")
        page = operator.post(f"{PROVIDERS}/check", {"name": "local"}).content.decode()
    assert "lists 3000 models. The first 500 are shown." in page
    assert page.count('name="model"') == 500


def test_admin_takes_models(acme: Organization, admin: Client) -> None:
    row = ProviderFactory.create(org=acme, models=["a"])
    admin.post(f"{PROVIDERS}/{row.pk}/models", {"model": ["a", "b", "org/c"]})
    assert Provider.objects.get().models == ["a", "b", "org/c"]
    page = admin.post(f"{PROVIDERS}/{row.pk}/models", {"model": "no name"}, follow=True)
    assert "not a valid model name" in page.content.decode()


def test_members_and_auditors_can_only_view(
    acme: Organization, client_for: CLIENTS, member_user: User, auditor_user: User
) -> None:
    row = ProviderFactory.create(org=acme)
    for user in (member_user, auditor_user):
        client = client_for(user)
        page = client.get(PROVIDERS).content.decode()
        assert row.name in page
        assert "Add provider" not in page
        for address in (CREATE, f"{PROVIDERS}/{row.pk}", f"{PROVIDERS}/{row.pk}/secret"):
            assert client.get(address).status_code == 403
            assert client.post(address, TYPED).status_code == 403
        for name in ("toggle", "models", "delete"):
            assert client.post(f"{PROVIDERS}/{row.pk}/{name}").status_code == 403
        assert client.post(f"{PROVIDERS}/check", {"name": row.name}).status_code == 404
    assert Provider.objects.get().enabled


def test_rows_of_others_are_not_there(
    acme: Organization, globex: Organization, admin: Client, operator: Client, both: Client
) -> None:
    theirs = ProviderFactory.create(org=globex, name="theirs")
    ours = ProviderFactory.create(name="of-installation", base_url="https://secret.example.org/v1")
    for client, hidden in (
        (admin, (theirs, ours)),
        (both, (theirs,)),
    ):
        page = client.get(PROVIDERS).content.decode()
        for row in hidden:
            assert row.name not in page
            assert row.base_url not in page
            for address in ("", "/secret", "/delete"):
                assert client.get(f"{PROVIDERS}/{row.pk}{address}").status_code == 404
            for address in ("", "/secret", "/toggle", "/models", "/delete"):
                assert client.post(f"{PROVIDERS}/{row.pk}{address}", TYPED).status_code == 404
    for row in (theirs, ours):
        assert admin.post(f"{PROVIDERS}/check", {"name": row.name}).status_code == 404
    page = operator.get(PROVIDERS).content.decode()
    assert "theirs" not in page
    assert "of-installation" in page
    assert operator.get(f"{PROVIDERS}/{theirs.pk}").status_code == 404
    assert Provider.objects.filter(enabled=True).count() == 2


def test_unknown_ids_are_404(admin: Client, operator: Client) -> None:
    for row_id in (new_id(), "x"):
        assert admin.get(f"{PROVIDERS}/{row_id}").status_code == 404
        assert operator.get(f"{PROVIDERS}/{row_id}").status_code == 404


def test_number_of_rows_is_limited(acme: Organization, both: Client) -> None:
    ProviderFactory.create_batch(ORGANIZATION_ROWS_MAX, org=acme)
    assert "can have at most 20" in both.post(CREATE, TYPED).content.decode()
    ProviderFactory.create_batch(INSTALLATION_ROWS_MAX)
    page = both.post(CREATE, TYPED | {"owner": "installation"}).content.decode()
    assert "can have at most 200" in page


def test_changes_require_post_and_csrf_token(acme: Organization, admin_user: User) -> None:
    row = ProviderFactory.create(org=acme)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(CREATE, TYPED).status_code == 403
    assert client.get(f"{PROVIDERS}/{row.pk}/toggle").status_code == 405
