"""Policies and forms that name rows of providers and their models."""

from __future__ import annotations

from functools import partial

import pytest
from django.urls import reverse

from gateway.models import Policy
from gateway.providers.known import known_models
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.commands import output_of
from tests.factories import RateFactory
from tests.gateway.local_rows import make_row

pytestmark = pytest.mark.django_db

POLICIES = "/admin/ai/policies"
CREATE = f"{POLICIES}/create"
policies = partial(output_of, "policies")


def test_rows_of_organization_and_installation_can_be_named(
    acme: Organization, globex: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    for name, org in (("azure-eu", None), ("local", acme), ("theirs", globex)):
        make_row(name, org=org)
    client = client_for(admin_user)
    page = client.get(CREATE).content.decode()
    assert ("azure-eu" in page, "local" in page, "theirs" in page) == (True, True, False)
    response = client.post(CREATE, {"name": "P", "providers": ["theirs"]})
    assert "Must be among" in str(response.context["form"].errors["providers"])
    policies("create", "acme", "--name", "P", "--providers", "local,azure-eu,openai")
    assert Policy.objects.get().applies_to == {"provider": ["openai", "azure-eu", "local"]}


def test_removed_row_stays_in_its_policy(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    row = make_row("local")
    policies("create", "acme", "--name", "P", "--providers", "local")
    row.delete()
    policies("update", "acme", "P", "--rpm", "5")
    policy = Policy.objects.get()
    assert policy.applies_to == {"provider": ["local"]}
    page = client_for(admin_user).get(f"{POLICIES}/{policy.pk}").content.decode()
    assert "local (removed)" in page


def test_entries_of_rows_are_known_by_listed_and_priced_models(
    acme: Organization, globex: Organization
) -> None:
    make_row("azure-eu", models=["gpt-4o"], regions=["EU"])
    make_row("open")
    make_row("theirs", org=globex, regions=["us"])
    RateFactory.create(provider="azure-eu", model="only-priced")
    known = known_models(acme.pk)
    entries = [
        *("azure-eu/*", "Azure-EU/GPT-4o", "azure-eu/only-priced", "only-priced", "region:eu"),
        *("region:*", "open/anything", "gpt-4o", "openai/*"),
    ]
    assert known.unknown(entries) == []
    wrong = ["azure-eu/gpt-5", "region:us", "theirs/*", "theirs/x", "nothing"]
    assert known.unknown(wrong) == wrong
    assert {"azure-eu/gpt-4o", "azure-eu/only-priced"} <= {*known.names}
    assert not [name for name in known.names if name.startswith("theirs")]


@pytest.mark.parametrize("page", ["policy-create", "budget-create", "key-create", "playground"])
def test_forms_suggest_rows_models(
    acme: Organization, client_for: CLIENTS, admin_user: User, page: str
) -> None:
    make_row("local", models=["Llama-3"], org=acme)
    assert "local/Llama-3" in client_for(admin_user).get(reverse(page)).content.decode()
