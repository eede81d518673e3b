"""The gateway's adapters for tests: each vendor's real SDK, at the fake provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from gateway.apis.families.fitting import fitted
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.errors import ProviderFailed
from gateway.core.messages import Message
from gateway.core.providers import TimeLimits
from gateway.core.seen import SeenOutput
from gateway.providers.adapters.base import ProviderSdk
from gateway.providers.registry import Providers, ProviderSettings
from tests.fake_provider.behaviour import VENDORS
from tests.fake_provider.thread import FakeProvider

# Keys of the vendors' shapes, so that what hides them is tested on what it will meet.
KEYS: Final = {
    "openai": "sk-proj-canary0123456789",
    "anthropic": "sk-ant-canary0123456789",
    "google": "AIzaCanary0123456789",
    "mistral": "canary0123456789MistralKeysHaveNoPrefix",
}
MODELS: Final = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-opus-4-6",
    "google": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
}
TIMEOUT_S: Final = 5.0
every_vendor = pytest.mark.parametrize("vendor", VENDORS)
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


def settings_at(
    base_urls: Mapping[str, str], limits: TimeLimits | None = None
) -> dict[str, ProviderSettings]:
    """Return the settings of the vendors at those addresses."""
    return {
        vendor: ProviderSettings(api_key=KEYS[vendor], base_url=base_url, limits=limits)
        for vendor, base_url in base_urls.items()
    }


@dataclass(frozen=True, slots=True)
class Wire:
    """The fake provider, and the adapters that call it."""

    fake: FakeProvider
    providers: Providers

    async def ask(self, vendor: str, *, streamed: bool, **changes: Any) -> Completion:
        """Make a call and return its completion, with the text as its content."""
        provider = await self.providers.get(self.providers.vendors[vendor])
        return await ask(provider, call_to(vendor, **changes), streamed=streamed)

    async def failure(self, vendor: str, *, streamed: bool, **changes: Any) -> ProviderFailed:
        """Make one call that fails and return its failure."""
        with pytest.raises(ProviderFailed) as failed:
            await self.ask(vendor, streamed=streamed, **changes)
        assert len(self.fake.calls) == 1
        return failed.value


@asynccontextmanager
async def opened(
    vendor: str, base_url: str, limits: TimeLimits | None = None
) -> AsyncIterator[ProviderSdk]:
    """Open one vendor's adapter and close it afterwards."""
    providers = Providers(settings_at({vendor: base_url}, limits), sandbox=False)
    try:
        yield await providers.get(providers.vendors[vendor])
    finally:
        await providers.aclose()


@asynccontextmanager
async def connected() -> AsyncIterator[Wire]:
    """Run a fake provider with the adapters of all vendors at it."""
    with FakeProvider() as fake:
        base_urls = {vendor: fake.base_url(vendor) for vendor in VENDORS}
        providers = Providers(settings_at(base_urls), sandbox=True)
        try:
            yield Wire(fake, providers)
        finally:
            await providers.aclose()


def call_to(
    vendor: str, prompt: str = "Say hello to everyone here", **changes: Any
) -> ProviderCall:
    """Return an ordinary, fitted call: a system and a user message, a cap, no temperature."""
    ordinary: dict[str, Any] = {
        "model": MODELS[vendor],
        "messages": (Message("system", "Be brief"), Message("user", prompt)),
        "max_output_tokens": 100,
        "temperature": None,
        "timeout_s": TIMEOUT_S,
    }
    return fitted(ProviderCall(**ordinary | changes), vendor)


async def read(stream: AsyncIterator[Delta | Completion]) -> tuple[str, Completion]:
    """Return a stream's text and its completion, which must come last."""
    pieces = [piece async for piece in stream]
    *deltas, end = pieces
    assert isinstance(end, Completion)
    assert end.content == ""
    texts = [delta.content for delta in deltas if isinstance(delta, Delta)]
    assert len(texts) == len(deltas)
    return "".join(texts), end


async def ask(provider: ProviderSdk, call: ProviderCall, *, streamed: bool) -> Completion:
    """Call plain or streamed and return the completion, with the text as its content."""
    if not streamed:
        return await provider.complete(call)
    content, end = await read(provider.stream(call, SeenOutput()))
    return replace(end, content=content)
