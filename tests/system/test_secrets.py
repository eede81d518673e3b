"""Keys and prompts never leak into the database, logs, answers or pages."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from tests.fake_provider import VENDORS
from tests.system.browser import Browser
from tests.system.clients import MODELS, ClientCall, Outcome, ask_all, until
from tests.system.rows import Rows
from tests.system.servers import KEY_VARIABLES, Installation, Server
from tests.system.upstream import Upstream, prompt_in

PROMPT: Final = f"canary{secrets.token_hex(12)}"
PASSWORD: Final = f"canary {secrets.token_hex(12)}"
PERSON: Final = "person@acme.example"
TABLES: Final = {
    True: "SELECT name FROM sqlite_master WHERE type = 'table'",
    False: "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
}


def _echoes(text: str) -> list[dict[str, Any]]:
    """Return ways in which a provider can echo a text: an error may be stored or logged."""
    error = {
        "error": {"message": f"Incorrect API key or prompt: {text}", "type": text, "code": text}
    }
    event = f"event: error\ndata: {json.dumps({'type': 'error', **error})}\n\n"
    return [
        {"status": 401, "body": error},
        {"status": 400, "body": {"message": text, "detail": [{"msg": text}]}},
        {"status": 500, "body": f"<html>{text}</html>"},
        {"status": 429, "body": error, "headers": {"x-request-id": text[:60]}},
        {"body": error},
        {"body": f"{text} is no JSON"},
        {"body": {"choices": text, "candidates": text, "content": text}},
        {"extra_events": [event]},
        {"extra_events": [f"data: {text}\n\n"]},
    ]


def _asked(vendor: str, *, stream: bool = False, **more: Any) -> ClientCall:
    call = secrets.token_hex(8)
    return ClientCall(
        call=call, vendor=vendor, stream=stream, more={"prompt": f"{PROMPT} {call}", **more}
    )


async def _everything(
    installation: Installation, server: Server, upstream: Upstream, echoed: dict[str, str]
) -> list[Outcome]:
    """Succeed, be refused, fail in every way, to every vendor, plain and streamed."""
    key, outcomes = installation.key, []
    for stream in (False, True):
        for n in range(len(_echoes(""))):
            upstream.answers(*({"vendor": v, **_echoes(echoed[v])[n]} for v in VENDORS))
            asked = [_asked(vendor, stream=stream) for vendor in VENDORS]
            outcomes += await ask_all(server.url, key, *asked)
        outcomes += await ask_all(server.url, key, *(_asked(v, stream=stream) for v in VENDORS))
    refused = [
        _asked("openai", model="gpt-4"),
        _asked("openai", model="no-such-model"),
        _asked("openai", maxTokens="many"),
        _asked("openai", messages=[{"role": "user", "content": PROMPT}]),
        _asked("openai", maxTokens=99_999_999),
    ]
    outcomes += await ask_all(server.url, key, *refused)
    outcomes += await ask_all(server.url, f"{key}x", *refused[:1])
    return outcomes


async def _crash(installation: Installation, server: Server, upstream: Upstream) -> None:
    """Kill the server in the middle of calls."""
    upstream.reset()
    upstream.answers(*({"vendor": vendor, "stall": "headers"} for vendor in VENDORS))
    asked = [_asked(vendor) for vendor in VENDORS]
    running = asyncio.create_task(ask_all(server.url, installation.key, *asked))
    await until(lambda: len(upstream.calls()) >= len(VENDORS))
    server.kill()
    await running


def _provider_keys(installation: Installation) -> dict[str, str]:
    return {vendor: installation.environment[KEY_VARIABLES[vendor]] for vendor in VENDORS}


def _secret_of(key: str) -> str:
    return key.split("_")[2]


def _cells(rows: Rows) -> Iterable[tuple[str, bytes]]:
    """Yield every value of every table, as bytes, with its table and column."""
    connect: Any = sqlite3.connect if rows.is_sqlite else psycopg.connect
    with closing(connect(rows.path if rows.is_sqlite else rows.url)) as connection:
        tables = [row[0] for row in connection.execute(TABLES[rows.is_sqlite]).fetchall()]
        for table in tables:
            cursor = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for column, value in zip(columns, row, strict=True):
                    yield f"{table}.{column}", _as_bytes(value)


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False).encode()
    return str(value).encode()


def _hits(places: Iterable[tuple[str, bytes]], canaries: dict[str, str]) -> set[tuple[str, str]]:
    return {
        (what, place)
        for place, content in places
        for what, canary in canaries.items()
        if canary.encode() in content
    }


def _canaries(installation: Installation) -> dict[str, str]:
    keys = {f"{vendor}'s key": key for vendor, key in _provider_keys(installation).items()}
    return {
        "an API key": _secret_of(installation.key),
        "a prompt": PROMPT,
        "the secret key": installation.environment["SECRET_KEY"],
        "a password": PASSWORD,
        **keys,
    }


@pytest.fixture
async def after_everything(
    installation: Installation, upstream: Upstream, rows: Rows
) -> AsyncIterator[list[Outcome]]:
    """A server after all kinds of calls, twice: providers echoed keys, then prompts."""
    installation.run("policies", "create", "acme", "--name", "P", "--block", "gpt-4")
    server = (await asyncio.to_thread(installation.serve))[0]
    upstream.reset()
    outcomes = await _everything(installation, server, upstream, _provider_keys(installation))
    with_prompt = dict.fromkeys(VENDORS, PROMPT)
    outcomes += await _everything(installation, server, upstream, with_prompt)
    await _crash(installation, server, upstream)
    rows.let_instances_look_dead()
    installation.run("ledger", "reap")
    yield outcomes
    rows.execute("DELETE FROM policy")


async def test_keys_and_prompts_are_never_stored_logged_or_shown(
    installation: Installation, after_everything: list[Outcome], rows: Rows
) -> None:
    canaries = _canaries(installation)
    statuses = {outcome.status for outcome in after_everything}
    answers = [
        (f"the answer {o.status} {o.code}", f"{o.answer} {o.headers}".encode())
        for o in after_everything
        if not o.is_answered
    ]
    keys = {what: canary for what, canary in canaries.items() if what != "a prompt"}
    assert {200, 400, 401, 403, 429, 502} <= statuses
    assert _hits(_cells(rows), canaries) == set()
    assert _hits([("the log", installation.logs().encode())], canaries) == set()
    assert _hits(answers, keys) == set()
    if rows.is_sqlite:
        files = Path(rows.path).parent.glob(f"{Path(rows.path).name}*")
        assert _hits([(file.name, file.read_bytes()) for file in files], canaries) == set()


async def test_search_finds_planted_text(installation: Installation, rows: Rows) -> None:
    rows.execute("UPDATE organization SET name = %s WHERE slug = 'acme'", f"Acme {PROMPT}")
    found = _hits(_cells(rows), _canaries(installation))
    rows.execute("UPDATE organization SET name = 'Acme' WHERE slug = 'acme'")
    assert ("a prompt", "organization.name") in found


async def test_key_is_shown_once_and_never_on_error_pages(
    installation: Installation, rows: Rows
) -> None:
    installation.members(("acme", PERSON, "admin"), password=PASSWORD)
    server = (await asyncio.to_thread(installation.serve))[0]
    async with Browser(server.url) as browser:
        await browser.sign_in(PERSON, PASSWORD)
        made = await browser.send("POST", "/admin/ai/keys/create", fields={"name": "Shown once"})
        shown = re.findall(r"pulse_\w{12}_\w{38}", made.body)
        again = [await browser.send("GET", path) for path in ("/admin/ai/keys", "/admin/ai")]
        sent = {"x-pulse-key": installation.key}
        sent_form = {"model": MODELS["openai"], "prompt": PROMPT}
        rows.execute("ALTER TABLE policy RENAME TO policy_gone")
        rows.execute("ALTER TABLE ai_request_log RENAME TO ai_request_log_gone")
        try:
            broken = [
                await browser.send("GET", "/admin/ai"),
                await browser.send("GET", "/admin/ai/policies"),
                await browser.send("POST", "/admin/ai/playground", fields=sent_form),
                await browser.send("GET", "/api/ai/requests", headers=sent),
                await browser.send(
                    "POST", "/api/ai/request", body={"model": "x", "prompt": "y"}, headers=sent
                ),
                await browser.send("GET", "/no/such/page", headers=sent),
            ]
        finally:
            rows.execute("ALTER TABLE policy_gone RENAME TO policy")
            rows.execute("ALTER TABLE ai_request_log_gone RENAME TO ai_request_log")
    canaries = _canaries(installation)
    new = {"the new key": _secret_of(shown[0])}
    assert len(set(shown)) == 1
    assert made.headers["cache-control"].count("no-store") == 1
    assert _hits([("a page", page.body.encode()) for page in again], new) == set()
    assert _hits(_cells(rows), new) == set()
    assert _hits([("the log", installation.logs().encode())], {**canaries, **new}) == set()
    assert {page.status for page in broken} & {500, 503}
    del canaries["a prompt"]  # the playground may show a person what they typed
    pages = [(f"page {n}: {page.status}", page.body.encode()) for n, page in enumerate(broken)]
    assert _hits(pages, {**canaries, **new}) == set()


async def test_provider_receives_prompt(upstream: Upstream) -> None:
    assert all(PROMPT in prompt_in(call) for call in upstream.recorded())
