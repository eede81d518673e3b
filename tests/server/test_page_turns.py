"""Pages take turns: a few at once, half of them of one address."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.errors import Refused
from pulse.server.page_turns import AT_ONCE_MAX, OF_ADDRESS_MAX, UNDER_WAY_MAX, TakingTurns

START, END = {"type": "http.response.start"}, {"type": "http.response.body"}


class Pages:
    """Pages that begin their answer, and end it, when a test lets them."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.may_begin, self.may_end = asyncio.Event(), asyncio.Event()
        self.sent: list[Mapping[str, Any]] = []
        self.console = TakingTurns(self._page)
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, address: str, count: int = 1) -> list[asyncio.Task[None]]:
        """Open pages from an address."""
        scope = {"type": "http", "client": (address, 5000)}
        opened = [asyncio.create_task(self._run(scope)) for _ in range(count)]
        self._tasks += opened
        return opened

    async def finish(self) -> None:
        """Let all pages end."""
        self.may_begin.set()
        self.may_end.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, scope: dict[str, Any]) -> None:
        await self.console(scope, self._receive, self._send)

    async def _page(self, scope: dict[str, Any], _: Any, send: Any) -> None:
        self.running[scope["client"][0]] += 1
        await self.may_begin.wait()
        await send(START)
        await self.may_end.wait()
        await send(END)

    async def _receive(self) -> Mapping[str, Any]:
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)


async def _settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_one_address_gets_part_of_all_turns() -> None:
    pages = Pages()
    pages.open("192.0.2.1", 10)
    await _settled()
    assert pages.running == {"192.0.2.1": OF_ADDRESS_MAX}
    for other in range(2, 10):
        pages.open(f"192.0.2.{other}")
    await _settled()
    assert pages.running.total() == AT_ONCE_MAX

    await pages.finish()
    assert pages.running.total() == 18
    assert pages.sent.count(END) == 18


@pytest.mark.asyncio
async def test_turn_ends_when_answer_begins() -> None:
    pages = Pages()
    pages.open("192.0.2.1", 10)
    pages.may_begin.set()
    await _settled()
    await _settled()

    assert pages.running == {"192.0.2.1": 10}
    assert END not in pages.sent
    await pages.finish()


@pytest.mark.asyncio
async def test_page_beyond_those_that_may_wait_is_refused() -> None:
    pages = Pages()
    pages.open("192.0.2.1", UNDER_WAY_MAX)
    await _settled()
    [beyond] = pages.open("192.0.2.1")
    await _settled()
    with pytest.raises(Refused, match="Too many requests are waiting"):
        beyond.result()
    [other] = pages.open("192.0.2.2")
    await pages.finish()
    assert other.exception() is None

    [later] = pages.open("192.0.2.1")
    await later
