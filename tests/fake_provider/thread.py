"""The fake provider for tests: in its own thread and event loop, on a free port."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web

from tests.fake_provider.behaviour import Behaviour
from tests.fake_provider.hosts import HOSTS
from tests.fake_provider.hosts.app import make_host_app
from tests.fake_provider.hosts.tokens import TOKENS, IssuedTokens
from tests.fake_provider.records import Call, Records
from tests.fake_provider.server import make_app

HOST: Final = "127.0.0.1"
START_MAX_S: Final = 60.0
PREFIXES: Final = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "google": "/google",
    "mistral": "/mistral",
}


class FakeProvider:
    """Four vendors on one loopback port, or one host, as strict as the real one, on its own.

    with FakeProvider() as provider:
        provider.answers(status=529)
        ... make a call to provider.base_url("anthropic") ...
        assert len(provider.calls) == 1

    with FakeProvider(host="groq") as provider:
        ... make a call to provider.base_url("groq") with HOSTS["groq"].key ...
    """

    def __init__(
        self, *, record: Path | None = None, port: int = 0, host: str | None = None
    ) -> None:
        self._records = Records(record)
        self._app = (
            make_app(self._records) if host is None else make_host_app(self._records, HOSTS[host])
        )
        self._wanted_port = port
        self._port = 0
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="fake-provider", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start listening."""
        self._thread.start()
        if not self._started.wait(START_MAX_S):
            raise RuntimeError("the fake provider did not start")

    def stop(self) -> None:
        """Stop listening and close all connections."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(START_MAX_S)

    def base_url(self, vendor: str) -> str:
        """Return what the vendor's `*_BASE_URL` is set to."""
        path = PREFIXES[vendor] if vendor in PREFIXES else HOSTS[vendor].path
        return f"{self.origin}{path}"

    @property
    def origin(self) -> str:
        """Return the address without a path, where a host's token endpoints are."""
        return f"http://{HOST}:{self._port}"

    @property
    def tokens(self) -> IssuedTokens:
        """The tokens that a host has issued."""
        return self._app[TOKENS]

    def answers(self, **behaviour: Any) -> None:
        """Queue a Behaviour for the next calls; without one a call is answered correctly."""
        self._records.queue(Behaviour(**behaviour))

    def release(self) -> None:
        """Let the calls be answered that wait for it, until the next reset."""
        self._records.is_released = True

    @property
    def calls(self) -> list[Call]:
        """Every call so far, oldest first."""
        return self._records.calls

    def reset(self) -> None:
        """Clear calls and behaviours."""
        self._records.reset()

    def wait_for(self, seen: Callable[[Call], object], *, timeout_s: float = 120.0) -> Call:
        """Wait for the first call for which `seen` is true; the loop may be busy."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = next((call for call in self.calls if seen(call)), None)
            if found is not None:
                return found
            time.sleep(0.01)
        raise AssertionError(f"no such call within {timeout_s} s: {self.calls}")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(serve(self._app, self._wanted_port, self._listening))
        finally:
            self._loop.close()

    async def _listening(self, port: int) -> None:
        self._port = port
        self._started.set()
        await self._stopped.wait()


async def serve(app: web.Application, port: int, meanwhile: Callable[[int], Any]) -> None:
    """Serve until `meanwhile`, which gets the port, returns."""
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        await meanwhile(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def closed_port() -> int:
    """Return a loopback port on which nothing listens: a connection to it is refused."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port: int = taken.getsockname()[1]
        return port
