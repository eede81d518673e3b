"""The worst of another organization's admin, who has a session and its CSRF token."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.system.browser import Browser
from tests.system.servers import HOST
from tests.worst.wire import Attack, Target, send, side_by_side

CHANGE_EVERY_S = 0.3  # ten in three seconds
YEAR = "period=365d"
CHANNEL = re.compile(r"/costs/alerts/channels/([0-9a-f-]{36})/test")


@asynccontextmanager
async def _signed_in(target: Target) -> AsyncIterator[Browser]:
    async with Browser(target.url) as browser:
        await browser.sign_in(target.email, target.password)
        yield browser


async def _pages(target: Target, count: int, *paths: str) -> None:
    async with _signed_in(target) as browser:

        async def step() -> None:
            await browser.send("GET", paths[secrets.randbelow(len(paths))])

        await side_by_side(count, step)


async def _with_calls(target: Target, *others: Callable[[], Awaitable[Any]]) -> None:
    """Run loops while the organization's key sends calls, which read what was changed."""
    async with target.with_key() as session:

        async def call() -> None:
            body = {"model": "sandbox-small", "prompt": "hi", "maxTokens": 16}
            await send(session, "POST", "/api/ai/request", json=body)

        await asyncio.gather(side_by_side(8, call), *(side_by_side(1, step) for step in others))


def _policy(patterns: int) -> dict[str, str]:
    entries = (f"*{secrets.token_hex(2)}*a*b*c*d*e*" for _ in range(patterns))
    return {"name": secrets.token_hex(8), "blocked_models": "\n".join(entries)}


async def configuration_changes(target: Target) -> None:
    """Change the configuration ten times in three seconds."""
    async with _signed_in(target) as browser:

        async def change() -> None:
            await browser.send("POST", "/admin/ai/policies/create", fields=_policy(1))
            await asyncio.sleep(CHANGE_EVERY_S)

        await _with_calls(target, change)


async def wildcards(target: Target) -> None:
    """Make policies of 200 wildcards, which every call of the organization is matched with."""
    async with _signed_in(target) as browser:

        async def change() -> None:
            await browser.send("POST", "/admin/ai/policies/create", fields=_policy(200))
            await asyncio.sleep(1)

        await _with_calls(target, change)


async def backtests(target: Target) -> None:
    """Have the effect of a policy shown beside its form, six at once."""
    async with _signed_in(target) as browser:

        async def step() -> None:
            await browser.send("POST", "/admin/ai/policies/effect", fields=_policy(100))

        await side_by_side(6, step)


async def year_exports(target: Target) -> None:
    """Export a year of costs and of requests, eight at once."""
    await _pages(
        target,
        8,
        f"/costs.csv?groupBy=user&{YEAR}",
        "/admin/ai/requests.csv",
        "/costs.json?" + YEAR,
    )


async def test_alerts(target: Target) -> None:
    """Send test alerts to a webhook that never answers, 16 at once."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    webhook = await asyncio.start_server(silent, HOST, 0)
    port = webhook.sockets[0].getsockname()[1]
    async with webhook, _signed_in(target) as browser:
        fields = {"name": "hook", "kind": "webhook", "url": f"http://{HOST}:{port}/hook"}
        await browser.send("POST", "/costs/alerts/channels/create", fields=fields)
        page = await browser.send("GET", "/costs/alerts/channels")
        [channel, *_] = CHANNEL.findall(page.body)

        async def step() -> None:
            await browser.send("POST", f"/costs/alerts/channels/{channel}/test", fields={})

        await side_by_side(16, step)


async def cost_pages(target: Target) -> None:
    """Open the cost explorer, 32 at once."""
    groups = ("model", "user", "team", "day", "key")
    await _pages(target, 32, *(f"/costs?groupBy={group}&{YEAR}" for group in groups))


ATTACKS: tuple[Attack, ...] = (
    configuration_changes,
    wildcards,
    backtests,
    year_exports,
    test_alerts,
    cost_pages,
)
