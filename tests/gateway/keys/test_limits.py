"""A key with limits of its own: form and command make its policy with it, or neither."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.management import CommandError

from gateway.keys.operations import KeyLimits, create_key, policy_name
from gateway.models import Policy
from gateway.policies.operations import POLICIES_MAX
from orgs.keys.operations import NAME_MAX_CHARS, revoke_key, rotate_key
from orgs.models import ApiKey, HistoryEvent, Organization, User
from tests.cast import CLIENTS
from tests.commands import output_of
from tests.factories import ApiKeyFactory, PolicyFactory
from tests.gateway.conftest import Asking

CREATE = "/admin/ai/keys/create"
HELLO: dict[str, Any] = {"model": "sandbox-small", "prompt": "Hello", "maxTokens": 10}
TYPED = {
    "name": "CI",
    "allowed_models": "gpt-4o-mini\nsandbox-large",
    "max_cost_per_day_eur": "2.50",
    "requests_per_minute": "60",
    "tokens_per_minute": "90000",
    "concurrent_requests": "4",
}


def limits_of(policy: Policy) -> tuple[int | None, ...]:
    rates = (policy.requests_per_minute, policy.tokens_per_minute, policy.concurrent_requests)
    return (policy.max_cost_per_day_nanoeur, *rates)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "rate", ["requests_per_minute", "tokens_per_minute", "concurrent_requests"]
)
def test_one_rate_makes_policy_of_key(client_for: CLIENTS, admin_user: User, rate: str) -> None:
    client_for(admin_user).post(CREATE, {"name": "CI", rate: "7"})
    assert getattr(Policy.objects.get(), rate) == 7


@pytest.mark.django_db
def test_form_makes_policy_of_key(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    client = client_for(admin_user)
    page = client.post(CREATE, TYPED).content.decode()
    key, policy = ApiKey.objects.get(org=acme), Policy.objects.get(org=acme)
    assert (policy.name, policy.applies_to) == ('Key "CI"', {"key_id": [str(key.pk)]})
    assert policy.allowed_models == ["gpt-4o-mini", "sandbox-large"]
    assert limits_of(policy) == (2_500_000_000, 60, 90_000, 4)
    assert policy.mode == "on"
    assert "Applies to key CI: allows only gpt-4o-mini and sandbox-large; " in page
    assert f'href="/admin/ai/policies/{policy.pk}"' in page
    listed = client.get("/admin/ai/keys").content.decode()
    assert f'<a href="/admin/ai/policies#policy-{policy.pk}">Key &quot;CI&quot;</a>' in listed
    [row] = json.loads(b"".join(client.get("/admin/ai/keys.json")))
    assert row["policies"] == ['Key "CI"']
    assert {"key_created", "policy_created"} <= set(
        HistoryEvent.objects.filter(org=acme).values_list("event", flat=True)
    )


@pytest.mark.django_db
def test_key_without_limits_has_no_policy(client_for: CLIENTS, admin_user: User) -> None:
    page = client_for(admin_user).post(CREATE, {"name": "plain"}).content.decode()
    assert "pulse_" in page
    assert "Limits</h2>" not in page
    assert not Policy.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("others", [1, POLICIES_MAX])
def test_without_policy_there_is_no_key(
    acme: Organization, client_for: CLIENTS, admin_user: User, others: int
) -> None:
    PolicyFactory.create(org=acme, name='key "ci"')
    PolicyFactory.create_batch(others - 1, org=acme)
    response = client_for(admin_user).post(CREATE, TYPED)
    errors = response.context["form"].errors
    if others == 1:
        assert 'Policy Key "CI" already exists; delete or rename it' in errors["name"][0]
    else:
        assert f"at most {POLICIES_MAX} policies" in errors["__all__"][0]
    assert 'value="2.50"' in response.content.decode()
    assert not ApiKey.objects.exists()
    assert not HistoryEvent.objects.filter(event="key_created").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_cost_per_day_eur", "-1"),
        ("requests_per_minute", "0"),
        ("allowed_models", "two words"),
    ],
)
def test_invalid_limit_is_error_at_its_field(
    client_for: CLIENTS, admin_user: User, field: str, value: str
) -> None:
    response = client_for(admin_user).post(CREATE, TYPED | {field: value})
    assert list(response.context["form"].errors) == [field]
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_command_makes_policy_of_key(acme: Organization) -> None:
    limits = (
        *("--models", "gpt-4o-mini,typo-5", "--max-cost-per-day", "2.50"),
        *("--rpm", "60", "--tpm", "90000", "--concurrent", "4"),
    )
    printed = output_of("keys", "create", "acme", "--name", "CI", *limits)
    policy = Policy.objects.get(org=acme)
    assert policy.applies_to == {"key_id": [str(ApiKey.objects.get().pk)]}
    assert policy.allowed_models == ["gpt-4o-mini", "typo-5"]
    assert limits_of(policy) == (2_500_000_000, 60, 90_000, 4)
    assert 'Created policy Key "CI"' in printed
    assert "Warning: unknown model: typo-5" in printed
    assert re.fullmatch(r"pulse_\w+", printed.splitlines()[-1])
    with pytest.raises(CommandError, match="Max requests per minute"):
        output_of("keys", "create", "acme", "--name", "CD", "--rpm", "0")
    with pytest.raises(CommandError, match='Policy Key "CD" already exists'):
        PolicyFactory.create(org=acme, name='Key "CD"')
        output_of("keys", "create", "acme", "--name", "CD", "--rpm", "1")
    assert ApiKey.objects.count() == 1


@pytest.mark.django_db
def test_longest_name_of_key_fits_in_name_of_policy(acme: Organization) -> None:
    for length in (NAME_MAX_CHARS - 6, NAME_MAX_CHARS):
        name = "鍵" * length
        _, _, policy = create_key(org=acme, name=name, limits=KeyLimits(requests_per_minute=1))
        assert policy is not None
        assert (policy.name, len(policy.name)) == (policy_name(name), 100)


@pytest.mark.django_db
def test_revoking_says_what_becomes_of_policy(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    client = client_for(admin_user)
    client.post(CREATE, TYPED)
    key = ApiKey.objects.get()
    other = ApiKeyFactory.create(org=acme)
    PolicyFactory.create(org=acme, name="Both", applies_to={"key_id": [str(key.pk), str(other.pk)]})
    page = client.get(f"/admin/ai/keys/{key.pk}/revoke").content.decode()
    assert "Key &quot;CI&quot;</a> names no other key: it stays, and applies to nothing." in page
    assert "Both" not in page
    rotated, _ = rotate_key(key=key)
    assert (
        "names no other key" not in client.get(f"/admin/ai/keys/{key.pk}/revoke").content.decode()
    )
    revoke_key(key=key)
    page = client.get(f"/admin/ai/keys/{rotated.pk}/revoke").content.decode()
    assert "names no other key" in page
    revoke_key(key=rotated)
    assert Policy.objects.filter(name='Key "CI"').exists()
    page = client.get("/admin/ai/policies").content.decode()
    assert page.count("applies to no requests any more") == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.both_databases
def test_key_and_its_rotation_are_refused_by_its_policy(ask: Asking, acme: Organization) -> None:
    _, free = create_key(org=acme, name="free", limits=KeyLimits())[:2]
    limits = KeyLimits(allowed_models=("sandbox-large",), max_cost_per_day_nanoeur=10**9)
    key, text, _ = create_key(org=acme, name="CI", limits=limits)
    _, rotated = rotate_key(key=key)
    for limited in (text, rotated):
        refused = ask(HELLO, key=limited)
        assert (refused.status, refused.json["code"]) == (403, "model_not_allowed")
        assert 'by policy "Key "CI""' in refused.json["error"]
        assert ask(HELLO | {"model": "sandbox-large"}, key=limited).status == 200
    assert ask(HELLO, key=free).status == 200
