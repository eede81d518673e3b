"""Pages take turns: a few at once, half of them of one address."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.errors import Refused
from gateway.http.bodies import ClientDisconnected
from pulse.server.page_turns import AT_ONCE_MAX, OF_ADDRESS_MAX, UNDER_WAY_MAX, TakingTurns

BODY = {"type": "http.request", "body": b"a=1", "more_body": False}
START, END = {"type": "http.response.start"}, {"type": "http.response.body"}


class Pages:
    """Pages that begin their answer, and end it, when a test lets them."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.may_begin, self.may_end = asyncio.Event(), asyncio.Event()
        self.leaving: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
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
        messages = iter([BODY])

        async def receive() -> Mapping[str, Any]:
            if (body := next(messages, None)) is not None:
                return body
            await self.leaving[scope["client"][0]].wait()
            return {"type": "http.disconnect"}

        await self.console(scope, receive, self._send)

    async def _page(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        assert await receive() == BODY
        self.running[scope["client"][0]] += 1
        await self.may_begin.wait()
        await send(START)
        await self.may_end.wait()
        await send(END)

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


@pytest.mark.asyncio
async def test_client_that_leaves_while_it_waits_gives_up_its_turn() -> None:
    pages = Pages()
    opened = pages.open("192.0.2.1", UNDER_WAY_MAX)
    await _settled()
    pages.leaving["192.0.2.1"].set()
    await _settled()
    running, waiting = opened[:OF_ADDRESS_MAX], opened[OF_ADDRESS_MAX:]
    assert {type(page.exception()) for page in waiting} == {ClientDisconnected}
    assert not any(page.done() for page in running)

    pages.leaving.clear()
    [later] = pages.open("192.0.2.1")
    await pages.finish()
    assert later.exception() is None
    assert pages.running == {"192.0.2.1": OF_ADDRESS_MAX + 1}


@pytest.mark.asyncio
@pytest.mark.parametrize("ends", ["left", "cancelled", "failed"])
async def test_turn_is_kept_until_page_ends_without_answer(ends: str) -> None:
    begun, may_end = list[int](), asyncio.Event()

    async def page(*_: Any) -> None:
        begun.append(1)
        await may_end.wait()
        raise ClientDisconnected if ends == "left" else ZeroDivisionError

    async def receive() -> Mapping[str, Any]:
        return BODY

    console = TakingTurns(page)
    scope = {"type": "http", "client": ("192.0.2.1", 5000)}
    opened = [asyncio.create_task(console(scope, receive, page)) for _ in range(OF_ADDRESS_MAX)]
    await _settled()
    assert console._under_way == {"192.0.2.1": OF_ADDRESS_MAX}
    assert console._all._value == AT_ONCE_MAX - OF_ADDRESS_MAX
    if ends == "cancelled":
        for each in opened:
            each.cancel()
    may_end.set()
    await asyncio.wait(opened)
    assert console._under_way == {}
    assert console._all._value == AT_ONCE_MAX
