"""The seam that every dialect fills: an API as its clients know it, from request to answer."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

from gateway.apis.arrival import Arrival
from gateway.core.calls import Call, Delta
from gateway.core.errors import GatewayError
from gateway.core.results import CallResult


class Speaker(Protocol):
    """Words one answer that was not relayed. Has the state of a stream, so one for each answer."""

    def whole(self, answer: CallResult) -> dict[str, Any]:
        """Return the whole answer as its client expects it."""
        ...

    def piece(self, delta: Delta) -> bytes:
        """Return what a streamed piece is on the wire."""
        ...

    def last(self, answer: CallResult) -> bytes:
        """Return the end of a stream."""
        ...


class Dialect(Protocol):
    """One API. `key_headers` are those in which its clients send their key."""

    channel: str
    key_headers: tuple[str, ...]

    def read(self, arrival: Arrival) -> Call:
        """Return the Call that a request asks for. Raises Refused, which names the field."""
        ...

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Return what words the answer to `call`."""
        ...

    def error(self, error: GatewayError, /, *, status: int) -> dict[str, Any]:
        """Return an error as the client's own library expects it."""
        ...

    def error_event(self, error: GatewayError, /) -> bytes:
        """Return an error as it ends a stream."""
        ...
