"""The provider registry: from a name to its instance on the running event loop."""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.conf import settings

from gateway.core.errors import NotConfigured
from gateway.providers.base import Provider
from gateway.upstream.http_client import HttpClient
from gateway.upstream.network import USUAL, Network, TimeLimits
from gateway.upstream.relay import Relay
from gateway.upstream.upstreams import Upstream, upstream
from orgs.threads import LIBRARIES


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """The settings of one vendor.

    `base_url` None is the vendor's default, `limits` None are the installation's.
    """

    api_key: str
    base_url: str | None
    limits: TimeLimits | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    title: str
    module: str
    adapter: str
    variable: str


SANDBOX: Final = "sandbox"
logger = logging.getLogger("pulse.gateway")
DIRECT: Final = Network()
_ENTRIES: Final = {
    "openai": _Entry("OpenAI", "gateway.providers.openai", "OpenAI", "OPENAI_API_KEY"),
    "anthropic": _Entry(
        "Anthropic", "gateway.providers.anthropic", "Anthropic", "ANTHROPIC_API_KEY"
    ),
    "google": _Entry("Google", "gateway.providers.google", "Google", "GOOGLE_API_KEY"),
    "mistral": _Entry("Mistral", "gateway.providers.mistral", "Mistral", "MISTRAL_API_KEY"),
    SANDBOX: _Entry("Sandbox", "gateway.providers.sandbox", "Sandbox", "PULSE_SANDBOX=on"),
}


class Providers:
    """Return providers by name, each opened at first use, one per event loop.

    Connections belong to the loop that made them, and a process may have several loops: the
    server's, and one for each thread that calls from sync code.
    """

    def __init__(
        self,
        by_name: Mapping[str, ProviderSettings],
        *,
        sandbox: bool,
        network: Network = DIRECT,
        limits: TimeLimits = USUAL,
    ) -> None:
        self._settings = {name: found for name, found in by_name.items() if found.api_key}
        self._sandbox = sandbox
        self._network = network
        self._limits = limits
        self._upstreams = {
            name: upstream(
                name,
                api_key=found.api_key,
                base_url=found.base_url,
                limits=found.limits or limits,
            )
            for name, found in self._settings.items()
        }
        self.places: Mapping[str, str] = {
            name: found.place for name, found in self._upstreams.items()
        }
        self._opened: dict[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Provider]]] = {}
        self._http: dict[asyncio.AbstractEventLoop, HttpClient] = {}
        self._lock = threading.Lock()

    def configured(self) -> tuple[str, ...]:
        """Return the names of the configured providers, in a fixed order."""
        return tuple(name for name in _ENTRIES if self._is_configured(name))

    def check(self, name: str) -> None:
        """Raise NotConfigured if the provider is not configured."""
        if not self._is_configured(name):
            raise NotConfigured(_not_configured(name))

    def limits(self, name: str | None) -> TimeLimits:
        """Return how long a provider may take; None is none in particular."""
        found = self._upstreams.get(name) if name else None
        return found.limits if found else self._limits

    def upstream(self, name: str) -> Upstream:
        """Return the upstream of a vendor. Raises NotConfigured."""
        self.check(name)
        return self._upstreams[name]

    def relay(self) -> Relay:
        """Return the relay of the running loop."""
        return Relay(self._client())

    async def get(self, name: str) -> Provider:
        """Return the provider. Raises NotConfigured."""
        self.check(name)
        await self._forget_closed_loops()
        mine = self._mine()
        task = mine.get(name)
        if task is None:
            task = mine[name] = asyncio.create_task(self._open(name))
            task.add_done_callback(lambda done: _forget_failed(mine, name, done))
        # Shielded: a cancelled caller must not fail the others that wait for the same import.
        return await asyncio.shield(task)

    async def open_all(self) -> None:
        """Open every configured provider on the running loop, so that no call waits for an import.

        One after the other: a call that needs another one waits for a single import at most.
        """
        for name in self.configured():
            try:
                await self.get(name)
            except Exception:  # its first call meets it again
                logger.exception('provider "%s" could not be opened', name)

    async def aclose(self) -> None:
        """Close everything that the running loop opened."""
        with self._lock:
            mine = self._opened.pop(asyncio.get_running_loop(), {})
            http = self._http.pop(asyncio.get_running_loop(), None)
        for task in mine.values():
            await (await task).aclose()
        if http is not None:
            await http.aclose()

    def _is_configured(self, name: str) -> bool:
        return self._sandbox if name == SANDBOX else name in self._settings and name in _ENTRIES

    def _mine(self) -> dict[str, asyncio.Task[Provider]]:
        with self._lock:
            return self._opened.setdefault(asyncio.get_running_loop(), {})

    def _client(self) -> HttpClient:
        loop = asyncio.get_running_loop()
        found = self._http.get(loop)
        if found is None:
            with self._lock:
                found = self._http.setdefault(loop, HttpClient(self._network))
        return found

    async def _open(self, name: str) -> Provider:
        # In a thread: a vendor's SDK takes up to two seconds to import.
        return await LIBRARIES.run(name, partial(self._made, name, self._client()))

    def _made(self, name: str, http: HttpClient) -> Provider:
        entry = _ENTRIES[name]
        adapter: Any = getattr(importlib.import_module(entry.module), entry.adapter)
        if name == SANDBOX:
            made: Provider = adapter()
            return made
        found = self._settings[name]
        made = adapter(
            api_key=found.api_key, base_url=found.base_url, limits=self.limits(name), http=http
        )
        return made

    async def _forget_closed_loops(self) -> None:
        # Explicitly: a weak key would never be dropped, because its connections refer to the loop.
        with self._lock:
            gone = [loop for loop in self._opened if loop.is_closed()]
            tasks = [task for loop in gone for task in self._opened.pop(loop).values()]
            clients = [self._http.pop(loop) for loop in [*self._http] if loop.is_closed()]
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().aclose()
        for http in clients:
            await http.aclose()


def _not_configured(name: str) -> str:
    entry = _ENTRIES.get(name)
    if entry is None:
        return f'Unknown provider "{name}"'
    return f'Provider "{entry.title}" is not configured; set {entry.variable}'


def _forget_failed(
    mine: dict[str, asyncio.Task[Provider]], name: str, task: asyncio.Task[Provider]
) -> None:
    if task.cancelled() or task.exception() is not None:
        mine.pop(name, None)


def providers_from_settings() -> Providers:
    """Return the providers that the installation's settings configure."""
    network: dict[str, Any] = {**settings.NETWORK, **settings.SECRET_PROXIES}
    return Providers(
        {
            name: ProviderSettings(key, base_url)
            for name, (key, base_url) in settings.PROVIDERS.items()
        },
        sandbox=settings.SANDBOX,
        network=Network(**network),
        limits=TimeLimits(**settings.TIME_LIMITS),
    )
