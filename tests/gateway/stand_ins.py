"""Stand-in providers: they send the answers that a test sets, when it says."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from costs.core.usage import Usage
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.errors import ProviderFailed
from gateway.core.providers import USUAL, ProviderConfig, TimeLimits
from gateway.core.seen import SeenOutput
from gateway.providers.adapters.base import ProviderSdk
from gateway.providers.registry import Providers

WAIT_MAX_S: Final = 120.0
USAGE: Final = Usage(input_uncached=9, output_text=2)


@dataclass(slots=True)
class StandIn:
    """A ProviderSdk. It yields `pieces`, waits until `may_end`, then fails or completes.

    `asked` are the calls that reached it, `closed` is set when a stream of it was closed early.
    """

    pieces: tuple[str, ...] = ("Hello", "!")
    usage: Usage | None = USAGE
    model: str | None = None
    finish_reason: str | None = "stop"
    raw_usage: dict[str, Any] | None = None
    failure: ProviderFailed | None = None
    waits: bool = False
    name: str = "sandbox"
    asked: list[ProviderCall] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    async def complete(self, call: ProviderCall) -> Completion:
        """Answer at once."""
        self.asked.append(call)
        self.reached.set()
        try:
            await self._until_it_may_end()
        except asyncio.CancelledError:
            self.closed.set()
            raise
        return self._completion(call, "".join(self.pieces))

    async def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Answer in pieces, of which nothing is seen."""
        self.asked.append(call)
        try:
            for piece in self.pieces:
                yield Delta(piece)
            self.reached.set()
            await self._until_it_may_end()
        except (asyncio.CancelledError, GeneratorExit):
            self.closed.set()
            raise
        yield self._completion(call, "")

    async def check(self) -> str:
        """Say nothing of interest."""
        return "it stands in"

    async def aclose(self) -> None:
        """Close nothing."""

    async def _until_it_may_end(self) -> None:
        while self.waits and not self.may_end.is_set():  # noqa: ASYNC110  set by another thread
            await asyncio.sleep(0.005)
        if self.failure is not None:
            raise self.failure

    def _completion(self, call: ProviderCall, content: str) -> Completion:
        return Completion(
            model=self.model or call.model,
            content=content,
            finish_reason=self.finish_reason,
            usage=self.usage,
            raw_usage=self.raw_usage,
        )


class Only(Providers):
    """A registry that returns one provider for every name."""

    def __init__(self, provider: StandIn, limits: TimeLimits = USUAL) -> None:
        super().__init__({}, sandbox=True, limits=limits)
        self.provider = provider
        self.vendors = {name: replace(config, fault=None) for name, config in self.vendors.items()}

    async def get(self, config: ProviderConfig) -> ProviderSdk:
        """Return the one there is."""
        return self.provider


def until(happened: Any, *, timeout_s: float = WAIT_MAX_S) -> None:
    """Wait until `happened` returns true; the event occurs in another thread."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
