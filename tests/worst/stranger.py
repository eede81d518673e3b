"""The worst of a stranger, who has neither key nor session."""

from __future__ import annotations

import asyncio
import secrets

from orgs.core.keys import new_key
from tests.system.browser import Browser
from tests.system.servers import HOST
from tests.worst.wire import Attack, Target, flood, head, send, side_by_side

MIB = 2**20
JSON = {"content-type": "application/json"}
CHAT = "/v1/chat/completions"


async def slow_heads(target: Target) -> None:
    """Keep 2,000 heads open by a line a second."""

    async def step() -> None:
        _, writer = await target.connect()
        writer.write(b"GET /v1/models HTTP/1.1\r\n")
        while True:
            writer.write(b"x: y\r\n")
            await writer.drain()
            await asyncio.sleep(1)

    await side_by_side(2_000, step)


async def many_connections(target: Target) -> None:
    """Open 12,000 connections and send nothing."""

    async def step() -> None:
        reader, _ = await target.connect()
        await reader.read()

    await side_by_side(12_000, step)


async def still_page_bodies(target: Target) -> None:
    """Send page bodies of 1 and of 16 MiB but for the last byte, and stand still."""
    sizes = [MIB, 16 * MIB] * 40

    async def step() -> None:
        size = sizes[secrets.randbelow(len(sizes))]
        reader, writer = await target.connect()
        form = "content-type: application/x-www-form-urlencoded"
        writer.write(head("POST", "/login", form, f"content-length: {size}"))
        writer.write(b"a" * (size - 1))
        await writer.drain()
        await reader.read()

    await side_by_side(len(sizes), step)


async def chunked_trailers(target: Target) -> None:
    """End a chunked body by trailers without an end."""
    trailers = b"x-trailer: " + b"a" * 8_000 + b"\r\n"

    async def step() -> None:
        _, writer = await target.connect()
        writer.write(head("POST", CHAT, "transfer-encoding: chunked") + b"2\r\n{}\r\n0\r\n")
        while not writer.transport.is_closing():
            writer.write(trailers)
            await writer.drain()

    await side_by_side(20, step)


async def large_api_bodies(target: Target) -> None:
    """Send API bodies of 9 MiB without a key."""
    async with target.session(**JSON) as session:
        await flood(session, 16, "POST", CHAT, data=b"[" * (9 * MIB))


async def wrong_keys(target: Target) -> None:
    """Send keys of another installation, with a valid checksum."""
    async with target.session() as session:

        async def step() -> None:
            await send(
                session, "GET", "/v1/models", headers={"x-pulse-key": new_key(b"not ours").text}
            )

        await side_by_side(64, step)


async def wrong_passwords(target: Target) -> None:
    """Sign in with wrong passwords."""
    async with Browser(target.url) as browser:
        await browser.send("GET", "/login")

        async def step() -> None:
            email = f"{secrets.token_hex(4)}@{HOST}.example"
            await browser.send("POST", "/login", fields={"email": email, "password": "wrong"})

        await side_by_side(32, step)


async def unknown_sessions(target: Target) -> None:
    """Send session cookies that do not exist, each of which takes a query."""
    async with target.session() as session:

        async def step() -> None:
            cookie = {"cookie": f"sessionid={secrets.token_hex(16)}"}
            await send(session, "GET", "/api/ai/requests", headers=cookie)

        await side_by_side(64, step)


async def pipelined(target: Target) -> None:
    """Send requests without waiting for answers, and read none."""
    requests = head("GET", "/v1/models") * 200

    async def step() -> None:
        _, writer = await target.connect()
        while not writer.transport.is_closing():
            writer.write(requests)
            await writer.drain()

    await side_by_side(100, step)


async def header_floods(target: Target) -> None:
    """Send as many headers as fit, and heads without an end."""
    many = head("GET", "/v1/models", *(f"x-{n}: y" for n in range(5_000)))

    async def step() -> None:
        _, writer = await target.connect()
        writer.write(many if secrets.randbelow(2) else b"GET / HTTP/1.1\r\nx: " + b"a" * MIB)
        await writer.drain()
        writer.transport.abort()

    await side_by_side(32, step)


ATTACKS: tuple[Attack, ...] = (
    slow_heads,
    many_connections,
    still_page_bodies,
    chunked_trailers,
    large_api_bodies,
    wrong_keys,
    wrong_passwords,
    unknown_sessions,
    pipelined,
    header_floods,
)
