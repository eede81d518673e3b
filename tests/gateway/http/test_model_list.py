"""The models that a key may use, as each vendor's clients list them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from gateway.call.runtime import Gateway
from gateway.call.snapshot import OrganizationSnapshot
from gateway.core.attempts import Alias
from gateway.core.model_entries import model_entries
from gateway.core.model_names import Offered
from gateway.guards.offered import Offer
from gateway.guards.policies import Rule, model_verdicts
from gateway.keys.operations import KeyLimits, create_key
from gateway.models import AiRequestLog
from gateway.providers.catalog import load_catalog
from gateway.providers.known import callable_names
from gateway.providers.registry import Providers
from gateway.providers.served import callable_models
from orgs.keys.operations import rotate_key
from orgs.models import Organization
from tests.factories import AliasFactory, PolicyFactory, RateFactory
from tests.fake_provider.vendors import settings_at
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

CATALOG = load_catalog(sandbox=True)
UNPRICED = "gpt-4"
AS_ANTHROPIC = {"anthropic-version": "2023-06-01"}


# --- which are offered ------------------------------------------------------------------------


def offer(*aliases: Alias, allowed: tuple[str, ...] = (), blocked: tuple[str, ...] = ()) -> Offer:
    has, lacks = model_entries(CATALOG, allowed), model_entries(CATALOG, blocked)
    rules = (Rule(id="1", name="P", allowed=has, blocked=lacks), Rule(id="2", name="Q"))
    providers = {
        name: replace(vendor.config, fault=None if name in ("openai", "anthropic") else "no key")
        for name, vendor in CATALOG.vendors.items()
    }
    return Offer(
        names=lambda: callable_names(CATALOG, (), ()),
        resolve=partial(callable_models, providers=providers, catalog=CATALOG),
        verdicts_on=lambda model: model_verdicts(model, rules),
        is_priced=lambda model: model.id != UNPRICED,
        aliases={alias.name: alias for alias in aliases},
    )


def names(offered: list[Offered]) -> set[str]:
    return {each.name for each in offered}


def test_each_configured_and_priced_model_is_listed_once() -> None:
    found = [each.name for each in offer().all()]
    assert len(found) == len(set(found))
    assert {"gpt-4o", "gpt-4o-mini", "claude-opus-4-6"} <= set(found)
    assert not {UNPRICED, "gemini-2.5-flash", "mistral-large-latest"} & set(found)


def test_models_refused_by_policy_are_not_listed() -> None:
    assert names(offer(allowed=("gpt-4o",)).all()) == {"gpt-4o"}
    left = names(offer(blocked=("gpt-4o",)).all())
    assert "gpt-4o" not in left
    assert "gpt-4o-mini" in left


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gpt-4o", "gpt-4o"),
        (" OpenAI/GPT-4o ", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("gpt-of-tomorrow", "gpt-of-tomorrow"),
        ("claude-3-5-sonnet", "claude-3-5-sonnet-20241022"),
        (UNPRICED, None),
        ("gemini-2.5-flash", None),
        ("no-such-model", None),
        ("", None),
    ],
)
def test_model_is_found_by_every_callable_name(name: str, found: str | None) -> None:
    offered = offer().find(name)
    assert (offered.name if offered else None) == found


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (("gpt-4o", "claude-opus-4-6"), "gpt-4o"),
        (("gemini-2.5-flash", "gpt-4o"), "gpt-4o"),  # no provider: passed over, as in a call
        (("gpt-4o-mini", "gpt-4o"), None),  # blocked: a call would be refused
        (("gemini-2.5-flash", "gpt-4o-mini", "gpt-4o"), "gpt-4o"),  # a refused fallback: skipped
        ((UNPRICED, "gpt-4o"), None),
        (("no-such-model", "gpt-4o"), None),
        (("gemini-2.5-flash",), None),
    ],
)
def test_alias_is_listed_with_model_that_call_would_use(
    models: tuple[str, ...], expected: str | None
) -> None:
    found = offer(Alias(name="fast", models=models), blocked=("gpt-4o-mini",))
    offered = found.find("FAST ")
    assert (offered.model.id if offered else None) == expected
    assert ("fast" in names(found.all())) == (expected is not None)


def test_alias_replaces_model_of_same_name() -> None:
    alias = Alias(name="gpt-4o", models=("claude-opus-4-6",))
    found = [each for each in offer(alias).all() if each.name == "gpt-4o"]
    assert [each.model.id for each in found] == ["claude-opus-4-6"]


# --- by their addresses -----------------------------------------------------------------------


@pytest.fixture
def get(gateway: Gateway, ask: Asking) -> Callable[..., Reply]:
    """GET a path of a gateway that has every vendor's key and calls none."""
    vendors = ("openai", "anthropic", "google", "mistral")
    gateway.providers = Providers(
        settings_at(dict.fromkeys(vendors, "http://127.0.0.1:9")), sandbox=True
    )

    def read(path: str, **more: Any) -> Reply:
        return ask(method="GET", path=path, **more)

    return read


pytestmark = pytest.mark.django_db(transaction=True)


def test_lists_keep_verdicts_of_organization_that_did_not_change(
    get: Callable[..., Reply], gateway: Gateway, acme: Organization
) -> None:
    def known() -> OrganizationSnapshot:
        return asyncio.run(gateway.directory.organization(acme.pk))

    get("/v1/models")
    first = known()
    get("/v1/models")
    assert known() is first
    PolicyFactory.create(org=acme, blocked_models=["gpt-4o*"])
    listed = {each["id"] for each in get("/v1/models").json["data"]}
    assert known() is not first
    assert not {"gpt-4o", "gpt-4o-mini"} & listed


def test_openai_clients_list_every_priced_model(get: Callable[..., Reply]) -> None:
    reply = get("/v1/models")
    assert reply.status == 200
    assert reply.json["object"] == "list"
    assert {each["id"]: each["owned_by"] for each in reply.json["data"]} == {
        "gpt-4o-mini": "openai",
        "gpt-4o": "openai",
        "gpt-4": "openai",
        "claude-3-5-sonnet-20241022": "anthropic",
        "gemini-2.0-flash": "google",
        "mistral-large-latest": "mistral",
        "sandbox-small": "sandbox",
        "sandbox-large": "sandbox",
    }
    assert all(
        each.keys() == {"id", "object", "created", "owned_by"} for each in reply.json["data"]
    )
    assert reply.headers["x-pulse-request-id"]
    assert not AiRequestLog.objects.exists()


def test_anthropic_clients_list_callable_models(get: Callable[..., Reply], api_key: str) -> None:
    reply = get("/v1/models", key="", headers={**AS_ANTHROPIC, "x-api-key": api_key})
    assert [each["id"] for each in reply.json["data"]] == ["claude-3-5-sonnet-20241022"]
    assert reply.json["first_id"] == reply.json["last_id"] == "claude-3-5-sonnet-20241022"
    assert (reply.json["data"][0]["type"], reply.json["has_more"]) == ("model", False)


def test_key_in_anthropic_header_alone_lists_in_its_format(
    get: Callable[..., Reply], api_key: str
) -> None:
    by_version = get("/v1/models", key="", headers={**AS_ANTHROPIC, "x-api-key": api_key})
    for more in ({}, {"authorization": f"Bearer {api_key}"}):
        reply = get("/v1/models?limit=1000", key="", headers={"x-api-key": api_key, **more})
        assert (reply.status, reply.json) == (200, by_version.json)
    assert get("/v1/models", key="", headers={"x-api-key": "pulse_x"}).status == 401
    bearer = get("/v1/models", key="", headers={"authorization": f"Bearer {api_key}"})
    assert bearer.json["object"] == "list"


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_google_clients_list_callable_models(
    version: str, get: Callable[..., Reply], api_key: str
) -> None:
    reply = get(f"/{version}/models", key="", headers={"x-goog-api-key": api_key})
    assert [each["name"] for each in reply.json["models"]] == ["models/gemini-2.0-flash"]
    found = get(f"/{version}/models/gemini-2.0-flash", key="", headers={"x-goog-api-key": api_key})
    assert found.json == reply.json["models"][0]


def test_pages_of_anthropics_clients_are_as_long_as_they_ask(
    get: Callable[..., Reply], acme: Organization
) -> None:
    for name in ("one", "three", "two"):
        AliasFactory.create(org=acme, name=name, models=["claude-3-5-sonnet-20241022"])
    whole = get("/v1/models", headers=AS_ANTHROPIC).json
    ids = [each["id"] for each in whole["data"]]
    assert (len(ids), whole["has_more"]) == (4, False)
    for query, some, has_more in (
        ("limit=2", ids[:2], True),
        (f"limit=2&after_id={ids[1]}", ids[2:], False),
        (f"limit=1&after_id={ids[1]}", ids[2:3], True),
        (f"limit=2&before_id={ids[3]}", ids[1:3], True),
        (f"limit=1000&before_id={ids[2]}", ids[:2], False),
        (f"after_id={ids[3]}", [], False),
        ("after_id=has-left", [], False),
        ("before_id=has-left", [], False),
    ):
        page = get(f"/v1/models?{query}", headers=AS_ANTHROPIC).json
        assert [each["id"] for each in page["data"]] == some, query
        assert page["has_more"] == has_more, query
        assert page["first_id"] == (some[0] if some else None)
    for query in ("limit=0", "limit=1001", "limit=x", "limit=-1"):
        reply = get(f"/v1/models?{query}", headers=AS_ANTHROPIC)
        assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
        assert query.split("=", maxsplit=1)[0] in reply.json["error"]["message"]


def test_pages_of_googles_clients_are_as_long_as_they_ask(
    get: Callable[..., Reply], acme: Organization
) -> None:
    for name in ("one", "three", "two"):
        AliasFactory.create(org=acme, name=name, models=["gemini-2.0-flash"])
    names = [each["name"] for each in get("/v1beta/models").json["models"]]
    read, token = [], ""
    while True:
        page = get(f"/v1beta/models?pageSize=3{token}").json
        read.append([each["name"] for each in page["models"]])
        if "nextPageToken" not in page:
            break
        token = f"&pageToken={page['nextPageToken']}"
    assert read == [names[:3], names[3:]]
    assert "nextPageToken" not in get("/v1beta/models?pageSize=0").json
    assert get("/v1beta/models?pageToken=has-left").json == {"models": []}
    assert get("/v1beta/models?pageSize=x").json["error"]["status"] == "INVALID_ARGUMENT"


def test_page_of_openais_clients_says_that_more_follow(get: Callable[..., Reply]) -> None:
    page = get("/v1/models?limit=2").json
    assert (len(page["data"]), page["has_more"]) == (2, True)


def test_googles_clients_list_models_that_embed(get: Callable[..., Reply]) -> None:
    RateFactory.create(provider="google", model="gemini-embedding-001", input_usd_per_mtok="0.11")
    methods = {
        each["name"]: each["supportedGenerationMethods"]
        for each in get("/v1beta/models").json["models"]
    }
    assert methods == {
        "models/gemini-2.0-flash": ["generateContent", "countTokens"],
        "models/gemini-embedding-001": ["embedContent", "batchEmbedContents", "countTokens"],
    }


def test_one_model_is_found_by_its_provider_and_name(get: Callable[..., Reply]) -> None:
    assert get("/v1/models/openai/gpt-4o").json["id"] == "gpt-4o"


def test_policy_change_affects_list_at_once(get: Callable[..., Reply], acme: Organization) -> None:
    assert get("/v1/models/gpt-4").status == 200
    PolicyFactory.create(org=acme, blocked_models=["gpt-4"])
    assert get("/v1/models/gpt-4").status == 404
    assert "gpt-4" not in [each["id"] for each in get("/v1/models").json["data"]]


def test_list_is_judged_by_policies_of_key(
    get: Callable[..., Reply], acme: Organization, make_key: Callable[..., str]
) -> None:
    limited = KeyLimits(allowed_models=("gpt-4o-mini", "claude-*"))
    key, text, _ = create_key(org=acme, name="CI", limits=limited, team_id="research")
    _, rotated = rotate_key(key=key)
    for named, more in (
        ({"team_id": ["Research"], "provider": ["anthropic"]}, {"blocked_models": ["*"]}),
        ({"team_id": ["sales"]}, {"blocked_models": ["gpt-4o-mini"]}),
        ({"app_id": ["any"]}, {"blocked_models": ["gpt-4o-mini"]}),  # callers name it or do not
        ({"channel": ["messages"]}, {"blocked_models": ["gpt-4o-mini"]}),
        ({}, {"blocked_models": ["*"], "mode": "watch"}),
    ):
        PolicyFactory.create(org=acme, applies_to=named, **more)
    for mine in (text, rotated):
        found = get("/v1/models", key=mine).json["data"]
        assert [each["id"] for each in found] == ["gpt-4o-mini"]
    assert {"gpt-4o", "gpt-4"} < {each["id"] for each in get("/v1/models").json["data"]}


def test_organization_alias_is_listed(
    get: Callable[..., Reply], acme: Organization, globex: Organization
) -> None:
    AliasFactory.create(org=acme, name="fast", models=["gpt-4o-mini"])
    AliasFactory.create(org=globex, name="theirs", models=["gpt-4o-mini"])
    assert get("/v1/models").json["data"][0]["id"] == "fast"
    assert get("/v1/models/fast").json["owned_by"] == "openai"
    assert get("/v1/models/theirs").status == 404


@pytest.mark.parametrize("name", ["no-such-model", "gpt-5"], ids=["unknown", "unpriced"])
def test_disallowed_model_is_404(name: str, get: Callable[..., Reply], api_key: str) -> None:
    sentence = f'Model "{name}" does not exist or you do not have access to it'
    as_openai = get(f"/v1/models/{name}")
    assert as_openai.status == 404
    assert as_openai.json["error"] == {
        "message": sentence,
        "type": "not_found_error",
        "param": None,
        "code": "model_not_found",
    }
    as_anthropic = get(f"/v1/models/{name}", headers=AS_ANTHROPIC)
    assert as_anthropic.status == 404
    assert as_anthropic.json["error"] == {"type": "not_found_error", "message": sentence}
    as_google = get(f"/v1beta/models/{name}")
    assert as_google.status == 404
    assert as_google.json["error"]["status"] == "NOT_FOUND"
    assert {r.headers["x-pulse-error-code"] for r in (as_openai, as_anthropic, as_google)} == {
        "model_not_found"
    }


def test_list_requires_authentication(get: Callable[..., Reply]) -> None:
    for path in ("/v1/models", "/v1/models/gpt-4o", "/v1beta/models", "/v1beta/models/gpt-4o"):
        reply = get(path, key="")
        assert reply.status == 401
        assert reply.headers["x-request-id"] == reply.headers["x-pulse-request-id"]
        assert reply.json["error"]


def test_disabled_gateway_lists_no_models(get: Callable[..., Reply], acme: Organization) -> None:
    Organization.objects.filter(id=acme.id).update(ai_gateway_enabled=False)
    for path in ("/v1/models", "/v1/models/gpt-4o", "/v1beta/models"):
        reply = get(path)
        assert reply.status == 403
        assert reply.headers["x-pulse-error-code"] == "gateway_disabled"
