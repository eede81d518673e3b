"""The provider registry: from a provider's configuration to its connections on the event loop."""

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

from gateway.core.calls import Completion, RelayRequest
from gateway.core.errors import NotConfigured
from gateway.core.providers import (
    CHAT,
    GENERATE,
    MESSAGES,
    MISTRAL,
    USUAL,
    ProviderConfig,
    TimeLimits,
)
from gateway.providers import vendors
from gateway.providers.adapters.base import ProviderSdk
from gateway.providers.input_counts import InputCounts
from gateway.providers.vendors import SANDBOX
from gateway.upstream.http_client import HttpClient
from gateway.upstream.network import Network
from gateway.upstream.relay import Relay
from gateway.upstream.upstreams import Upstream
from orgs.threads import LIBRARIES


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """The settings of one vendor.

    `base_url` None is the vendor's default, `limits` None are the installation's.
    """

    api_key: str
    base_url: str | None
    limits: TimeLimits | None = None


logger = logging.getLogger("pulse.gateway")
DIRECT: Final = Network()
KEPT_MAX: Final = 1_000
_ADAPTERS: Final = "gateway.providers.adapters"
# The SDK for calls that are not relayed, by the first of these APIs that a provider has.
_SDKS: Final = {
    CHAT: ("openai", "OpenAI"),
    MESSAGES: ("anthropic", "Anthropic"),
    GENERATE: ("google", "Google"),
}
_SDKS_OF_FAMILIES: Final = {MISTRAL: ("mistral", "Mistral"), SANDBOX: ("sandbox", "Sandbox")}


class Providers:
    """The vendors of the environment, and every provider's connections, one set per event loop.

    A provider is opened at its first use. Connections belong to the loop that made them, and a
    process may have several loops: the server's, and one for each thread that calls from sync code.
    """

    def __init__(
        self,
        by_name: Mapping[str, ProviderSettings],
        *,
        sandbox: bool,
        network: Network = DIRECT,
        limits: TimeLimits = USUAL,
    ) -> None:
        self._network = network
        none = ProviderSettings(api_key="", base_url=None)
        self.vendors: Mapping[str, ProviderConfig] = {
            **{
                name: vendor.configured(found.api_key, found.base_url, found.limits or limits)
                for name, vendor in vendors.vendors().items()
                for found in [by_name.get(name, none)]
            },
            SANDBOX: vendors.sandbox(is_on=sandbox, limits=limits),
        }
        self.input_counts = InputCounts(self._whole)
        self._upstreams: dict[str, Upstream] = {}
        self._opened: dict[asyncio.AbstractEventLoop, dict[str, _Opening]] = {}
        self._http: dict[asyncio.AbstractEventLoop, HttpClient] = {}
        self._lock = threading.Lock()

    def configured(self) -> tuple[str, ...]:
        """Return the names of the configured vendors, in a fixed order."""
        return tuple(name for name, config in self.vendors.items() if config.fault is None)

    def upstream(self, config: ProviderConfig) -> Upstream:
        """Return the upstream of a provider. Raises NotConfigured."""
        check(config)
        found = self._upstreams.get(config.name)
        if found is None or found.config is not config:
            _bound(self._upstreams)
            found = self._upstreams[config.name] = Upstream.of(config)
        return found

    def relay(self) -> Relay:
        """Return the relay of the running loop."""
        return Relay(self._client())

    async def _whole(self, config: ProviderConfig, request: RelayRequest) -> Completion:
        return await self.relay().whole(self.upstream(config), request)

    async def get(self, config: ProviderConfig) -> ProviderSdk:
        """Return the provider, to be called through its SDK. Raises NotConfigured."""
        check(config)
        await self._forget_closed_loops()
        mine = self._mine()
        found = mine.get(config.name)
        if found is None or found.config != config:
            _bound(mine)
            task = asyncio.create_task(self._open(config))
            found = mine[config.name] = _Opening(config, task)
            task.add_done_callback(lambda done: _forget_failed(mine, config.name, done))
        # Shielded: a cancelled caller must not fail the others that wait for the same import.
        return await asyncio.shield(found.task)

    async def open_all(self) -> None:
        """Open every configured vendor on the running loop, so that no call waits for an import.

        One after the other: a call that needs another one waits for a single import at most.
        """
        for name in self.configured():
            try:
                await self.get(self.vendors[name])
            except Exception:  # its first call meets it again
                logger.exception('provider "%s" could not be opened', name)

    async def aclose(self) -> None:
        """Close everything that the running loop opened."""
        with self._lock:
            mine = self._opened.pop(asyncio.get_running_loop(), {})
            http = self._http.pop(asyncio.get_running_loop(), None)
        for opening in mine.values():
            await (await opening.task).aclose()
        if http is not None:
            await http.aclose()

    def _mine(self) -> dict[str, _Opening]:
        with self._lock:
            return self._opened.setdefault(asyncio.get_running_loop(), {})

    def _client(self) -> HttpClient:
        loop = asyncio.get_running_loop()
        found = self._http.get(loop)
        if found is None:
            with self._lock:
                found = self._http.setdefault(loop, HttpClient(self._network))
        return found

    async def _open(self, config: ProviderConfig) -> ProviderSdk:
        # In a thread: a vendor's SDK takes up to two seconds to import.
        return await LIBRARIES.run(config.name, partial(_made, config, self._client()))

    async def _forget_closed_loops(self) -> None:
        # Explicitly: a weak key would never be dropped, because its connections refer to the loop.
        with self._lock:
            gone = [loop for loop in self._opened if loop.is_closed()]
            openings = [each for loop in gone for each in self._opened.pop(loop).values()]
            clients = [self._http.pop(loop) for loop in [*self._http] if loop.is_closed()]
        for task in (each.task for each in openings):
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().aclose()
        for http in clients:
            await http.aclose()


@dataclass(frozen=True, slots=True, eq=False)
class _Opening:
    """A provider that is open, or being opened, as it is configured."""

    config: ProviderConfig
    task: asyncio.Task[ProviderSdk]


def _bound(kept: dict[str, Any]) -> None:
    """Forget all if they are too many: each is opened again at its next use."""
    if len(kept) >= KEPT_MAX:
        kept.clear()


def check(config: ProviderConfig) -> None:
    """Raise NotConfigured if a provider cannot be called."""
    if config.fault is not None:
        raise NotConfigured(config.fault)


def sdk_of(config: ProviderConfig) -> tuple[str, str] | None:
    """Return the adapter for calls that are not relayed, None if no API of the provider has one."""
    found = (sdk for dialect, sdk in _SDKS.items() if dialect in config.dialects)
    return _SDKS_OF_FAMILIES.get(config.family) or next(found, None)


def _made(config: ProviderConfig, http: HttpClient) -> ProviderSdk:
    module, name = sdk_of(config) or ("", "")
    adapter: Any = getattr(importlib.import_module(f"{_ADAPTERS}.{module}"), name)
    made: ProviderSdk = adapter(config, http)
    return made


def _forget_failed(mine: dict[str, _Opening], name: str, task: asyncio.Task[ProviderSdk]) -> None:
    if (task.cancelled() or task.exception() is not None) and mine[name].task is task:
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
