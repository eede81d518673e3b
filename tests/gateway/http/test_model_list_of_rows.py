"""Models of providers' rows in the lists of models that a key may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.call.runtime import Gateway
from gateway.models import Provider
from gateway.providers.registry import Providers
from orgs.models import Organization
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider.vendors import settings_at
from tests.gateway.conftest import Asking
from tests.gateway.local_rows import make_row
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

AS_ANTHROPIC = {"anthropic-version": "2023-06-01"}
ROW_MODELS = ["meta-llama/Llama-3.3-70B", "gpt-4o"]


@pytest.fixture
def get(ask: Asking) -> Callable[..., Reply]:
    """GET a path of the gateway."""
    return lambda path, **more: ask(method="GET", path=path, **more)


@pytest.fixture
def local(gateway: Gateway) -> Provider:
    for model in (*ROW_MODELS, "only-priced"):
        RateFactory.create(provider="local", model=model.casefold())
    dialects = ["chat", "messages"]
    return make_row("local", dialects=dialects, models=[*ROW_MODELS, "unpriced"])


def listed(get: Callable[..., Reply], path: str = "/v1/models", **more: Any) -> list[str]:
    found = get(path, **more).json
    rows = found.get("data", found.get("models"))
    ids = [each.get("id") or each["name"].removeprefix("models/") for each in rows]
    return [each for each in ids if "local" in each or "llama" in each.casefold()]


EXPECTED = [*(f"local/{name}" for name in ROW_MODELS), "local/only-priced"]


def test_rows_models_are_listed_in_formats_of_its_apis(
    get: Callable[..., Reply], local: Provider
) -> None:
    assert listed(get) == listed(get, headers=AS_ANTHROPIC) == EXPECTED
    assert listed(get, "/v1beta/models") == []
    one = get(f"/v1/models/LOCAL/{ROW_MODELS[0].lower()}").json
    assert (one["id"], one["owned_by"]) == (EXPECTED[0], "local")
    assert get("/v1/models/local/unpriced").status == 404


def test_row_that_takes_bare_names_is_listed_under_them(
    get: Callable[..., Reply], gateway: Gateway, local: Provider
) -> None:
    local.weight = 1
    local.save()
    gateway.providers = Providers(settings_at({}), sandbox=False)
    ids = [each["id"] for each in get("/v1/models").json["data"]]
    assert ids == ["gpt-4o", ROW_MODELS[0], *EXPECTED]
    assert get("/v1/models/gpt-4o").json["owned_by"] == "local"


def test_shared_name_is_listed_if_policy_allows_one_of_its_providers(
    get: Callable[..., Reply], gateway: Gateway, local: Provider, acme: Organization
) -> None:
    gateway.providers = Providers(settings_at({"openai": "http://127.0.0.1:9"}), sandbox=False)
    local.weight = 1
    local.regions = ["eu"]
    local.save()
    assert get("/v1/models/gpt-4o").json["owned_by"] == "openai"
    PolicyFactory.create(org=acme, allowed_models=["region:eu"])
    assert get("/v1/models/gpt-4o").json["owned_by"] == "local"
    local.weight = 0
    local.save()
    assert get("/v1/models/gpt-4o").status == 404


def test_rows_models_that_policy_refuses_are_not_listed(
    get: Callable[..., Reply], local: Provider, acme: Organization
) -> None:
    policy = PolicyFactory.create(org=acme, name="EU", allowed_models=["region:eu"])
    assert listed(get) == []
    local.regions = ["eu"]
    local.save()
    assert listed(get) == EXPECTED
    policy.blocked_models = ["gpt-4o"]
    policy.save()
    assert listed(get) == [EXPECTED[0], EXPECTED[2]]


def test_row_of_another_organization_is_not_listed(
    get: Callable[..., Reply], local: Provider, acme: Organization, globex: Organization
) -> None:
    local.org = globex
    local.save()
    assert listed(get) == []
    assert get("/v1/models/local/gpt-4o").status == 404
    local.org = acme
    local.save()
    assert listed(get) == EXPECTED


def test_row_that_is_off_is_not_listed(get: Callable[..., Reply], local: Provider) -> None:
    local.enabled = False
    local.save()
    assert listed(get) == []
