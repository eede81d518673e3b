"""The ASGI application: API paths use the lean handler, all others Django's own."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from functools import partial
from typing import Final

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pulse.settings")
django_application = get_asgi_application()

from django.conf import settings  # noqa: E402  the apps are ready only now

from gateway.alerts.loop import AlertLoop  # noqa: E402
from gateway.call.runtime import Gateway, current  # noqa: E402
from gateway.http.addresses import is_api  # noqa: E402
from gateway.http.bodies import Receive  # noqa: E402
from pulse.server import api_handler, pages, websocket  # noqa: E402
from pulse.server.page_turns import TakingTurns  # noqa: E402
from pulse.server.protocol import ON_STOP  # noqa: E402
from pulse.server.server import stop_with_parent  # noqa: E402

IMPORT_AFTER_S: Final = 3.0
ALERTS_STOP_MAX_S: Final = 15.0  # longer than a webhook or a mail server may take
# New containers between two collections of cyclic garbage. Requests leave almost none, and at
# Python's default of 700 collections took 8 % of a request.
GARBAGE_AFTER: Final = 20_000
# How long a thread that computes keeps the interpreter from the event loop, each time it waits for
# it: Python's default of 5 ms adds up, since a request takes the interpreter some ten times. Beside
# the bare relay a request takes 4.7 times the CPU at 5 ms, 4.9 at 2 ms and 5.8 at 0.5 ms.
SWITCH_AFTER_S: Final = 0.002

console = TakingTurns(django_application)


async def application(scope: api_handler.Scope, receive: Receive, send: api_handler.Send) -> None:
    """Serve one connection's scope."""
    if scope["type"] == "lifespan":
        await _live(scope, receive, send)
    elif scope["type"] == "http" and is_api(scope["path"], scope["headers"]):
        await api_handler.handle(scope, receive, send)
    elif scope["type"] == "websocket":
        await websocket.handle(scope, receive, send)
    else:
        await pages.handle(console, scope, receive, send)


async def _open_providers(gateway: Gateway) -> None:
    """Import the vendors' libraries, which takes seconds, when the first requests are served."""
    await asyncio.sleep(IMPORT_AFTER_S)
    await gateway.providers.open_all()


async def _live(scope: api_handler.Scope, receive: Receive, send: api_handler.Send) -> None:
    """Start and stop with the server: calls run on its loop, and are completed before it ends."""
    gateway = current()
    alerts = AlertLoop(settings.ALERTS_EVERY_S)
    opening: asyncio.Task[None] | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            stop_with_parent()
            # Objects created so far stay: the garbage collector need not scan them again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE_AFTER, 10, 10)
            sys.setswitchinterval(SWITCH_AFTER_S)
            gateway.call_loop.adopt_running_loop()
            gateway.loop_lag.begin()
            gateway.writer.start()  # also for its housekeeping, before the first request
            alerts.start()
            scope["state"][ON_STOP] = partial(gateway.drain, settings.DRAIN_S)
            await send({"type": "lifespan.startup.complete"})
            opening = asyncio.create_task(_open_providers(gateway))
        elif message["type"] == "lifespan.shutdown":
            alerts.stop()
            if opening is not None:
                opening.cancel()
            await gateway.stop(drain_s=settings.DRAIN_S)
            await asyncio.to_thread(alerts.join, timeout_s=ALERTS_STOP_MAX_S)
            await send({"type": "lifespan.shutdown.complete"})
            return
