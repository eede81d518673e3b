"""Every endpoint, kind of policy and spelling: refused, without a call to a provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest

from tests.system.browser import Browser
from tests.system.endpoints import EMBEDDERS, ENDPOINTS, Endpoint, EndpointCall, ask_each
from tests.system.routes import REACHES
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

PASSWORD: Final = "correct horse battery staple"
PLAYGROUND: Final = "admin/ai/playground"
AT_ONCE: Final = 24
CAP: Final = 5
# Each vendor's model, without a date, and one that has no price.
CHATTING: Final = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-3-5-sonnet",
    "google": "gemini-2.0-flash",
    "mistral": "mistral-large",
}
UNPRICED: Final = {
    "gpt-4o-mini": "gpt-unheard-of",
    "claude-3-5-sonnet": "claude-unheard-of",
    "gemini-2.0-flash": "gemini-unheard-of",
    "mistral-large": "mistral-unheard-of",
    "text-embedding-3-small": "text-embedding-3-unheard-of",
    "gemini-embedding-001": "gemini-embedding-unheard-of",
    "mistral-embed": "mistral-embed-unheard-of",
}
MODELS: Final = tuple(UNPRICED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An organization that refuses, the code, and whether free requests are refused as well."""

    slug: str
    code: str
    policy: tuple[str, ...] = ()
    refuses_the_free: bool = False
    is_off: bool = False
    status: int = 403
    # At the endpoints of existing clients, by the vendor whose API they are.
    words: Mapping[str, int] = field(default_factory=dict)

    def status_at(self, endpoint: Endpoint) -> int:
        """Return the status of the refusal at an endpoint."""
        if endpoint.route.startswith("api/"):
            return self.status
        return self.words.get(endpoint.speaks, self.status)

    def model(self, name: str) -> str:
        """Return the model to request instead of another, if its price is the reason."""
        return UNPRICED[name] if self.code == "model_unpriced" else name


OF_MODEL: Final = {"openai": 404, "anthropic": 400, "google": 400}
OF_REQUEST: Final = dict.fromkeys(OF_MODEL, 400)
OF_MONEY: Final = dict.fromkeys(OF_MODEL, 429)
RULES: Final = (
    Rule(
        slug="blocks",
        code="model_blocked",
        words=OF_MODEL,
        policy=("--block", ",".join(MODELS)),
        refuses_the_free=True,
    ),
    Rule(
        slug="allows-others",
        code="model_not_allowed",
        words=OF_MODEL,
        policy=("--allow", "sandbox-small,gpt-4,claude-3-opus"),
        refuses_the_free=True,
    ),
    Rule(
        slug="wants-a-team",
        code="invalid_request",
        status=400,
        policy=("--require", "team"),
        refuses_the_free=True,
    ),
    Rule(slug="few-tokens", code="token_limit", words=OF_REQUEST, policy=("--max-tokens", "1")),
    Rule(
        slug="no-room",
        code="daily_cost_limit",
        words=OF_MONEY,
        policy=("--max-cost-per-day", "0.000000001"),
    ),
    Rule(
        slug="no-money",
        code="daily_cost_limit",
        words=OF_MONEY,
        policy=("--max-cost-per-day", "0"),
    ),
    Rule(slug="switched-off", code="gateway_disabled", is_off=True, refuses_the_free=True),
    Rule(slug="unpriced", code="model_unpriced", words=OF_REQUEST),
)
BY_SLUG: Final = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)


# --- who asks, where and for what -----------------------------------------------------------------


def _native(stream: bool) -> Iterator[Endpoint]:
    def body(model: str, prompt: str, cap: int) -> dict[str, Any]:
        return {"model": model, "prompt": prompt, "maxTokens": cap, "stream": stream}

    for vendor, model in CHATTING.items():
        name = f"the gateway's own to {vendor}"
        yield Endpoint(
            name=name,
            route="api/ai/request",
            speaks="openai",
            vendor=vendor,
            model=model,
            body_of=body,
        )


def _undated(endpoint: Endpoint) -> Endpoint:
    return replace(
        endpoint, model=(CHATTING if endpoint.has_output else EMBEDDERS)[endpoint.vendor]
    )


ALL_ENDPOINTS: Final = (*_native(False), *_native(True), *map(_undated, ENDPOINTS))


def alias_of(model: str) -> str:
    """Return an organization's own name for a model, which no vendor would know."""
    return f"our-{model}"


def spellings(model: str, vendor: str) -> tuple[str, ...]:
    """Return names that all mean the model, or a dated one of it."""
    return (
        model,
        model.upper(),
        f"  {model}\t",
        f"{vendor}/{model}",
        f"{vendor.title()}/{model.title()} ",
        f"models/{model}",
        f"{model}-2024-08-06",
        f"{vendor}/{model}-latest",
        alias_of(model),
        alias_of(model).upper(),
    )


def test_every_provider_endpoint_is_covered() -> None:
    assert {endpoint.route for endpoint in ALL_ENDPOINTS} | {PLAYGROUND} == REACHES


@pytest.fixture(scope="module")
def keys(installation: Installation) -> dict[str, str]:
    """A key of each organization, each with its rule, its aliases and a person."""
    made = installation.organizations(*(rule.slug for rule in RULES))
    commands: list[tuple[str, ...]] = []
    for rule in RULES:
        if rule.policy:
            commands.append(("policies", "create", rule.slug, "--name", "No", *rule.policy))
        for model in map(rule.model, MODELS):
            commands.append(("aliases", "create", rule.slug, alias_of(model), "--models", model))
        if rule.is_off:
            commands.append(("orgs", "disable", rule.slug))
    installation.run_each(*commands)
    installation.script(PEOPLE)
    return made


PEOPLE: Final = f"""
from orgs.models import Membership, Organization, User
for org in Organization.objects.exclude(slug="acme"):
    user = User.objects.create_user(f"{{org.slug}}@example.org", {PASSWORD!r})
    Membership.objects.create(org=org, user=user, role="member")
"""


@pytest.fixture(autouse=True)
def _no_provider_is_called(
    keys: dict[str, str], server: Server, upstream: Upstream, rows: Rows
) -> Iterator[None]:
    """Assert that no provider received a request and no money was held."""
    upstream.reset()
    yield
    assert upstream.calls() == []
    held = "SELECT 1 FROM hold h JOIN organization o ON o.id = h.org_id WHERE o.slug <> 'acme'"
    assert rows.query(held) == []


# --- the matrix -----------------------------------------------------------------------------------


@BY_SLUG
async def test_no_endpoint_or_spelling_bypasses_policy(
    keys: dict[str, str], server: Server, rule: Rule
) -> None:
    asked = [
        EndpointCall(
            call=f"{rule.slug} {endpoint.name}", endpoint=endpoint, model=spelled, max_tokens=CAP
        )
        for endpoint in ALL_ENDPOINTS
        if rule.refuses_the_free or not endpoint.is_free
        for spelled in spellings(rule.model(endpoint.model), endpoint.vendor)
    ]
    passed = []
    for start in range(0, len(asked), AT_ONCE):
        some = asked[start : start + AT_ONCE]
        for answer in await ask_each(server.url, keys[rule.slug], *some):
            code = answer.code or answer.json().get("code")
            if (answer.status, code) != (rule.status_at(answer.asked.endpoint), rule.code):
                passed.append((answer.asked.endpoint.name, answer.asked.model, answer.raw))
    assert passed == []


@BY_SLUG
async def test_no_spelling_bypasses_policy_in_playground(
    keys: dict[str, str], server: Server, rule: Rule
) -> None:
    async with Browser(server.url) as browser:
        await browser.sign_in(f"{rule.slug}@example.org", PASSWORD)
        for vendor, model in CHATTING.items():
            for spelled in spellings(rule.model(model), vendor):
                fields = {"model": spelled, "prompt": "let me through", "maxTokens": str(CAP)}
                page = await browser.send("POST", f"/{PLAYGROUND}", fields=fields)
                assert (page.status, rule.code in page.body) == (200, True), spelled


def test_no_spelling_bypasses_policy_in_sdk(
    keys: dict[str, str], installation: Installation
) -> None:
    asked = {
        rule.slug: [
            spelled
            for vendor, model in CHATTING.items()
            for spelled in spellings(rule.model(model), vendor)
        ]
        for rule in RULES
    }
    events = json.loads(installation.script(IN_PROCESS.format(asked=asked, cap=CAP)))
    assert events == {rule.slug: [rule.code] for rule in RULES}


IN_PROCESS: Final = """
import json
from gateway.call.sdk import ai_request, ai_stream
from orgs.models import Membership
events = {{}}
for slug, models in {asked!r}.items():
    member = Membership.objects.get(org__slug=slug)
    who = {{"org_id": member.org_id, "actor_user_id": member.user_id}}
    codes = set()
    for model in models:
        asked = {{**who, "model": model, "input": "let me through", "max_tokens": {cap}}}
        codes |= {{ai_request(**asked).code, *(piece.code for piece in ai_stream(**asked))}}
    events[slug] = sorted(codes, key=str)
print(json.dumps(events))
"""
