"""Tenant isolation: a foreign id answers exactly like one that does not exist."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from openai import OpenAI

from tests.fake_provider import VENDORS
from tests.system.browser import Browser, Page
from tests.system.clients import ClientCall, ask_all
from tests.system.routes import BY_ADDRESS, all_routes, operators_routes
from tests.system.rows import Rows
from tests.system.servers import Installation, Server

PASSWORD: Final = "correct horse battery staple"
STRANGER: Final = "stranger@globex.example"
# Words that only Acme's rows have.
SECRET_NAME: Final = "Quicksilver"
ADMIN: Final = "admin@acme.example"
MEMBER: Final = f"{SECRET_NAME.lower()}@acme.example"

REQUEST, POLICY, KEY, MEMBERSHIP = "request", "policy", "key", "membership"
ALIAS: Final = "alias"
PROVIDER: Final = "provider"
BUDGET: Final = "budget"
UNTIL: Final = f"{datetime.now(UTC).date() + timedelta(days=9)}"
EACH_TEAM: Final = ("--limit", "90", "--per", "month", "--each", "team")
RAISED: Final = ("--to", "95", "--until", UNTIL)
# What OpenAI keeps, by the ids that it gave.
RESPONSE, CONVERSATION = "response", "conversation"
KEPT: Final = (RESPONSE, CONVERSATION)
ALERT, CHANNEL = "alert", "channel"
SESSION: Final = "session"
NOTHING: Final = ""
FORM: Final[dict[str, str]] = {
    "name": "Taken over",
    "role": "admin",
    "enabled": "on",
    "mode": "off",
    "overlap_hours": "24",
    "confirm": "on",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A request to a route. `id_of` is the kind of its id; `fields` may hold the id, as {id}."""

    id_of: str = NOTHING
    methods: tuple[str, ...] = ("GET", "POST")
    fields: dict[str, str] = field(default_factory=lambda: dict(FORM))
    query: str = ""


PAGE: Final = Route(methods=("GET",))
# Every route has its entry here; one without an id is tried for what it shows.
# Vendors' addresses name no object of an organization.
BY_BODY: Final = (
    *("v1/chat/completions", "v1/embeddings", "v1/responses"),
    *("v1/messages", "v1/messages/count_tokens"),
    *("v1/responses/compact", "v1/responses/input_tokens", "v1/conversations"),
)
MODEL_LISTS: Final = (
    *("v1/models", "v1/models/<path:model>", "v1beta/models", "v1beta/models/<path:model>"),
)

ROUTES: Final[dict[str, Route]] = {
    "": PAGE,
    "login": PAGE,
    "logout": Route(methods=()),  # tried last of all: it ends the session
    "settings/profile": PAGE,
    "settings/profile/password": PAGE,
    "settings/profile/sessions": PAGE,
    "welcome/<str:uid>/<str:token>/": Route(methods=()),  # its token is the person's own
    "admin/ai": Route(methods=("GET",), query="?teamId=x&keyId={id}", id_of=KEY),
    "admin/ai/": PAGE,
    "admin/ai/<path:rest>": Route(methods=("GET",), id_of=REQUEST),
    "admin/ai/requests/<str:request_id>": Route(id_of=REQUEST),
    "r/<str:request_id>": Route(id_of=REQUEST),
    "admin/ai/session": Route(methods=("GET",), query="?id={id}", id_of=SESSION),
    "admin/ai/requests/new": Route(methods=("GET",), query="?waiting={id}", id_of=REQUEST),
    "admin/ai/requests.csv": Route(methods=("GET",), query="?keyId={id}", id_of=KEY),
    "admin/ai/requests.json": Route(methods=("GET",), query="?requestId={id}", id_of=REQUEST),
    "admin/ai/policies": PAGE,
    "admin/ai/policies.csv": PAGE,
    "admin/ai/policies.json": PAGE,
    "admin/ai/policies/effect": PAGE,
    "admin/ai/policies/create": PAGE,
    "admin/ai/policies/<str:policy_id>": Route(id_of=POLICY),
    "admin/ai/policies/<str:policy_id>/mode": Route(id_of=POLICY),
    "admin/ai/policies/<str:policy_id>/delete": Route(id_of=POLICY),
    "admin/ai/aliases": PAGE,
    "admin/ai/aliases.csv": PAGE,
    "admin/ai/aliases.json": PAGE,
    "admin/ai/aliases/create": PAGE,
    "admin/ai/aliases/<str:alias_id>": Route(id_of=ALIAS),
    "admin/ai/aliases/<str:alias_id>/toggle": Route(id_of=ALIAS),
    "admin/ai/aliases/<str:alias_id>/delete": Route(id_of=ALIAS),
    "admin/ai/providers": PAGE,
    "admin/ai/providers/create": PAGE,
    "admin/ai/providers/check": Route(methods=("POST",), fields={"name": SECRET_NAME.lower()}),
    **{
        f"admin/ai/providers/<str:provider_id>{action}": Route(id_of=PROVIDER)
        for action in ("", "/toggle", "/secret", "/models", "/delete")
    },
    **dict.fromkeys(("models", "models.csv", "models.json", "models/unpriced"), PAGE),
    "models/set": Route(query="?provider=openai&name=gpt-4o"),
    "models/factor": Route(query="?provider=openai&name=gpt-4o"),
    "models/hourly": Route(query="?provider=openai&name=gpt-4o"),
    "models/undo": Route(query="?provider=openai&name=gpt-4o"),
    "models/<str:provider>/<path:name>": PAGE,
    "admin/ai/playground": PAGE,
    "admin/ai/keys": PAGE,
    "admin/ai/keys.csv": PAGE,
    "admin/ai/keys.json": PAGE,
    "admin/ai/keys/create": Route(
        methods=("POST",), id_of="user", fields={"name": "Mine", "owner": "{id}"}
    ),
    "admin/ai/keys/<str:key_id>/rotate": Route(id_of=KEY),
    "admin/ai/keys/<str:key_id>/revoke": Route(id_of=KEY),
    "settings/organization": PAGE,
    "settings/organization/members": PAGE,
    "settings/organization/members.csv": PAGE,
    "settings/organization/members.json": PAGE,
    "settings/organization/members/<str:member_id>/role": Route(id_of=MEMBERSHIP),
    "settings/organization/members/<str:member_id>/link": Route(id_of=MEMBERSHIP),
    "settings/organization/members/<str:member_id>/remove": Route(id_of=MEMBERSHIP),
    "organizations/switch": Route(
        methods=("POST",), id_of="organization", fields={"organization": "{id}"}
    ),
    "costs": Route(methods=("GET",), query="?userId={id}&teamId=x&groupBy=user", id_of="user"),
    "costs/": PAGE,
    "costs.json": Route(methods=("GET",), query="?userId={id}&groupBy=user", id_of="user"),
    "costs.csv": Route(methods=("GET",), query="?userId={id}&groupBy=user", id_of="user"),
    "costs/budgets": Route(methods=("GET",), query="?newer_than={id}", id_of=BUDGET),
    "costs/budgets.csv": PAGE,
    "costs/budgets.json": PAGE,
    "costs/budgets/create": PAGE,
    "costs/budgets/<str:budget_id>": Route(id_of=BUDGET),
    "costs/budgets/<str:budget_id>/toggle": Route(id_of=BUDGET),
    "costs/budgets/<str:budget_id>/delete": Route(id_of=BUDGET),
    "costs/budgets/<str:budget_id>/raise": Route(
        id_of=BUDGET, fields={"value": SECRET_NAME, "limit_eur": "99", "until": UNTIL}
    ),
    "costs/budgets/<str:budget_id>/lower": Route(id_of=BUDGET, fields={"value": SECRET_NAME}),
    "costs/alerts": Route(methods=("GET",), query="?alertId={id}", id_of=ALERT),
    "costs/alerts.csv": Route(methods=("GET",), query="?alertId={id}", id_of=ALERT),
    "costs/alerts.json": Route(methods=("GET",), query="?alertId={id}", id_of=ALERT),
    "costs/alerts/acknowledge": Route(
        methods=("POST",), id_of=ALERT, fields={"up_to": "{id}", "state": "open"}
    ),
    "costs/alerts/<str:alert_id>/acknowledge": Route(id_of=ALERT),
    "costs/alerts/confirm/<str:token>": Route(methods=()),  # its token is the address's own
    "costs/alerts/channels": PAGE,
    "costs/alerts/channels/create": PAGE,
    **{
        f"costs/alerts/channels/<str:channel_id>/{what}": Route(id_of=CHANNEL)
        for what in ("toggle", "test", "addresses", "secret", "delete")
    },
    "api/ai/request": PAGE,
    "api/ai/quote": PAGE,
    "api/ai/requests": Route(methods=("GET",), query="?userId={id}", id_of="user"),
    "api/ai/requests/<request_id>": Route(id_of=REQUEST),
    "api/ai/policies/backtest": PAGE,
    **dict.fromkeys((*BY_BODY, *BY_ADDRESS, *MODEL_LISTS), PAGE),
    "v1/responses/<response_id>": Route(id_of=RESPONSE, methods=("GET", "DELETE")),
    "v1/responses/<response_id>/input_items": Route(id_of=RESPONSE, methods=("GET",)),
    "v1/conversations/<conversation_id>": Route(
        id_of=CONVERSATION, methods=("GET", "POST", "DELETE")
    ),
    "v1/conversations/<conversation_id>/items": Route(id_of=CONVERSATION),
    "v1/conversations/<conversation_id>/items/<item_id>": Route(
        id_of=CONVERSATION, methods=("GET", "DELETE")
    ),
    "status": PAGE,
    "status.json": PAGE,
    "api/schema": PAGE,
    "api/hello": PAGE,
    "healthz": PAGE,
    "readyz": PAGE,
}
ID_QUERIES: Final = {
    REQUEST: "SELECT id FROM ai_request_log WHERE org_id = %s",
    POLICY: "SELECT id FROM policy WHERE org_id = %s",
    ALIAS: "SELECT id FROM model_alias WHERE org_id = %s",
    PROVIDER: "SELECT id FROM provider WHERE org_id = %s",
    BUDGET: "SELECT id FROM budget WHERE org_id = %s",
    ALERT: "SELECT id FROM alert WHERE org_id = %s",
    CHANNEL: "SELECT id FROM alert_channel WHERE org_id = %s",
    KEY: "SELECT id FROM api_key WHERE org_id = %s",
    MEMBERSHIP: "SELECT id FROM membership WHERE org_id = %s",
    SESSION: "SELECT DISTINCT session_id FROM ai_request_log WHERE org_id = %s "
    "AND session_id IS NOT NULL",
    RESPONSE: "SELECT provider_id FROM kept_id WHERE kind = 'response' AND org_id = %s",
    CONVERSATION: "SELECT provider_id FROM kept_id WHERE kind = 'conversation' AND org_id = %s",
    "user": "SELECT user_id FROM membership WHERE org_id = %s",
    "organization": "SELECT id FROM organization WHERE id = %s",
}
AN_ALERT: Final = """
from django.utils.timezone import now
from gateway.models.alerts import Alert
from orgs.models import Organization
org = Organization.objects.get(slug="acme")
Alert.objects.create(org=org, key="k", kind="budget", sentence="{name} is spent", raised_at=now())
"""
UNUSED_ID: Final = "01a208b6-8176-71c0-bcb7-5d3dc01d4fca"


@pytest.fixture(scope="module")
def globex_key(installation: Installation) -> str:
    """A key of Globex, and a stranger who is its admin; Acme's rows have SECRET_NAME in them."""
    key = installation.organizations("globex")["globex"]
    installation.members(
        ("globex", STRANGER, "admin"),
        ("acme", MEMBER, "member"),
        ("acme", ADMIN, "admin"),
        password=PASSWORD,
    )
    installation.run_each(
        ("keys", "create", "acme", "--name", SECRET_NAME, "--user", MEMBER, "--team", SECRET_NAME),
        ("policies", "create", "acme", "--name", SECRET_NAME, "--max-cost-per-day", "90"),
        ("aliases", "create", "acme", SECRET_NAME, "--models", "gpt-4o-mini"),
        ("providers", "add", SECRET_NAME, "--preset", "ollama", "--org", "acme"),
        ("budgets", "create", "acme", SECRET_NAME, *EACH_TEAM),
        ("budgets", "raise", "acme", SECRET_NAME, "--for", SECRET_NAME, *RAISED),
        ("alerts", "add-channel", "acme", SECRET_NAME, "--email", f"{SECRET_NAME}@acme.example"),
    )
    installation.script(AN_ALERT.format(name=SECRET_NAME))
    return key


@pytest.fixture(scope="module")
def foreign(installation: Installation, server: Server, globex_key: str) -> dict[str, list[str]]:
    """Every id of Acme's, by what it names."""
    rows = Rows(installation.database_url)
    asked = [
        ClientCall(call=secrets.token_hex(8), vendor=vendor, more={"teamId": SECRET_NAME})
        for vendor in VENDORS
    ]
    answers = asyncio.run(ask_all(server.url, installation.key, *asked))
    assert all(outcome.is_answered for outcome in answers)
    in_session = ClientCall(call=secrets.token_hex(8), session=SECRET_NAME)
    assert asyncio.run(ask_all(server.url, installation.key, in_session))[0].is_answered
    with OpenAI(base_url=f"{server.url}/v1", api_key=installation.key, max_retries=0) as client:
        client.responses.create(model="gpt-4o-mini", input=SECRET_NAME)
        client.conversations.create(items=[{"role": "user", "content": SECRET_NAME}])
    acme = str(rows.value("SELECT id FROM organization WHERE slug = 'acme'"))
    return {
        what: [str(row[0]) for row in rows.query(statement, acme)]
        for what, statement in ID_QUERIES.items()
    }


@pytest.fixture(scope="module")
def cookies(server: Server, globex_key: str) -> dict[str, str]:
    """The cookies of Globex' admin, who signs in once: for 116 tests it would take 30 s."""

    async def signed_in() -> dict[str, str]:
        async with Browser(server.url) as browser:
            await browser.sign_in(STRANGER, PASSWORD)
            return browser.cookies

    return asyncio.run(signed_in())


@pytest.fixture
async def stranger(server: Server, cookies: dict[str, str]) -> AsyncIterator[Browser]:
    """The browser of Globex' admin, signed in."""
    async with Browser(server.url, cookies=cookies) as browser:
        yield browser


def test_every_route_is_in_table() -> None:
    assert set(all_routes()) == set(ROUTES)


def _path(route: str, entry: Route, id_: str) -> str:
    return "/" + re.sub(r"<[^>]+>", id_, route) + entry.query.format(id=id_)


def _compared(page: Page, id_: str) -> tuple[int, str, str]:
    """Return what must not differ: all but the id itself and what is random in every answer."""
    text = page.body.replace(id_, "ID")
    for random in (
        r'name="csrfmiddlewaretoken" value="[^"]*"',
        r'csrfToken": "[^"]*"',
        r'"requestId": ?"[^"]*"',
    ):
        text = re.sub(random, "RANDOM", text)
    return page.status, text, page.headers.get("location", "").replace(id_, "ID")


async def _try(
    send: Callable[..., Any], method: str, route: str, entry: Route, id_: str
) -> tuple[int, str, str]:
    fields = {name: value.format(id=id_) for name, value in entry.fields.items()}
    posted = {"fields": fields} if method == "POST" else {}
    return _compared(await send(method, _path(route, entry, id_), **posted), id_)


def _unused_beside(id_: str) -> str:
    """Return an id that does not exist, of the same time if it is a UUID."""
    try:
        return str(UUID(int=UUID(id_).int ^ 1))
    except ValueError:
        return UNUSED_ID


WITH_ID: Final = [
    pytest.param(route, method, id=f"{method} {route}")
    for route, entry in ROUTES.items()
    if entry.id_of
    for method in entry.methods
]


@pytest.mark.parametrize(("route", "method"), WITH_ID)
async def test_foreign_id_is_not_found_by_session_of_stranger(
    stranger: Browser, foreign: dict[str, list[str]], rows: Rows, route: str, method: str
) -> None:
    entry = ROUTES[route]
    before = _acmes_rows(rows)
    assert foreign[entry.id_of]
    for id_ in foreign[entry.id_of]:
        # An id is a time too: the stranger's own rows after it are shown.
        nothing = await _try(stranger.send, method, route, entry, _unused_beside(id_))
        assert await _try(stranger.send, method, route, entry, id_) == nothing
        assert SECRET_NAME.lower() not in nothing[1].lower()
    assert _acmes_rows(rows) == before


@pytest.mark.parametrize(("route", "method"), WITH_ID)
async def test_foreign_id_is_not_found_by_key_of_stranger(  # noqa: PLR0913
    server: Server,
    globex_key: str,
    foreign: dict[str, list[str]],
    rows: Rows,
    route: str,
    method: str,
) -> None:
    entry = ROUTES[route]
    before = _acmes_rows(rows)
    async with Browser(server.url) as anonymous:

        async def with_key(method: str, path: str, **sent: Any) -> Page:
            return await anonymous.send(method, path, headers={"x-pulse-key": globex_key}, **sent)

        nothing = await _try(with_key, method, route, entry, UNUSED_ID)
        for id_ in foreign[entry.id_of]:
            assert await _try(with_key, method, route, entry, id_) == nothing
    assert SECRET_NAME.lower() not in nothing[1].lower()
    assert _acmes_rows(rows) == before


async def test_admin_of_acme_sees_own_rows(
    installation: Installation, server: Server, foreign: dict[str, list[str]]
) -> None:
    async with Browser(server.url) as admin:
        await admin.sign_in(ADMIN, PASSWORD)
        for route, entry in ROUTES.items():
            if (
                "<str:" in route
                and entry.id_of in {REQUEST, POLICY, KEY, BUDGET}
                and not route.endswith(("/toggle", "/mode", "/lower"))
            ):
                id_ = foreign[entry.id_of][-1]
                own = await _try(admin.send, "GET", route, entry, id_)
                nothing = await _try(admin.send, "GET", route, entry, UNUSED_ID)
                assert (own[0], nothing[0]) == (302 if route.startswith("r/") else 200, 404), route
        path = f"/api/ai/requests/{foreign[REQUEST][0]}"
        page = await admin.send("GET", path, headers={"x-pulse-key": installation.key})
        assert SECRET_NAME in page.body


def _acmes_rows(rows: Rows) -> list[Any]:
    """Return the rows of Acme's that a stranger could have changed."""
    acme = rows.value("SELECT id FROM organization WHERE slug = 'acme'")
    tables = {
        "policy": "id, name, mode, applies_to",
        "model_alias": "id, name, enabled",
        "provider": "id, name, base_url, models, secret, enabled",
        "budget": "id, name, enabled",
        "budget_raise": "id, value, limit_nanoeur, until",
        "alert": "id, acknowledged_at",
        "alert_channel": "id, name, enabled, secret_version",
        "api_key": "id, name, revoked_at, expires_at",
        "membership": "id, role, user_id",
        "kept_id": "provider_id, kind, tokens, turn",
    }
    return [
        sorted(map(str, rows.query(f"SELECT {columns} FROM {table} WHERE org_id = %s", acme)))  # noqa: S608
        for table, columns in tables.items()
    ]


@pytest.mark.parametrize("route", [route for route, entry in ROUTES.items() if "<" not in route])
async def test_no_page_shows_names_of_other_organization(
    stranger: Browser, foreign: dict[str, list[str]], globex_key: str, route: str
) -> None:
    # Refusals in Globex' own rows repeat the ids of responses that it has asked for.
    others = {what: ids for what, ids in foreign.items() if what not in {"user", *KEPT}}
    ids = {id_ for found in others.values() for id_ in found}
    by_session = await stranger.send("GET", f"/{route}")
    by_key = await stranger.send("GET", f"/{route}", headers={"x-pulse-key": globex_key})
    for page in (by_session, by_key):
        shown = page.body.lower()
        assert SECRET_NAME.lower() not in shown
        assert [id_ for id_ in ids if id_ in shown] == []


async def test_foreign_cursor_shows_no_foreign_rows(
    installation: Installation, stranger: Browser, foreign: dict[str, list[str]], globex_key: str
) -> None:
    with_key = {"x-pulse-key": installation.key}
    own = await stranger.send("GET", "/api/ai/requests?limit=1", headers=with_key)
    cursor = json.loads(own.body)["nextCursor"]
    page = await stranger.send(
        "GET", f"/api/ai/requests?cursor={cursor}", headers={"x-pulse-key": globex_key}
    )
    assert page.status == 200
    shown = {row["requestId"] for row in json.loads(page.body)["requests"]}
    assert shown.isdisjoint(foreign["request"])


async def test_idempotency_keys_are_separate_per_organization(
    installation: Installation, stranger: Browser, globex_key: str
) -> None:
    body = {"model": "sandbox-small", "prompt": "the same words"}
    answers = [
        await stranger.send(
            "POST",
            "/api/ai/request",
            body=body,
            headers={"x-pulse-key": key, "idempotency-key": "the-same"},
        )
        for key in (installation.key, globex_key)
    ]
    assert [answer.status for answer in answers] == [200, 200]


async def test_operator_pages_are_hidden_from_organization_admin(
    stranger: Browser, foreign: dict[str, list[str]]
) -> None:
    [id_] = foreign["organization"]
    for route in operators_routes():
        filled = "/" + re.sub(r"<[^>]+>|\(\?P<[^)]*\)", id_, route).replace("$", "").replace(
            "^", ""
        )
        page = await stranger.send("GET", filled)
        assert page.status in {302, 403, 404}, filled
        assert SECRET_NAME.lower() not in page.body.lower()
        assert "/admin/" not in page.headers.get("location", "") or page.status == 302
