"""The interface of every provider: call, parse, report usage, and classify failures."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.seen import SeenOutput


class ProviderSdk(Protocol):
    """One vendor, called through its official SDK.

    An instance belongs to one event loop and keeps its connections open between calls. Every
    method raises only subclasses of `gateway.core.errors.ProviderFailed`; anything else is a bug.
    The SDKs' retries are off: one call is at most one request to the vendor, except embeddings of
    more inputs than a vendor accepts at once.
    """

    async def complete(self, call: ProviderCall) -> Completion:
        """Request the whole answer, or the embeddings of a call's `inputs`."""
        ...

    def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Request a streamed answer: Deltas, then exactly one Completion, always last.

        The output of its events is recorded in `seen`.
        Closing the iterator closes the connection to the vendor. A stream that ends without a
        finish reason and without usage raises Broken.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
