"""No endpoint, spelling or header bypasses a policy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.fake_provider import VENDORS
from tests.system.browser import Browser, Page
from tests.system.clients import MODELS
from tests.system.routes import BY_ADDRESS, REACHES, all_routes
from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

PASSWORD: Final = "correct horse battery staple"
PERSON: Final = "person@acme.example"
PROMPT: Final = "let me through"
# What fills the variable part of an address.
PARTS: Final = (
    "01a208b6-8176-71c0-bcb7-5d3dc01d4fca",
    "gpt-4o-mini",
    "gemini-2.0-flash",
    "gemini-embedding-001",
)
# Each vendor has addresses of its own.
ASKED: Final = (
    *(MODELS[vendor] for vendor in ("openai", "anthropic", "google")),
    "text-embedding-3-small",
)
SPELLINGS: Final = (
    *MODELS.values(),
    *(f"{vendor}/{model}" for vendor, model in MODELS.items()),
    "GPT-4o-Mini",
    "  gpt-4o-mini\t",
    "OpenAI/GPT-4O-MINI",
    "gpt-4o-mini-2024-07-18",
    "openai/gpt-4o-mini-2024-07-18",
    "models/gemini-2.0-flash",
    "google/models/gemini-2.0-flash",
    "gemini-2.0-flash-001",
    "claude-3-5-sonnet-latest",
    "claude-3-5-sonnet",
    "mistral-large",
    "mistral-large-2411",
    "gpt-4o-mini\u200b",
    "ｇｐｔ-4o-mini",  # noqa: RUF001  full-width on purpose
    "gpt–4o-mini",  # noqa: RUF001  a dash that is none
    "gpt-4o-mini?x=1",
    "../gpt-4o-mini",
    "gpt-4o-mini/../gpt-4o-mini",
    "*",
)
METHOD_NOT_ALLOWED: Final = 405
KEY_HEADERS: Final = (
    ("x-pulse-key", "{key}"),
    ("X-PULSE-KEY", "{key}"),
    ("X-Pulse-Key", "{key}"),
    ("Authorization", "Bearer {key}"),
    ("AUTHORIZATION", "bearer {key}"),
    ("authorization", "BEARER {key}"),
)
PERSUASION: Final = {
    "x-pulse-policy": "off",
    "x-http-method-override": "GET",
    "x-original-url": "/healthz",
    "x-forwarded-for": "127.0.0.1",
    "x-pulse-org-id": "00000000-0000-0000-0000-000000000000",
}


@pytest.fixture(scope="module", autouse=True)
def _a_person(installation: Installation) -> None:
    installation.members(("acme", PERSON, "admin"), password=PASSWORD)


@pytest.fixture
async def browser(server: Server) -> AsyncIterator[Browser]:
    """A signed-in member, who can use the key's header as well."""
    async with Browser(server.url) as browser:
        await browser.sign_in(PERSON, PASSWORD)
        yield browser


@pytest.fixture
def blocked(installation: Installation, rows: Rows, upstream: Upstream) -> None:
    """One policy, which blocks every model."""
    rows.execute("DELETE FROM policy")
    installation.run("policies", "create", "acme", "--name", "Nothing goes", "--block", "*")
    upstream.reset()


@pytest.fixture
def unblocked(rows: Rows, upstream: Upstream) -> None:
    """No policy at all."""
    rows.execute("DELETE FROM policy")
    upstream.reset()


def _bodies(model: str) -> list[dict[str, Any]]:
    """Return what the gateway, OpenAI's and Mistral's, Anthropic's and Google's clients send."""
    messages = [{"role": "user", "content": PROMPT}]
    return [
        {"model": model, "prompt": PROMPT, "maxTokens": 5},
        {"model": model, "prompt": PROMPT, "maxTokens": 5, "stream": True},
        {"model": model, "messages": messages, "maxTokens": 5},
        {"model": model, "messages": messages, "max_tokens": 5},
        {"model": model, "messages": messages, "max_tokens": 5, "stream": True},
        {"model": model, "input": PROMPT},
        {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]},
        {"content": {"parts": [{"text": PROMPT}]}},
        {"requests": [{"content": {"parts": [{"text": PROMPT}]}}]},
    ]


def _models_at(route: str) -> tuple[str, ...]:
    """Return the models to name in the body; an address that names one itself ignores them."""
    return ASKED if route.startswith("v1") and "<" not in route else ASKED[:1]


def _parts_of(route: str, *, all_parts: bool) -> tuple[str, ...]:
    """Return what to put in an address: only a path can name a model; else an id is enough."""
    return PARTS if all_parts or "<path:" in route else PARTS[:1]


async def _try_every_way(
    browser: Browser, key: str, route: str, model: str, parts: tuple[str, ...]
) -> list[Page]:
    """Send every body to an address, by key and by session, and the form that a page would send.

    No body changes that an address does not take POST.
    """
    paths = {"/" + re.sub(r"<[^>]+>", part, route) for part in parts}
    with_key = {"x-pulse-key": key}
    fields = {"model": model, "prompt": PROMPT, "maxTokens": "5"}
    pages = []
    for path in sorted(paths):
        pages += [await browser.send("POST", path, fields=fields)]
        if pages[-1].status != METHOD_NOT_ALLOWED:
            pages += [
                await browser.send("POST", path, body=b, headers=with_key) for b in _bodies(model)
            ]
            pages += [await browser.send("POST", path, body=_bodies(model)[0])]
        pages += [
            await browser.send("GET", f"{path}?model={model}&prompt={PROMPT}", headers=with_key)
        ]
    return pages


async def test_only_listed_endpoints_reach_provider(
    installation: Installation,
    browser: Browser,
    upstream: Upstream,
    unblocked: None,
    pytestconfig: pytest.Config,
) -> None:
    reached = set()
    for route in all_routes():
        if route == "logout":
            continue
        upstream.reset()
        parts = _parts_of(route, all_parts=pytestconfig.getoption("--long"))
        for model in _models_at(route):
            await _try_every_way(browser, installation.key, route, model, parts)
        if upstream.calls():
            reached.add(route)
    assert reached == REACHES


async def test_policy_that_blocks_everything_blocks_every_endpoint(
    installation: Installation, browser: Browser, upstream: Upstream, rows: Rows, blocked: None
) -> None:
    for route in sorted(REACHES):  # no other reaches a provider, as the test above shows
        for model in ASKED:
            await _try_every_way(browser, installation.key, route, model, PARTS)
    assert upstream.calls() == []
    assert rows.query("SELECT 1 FROM hold WHERE state = 'held'") == []


async def _ask(browser: Browser, key: str, route: str, model: str, **headers: str) -> Page:
    if route == "admin/ai/playground":
        return await browser.send("POST", f"/{route}", fields={"model": model, "prompt": PROMPT})
    sent = headers or {"x-pulse-key": key}
    path = "/" + route.replace("<path:model>", quote(model))
    return await browser.send("POST", path, body=_body_at(route, model), headers=sent)


def _body_at(route: str, model: str) -> dict[str, Any]:
    """Return what a client of that address sends."""
    native, _, _, chat, _, embedded, google, one, many = _bodies(model)
    if route in BY_ADDRESS:
        return {"embedContent": one, "batchEmbedContents": many}.get(
            route.rpartition(":")[2], google
        )
    if route.startswith(("v1/embeddings", "v1/responses")):
        return embedded
    return native if route.startswith("api/") else chat


@pytest.mark.parametrize("entries", ["*", "every model", "odd spellings"])
async def test_no_spelling_of_model_bypasses_block(
    installation: Installation, browser: Browser, upstream: Upstream, rows: Rows, entries: str
) -> None:
    rows.execute("DELETE FROM policy")
    lists = {
        "*": "*",
        "every model": "gpt-4o-mini,claude-3-5-sonnet,gemini-2.0-flash,mistral-large",
        "odd spellings": (
            "OPENAI/GPT-4o-mini, Claude-3-5-Sonnet ,google/gemini-*,Mistral/Mistral-Large"
        ),
    }
    installation.run("policies", "create", "acme", "--name", "No", "--block", lists[entries])
    upstream.reset()
    for route in sorted(REACHES):
        for model in SPELLINGS:
            page = await _ask(browser, installation.key, route, model)
            refused = {200, 400, 403} if "playground" in route else {400, 403, 404, 405}
            assert page.status in refused, (route, model)
    assert upstream.calls() == []


async def test_no_spelling_of_header_bypasses_policy(
    installation: Installation, browser: Browser, upstream: Upstream, blocked: None
) -> None:
    for name, value in KEY_HEADERS:
        for more in ({}, PERSUASION):
            headers = {name: value.format(key=installation.key), **more}
            page = await _ask(browser, "", "api/ai/request", MODELS["openai"], **headers)
            assert (page.status, '"model_blocked"' in page.body) == (403, True), name
    assert upstream.calls() == []


async def test_same_header_spellings_are_accepted_without_policy(
    installation: Installation, browser: Browser, unblocked: None
) -> None:
    for name, value in KEY_HEADERS:
        headers = {name: value.format(key=installation.key), **PERSUASION}
        page = await _ask(browser, "", "api/ai/request", MODELS["openai"], **headers)
        assert page.status == 200, name


@pytest.mark.parametrize(
    "field", ["baseUrl", "base_url", "apiKey", "api_key", "provider", "headers", "organization"]
)
async def test_client_cannot_choose_upstream_or_payer(
    installation: Installation, browser: Browser, upstream: Upstream, unblocked: None, field: str
) -> None:
    body = {**_bodies(MODELS["openai"])[0], field: "http://127.0.0.1:9/v1"}
    headers = {"x-pulse-key": installation.key}
    page = await browser.send("POST", "/api/ai/request", body=body, headers=headers)
    assert (page.status, field in page.body) == (400, True)
    assert upstream.calls() == []


async def test_key_in_query_string_is_ignored(
    installation: Installation, server: Server, upstream: Upstream, unblocked: None
) -> None:
    async with Browser(server.url) as anonymous:
        for name in ("key", "api_key", "x-pulse-key", "access_token"):
            path = f"/api/ai/request?{name}={installation.key}"
            page = await anonymous.send("POST", path, body=_bodies(MODELS["openai"])[0])
            assert page.status == 401
    assert upstream.calls() == []


async def test_provider_key_is_sent_only_to_that_provider(
    installation: Installation, browser: Browser, upstream: Upstream, unblocked: None
) -> None:
    await asyncio.gather(
        *(_ask(browser, installation.key, "api/ai/request", model) for model in MODELS.values())
    )
    keys = {vendor: installation.environment[f"{vendor.upper()}_API_KEY"] for vendor in VENDORS}
    calls = upstream.calls()
    assert {call["vendor"] for call in calls} == set(VENDORS)
    for call in calls:
        sent = str(call)
        assert [vendor for vendor, key in keys.items() if key in sent] == [call["vendor"]]
        assert installation.key not in sent
