"""The seam that every provider fills: ask, read, report usage, and say what is known on failure."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from gateway.core.calls import Completion, Delta, ProviderCall


class Provider(Protocol):
    """One vendor, spoken to through its official SDK.

    An instance belongs to one event loop and keeps its connections open between calls. Every
    method raises only members of `gateway.core.errors.ProviderFailed`; anything else is a bug.
    Vendors' retries are off: one call of ours is at most one request to the vendor, but for
    embeddings of more inputs than a vendor takes at once.
    """

    name: str

    async def complete(self, call: ProviderCall) -> Completion:
        """Ask for the whole answer at once, or for the embeddings of a call's `inputs`."""
        ...

    def stream(self, call: ProviderCall) -> AsyncGenerator[Delta | Completion, None]:
        """Ask for the answer in pieces: Deltas, then exactly one Completion, always last.

        Closing the iterator closes the connection to the vendor. A stream that ends without a
        finish reason and without usage raises Broken.
        """
        ...

    async def check(self) -> str:
        """Ask the vendor something free (its models) and return a line saying what it said."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
