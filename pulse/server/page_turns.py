"""Pages that run at once: a few, of which one address gets half; the others wait.

Django runs each page in a thread of its own. Without a limit, a client that opened many at once
kept the interpreter from the event loop, and so from the calls of every organization.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final
from weakref import WeakValueDictionary

from gateway.core.errors import overloaded
from gateway.http.bodies import ClientDisconnected, Receive
from orgs.core.addresses import counted_address
from pulse.server.api_handler import Scope, Send

AT_ONCE_MAX: Final = 4
OF_ADDRESS_MAX: Final = 2
# Running and waiting, of one address.
UNDER_WAY_MAX: Final = 64

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class TakingTurns:
    """An application whose requests take turns until their answer begins.

    `receive` must deliver the whole body as one message. A client that leaves while it waits gives
    up its turn. An answer that is streamed computes each piece in a turn of its own kind
    (`orgs.threads`), and its client may be slow.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._all = asyncio.Semaphore(AT_ONCE_MAX)
        self._of_address: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request in its turn.

        Raises Refused if too many of its address are under way, and ClientDisconnected.
        """
        address = counted_address(scope["client"][0] if scope["client"] else "")
        if self._under_way[address] >= UNDER_WAY_MAX:
            raise overloaded()
        async with AsyncExitStack() as turn:
            self._under_way[address] += 1
            turn.callback(self._end, address)
            of_address = asyncio.Semaphore(OF_ADDRESS_MAX)
            body = await receive()
            for places in (self._of_address.setdefault(address, of_address), self._all):
                entering = turn.enter_async_context(places)
                await (_unless_left(entering, receive) if places.locked() else entering)

            async def send_after_turn(message: Mapping[str, Any]) -> None:
                await turn.aclose()
                await send(message)

            await self._application(scope, before(body, receive), send_after_turn)

    def _end(self, address: str) -> None:
        self._under_way[address] -= 1
        if not self._under_way[address]:
            del self._under_way[address]


def before(message: Mapping[str, Any], receive: Receive) -> Receive:
    """Return a `receive` that delivers the message, and then what comes after it."""
    messages = iter([message])

    async def received() -> Mapping[str, Any]:
        return next(messages, None) or await receive()

    return received


async def _unless_left(entering: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Wait for a place. Raises ClientDisconnected as soon as the client has left."""
    tasks = [asyncio.ensure_future(entering), asyncio.ensure_future(receive())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientDisconnected
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
