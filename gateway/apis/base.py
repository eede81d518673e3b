"""The interface of every dialect: a vendor's API, from request to answer."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

from gateway.apis.arrival import Arrival
from gateway.apis.refusals import Wordings
from gateway.core.calls import Call, CallResult, Delta
from gateway.core.errors import GatewayError


class Speaker(Protocol):
    """Format one answer that was not relayed. Holds the state of a stream: one per answer."""

    def whole(self, answer: CallResult) -> dict[str, Any]:
        """Return the whole answer in its client's format."""
        ...

    def piece(self, delta: Delta) -> bytes:
        """Return a streamed delta as bytes."""
        ...

    def last(self, answer: CallResult) -> bytes:
        """Return the end of a stream."""
        ...


class Dialect(Protocol):
    """One API. `key_headers` are those in which its clients send their key.

    `refusals` are its words for refusals by a limit.
    """

    channel: str
    key_headers: tuple[str, ...]
    refusals: Wordings

    def read(self, arrival: Arrival) -> Call:
        """Parse a request into a Call. Raises Refused, which names the field."""
        ...

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Return the formatter of the answer to `call`."""
        ...

    def error(self, error: GatewayError, /, *, status: int) -> dict[str, Any]:
        """Return an error in the format of the client's own library."""
        ...

    def error_event(self, error: GatewayError, /) -> bytes:
        """Return an error as the last event of a stream."""
        ...
