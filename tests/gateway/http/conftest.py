"""A wire, and a server of plain bytes at its other end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from gateway.providers.wire import Wire
from tests.gateway.http.raw_server import RawServer, raw_server


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as made:
        yield made


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    yield made
    await made.aclose()
