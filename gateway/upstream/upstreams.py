"""A provider as requests are sent to it: its URLs, headers, peer and time limits.

They come from settings and from rows of the database, never from a caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from yarl import URL

from gateway.core.calls import Completion, RelayRequest, StreamReading
from gateway.core.errors import Broken
from gateway.core.providers import ProviderConfig
from gateway.upstream import http_client
from gateway.upstream.failures import Peer
from gateway.upstream.untrusted_json import ErrorAnswer


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider, and the peer whose secret no answer may contain."""

    config: ProviderConfig
    peer: Peer = field(repr=False)

    @classmethod
    def of(cls, config: ProviderConfig) -> Self:
        """Return the upstream of a provider."""
        return cls(config, Peer.of(config))

    def address(self, request: RelayRequest) -> URL:
        """Return the URL of a request. Raises NotSent."""
        return http_client.address(self.config.url_of(request.dialect, request.path))

    def finished(self, reading: StreamReading) -> Completion:
        """Return the completion of a finished stream. Raises Broken.

        In every API an answer ends with a reason, so a stream without one was cut off.
        """
        try:
            completion = reading.completion()
        except ErrorAnswer as exc:
            raise Broken(self.peer.broke_off(str(exc))) from exc
        if completion.finish_reason is None:
            raise Broken(self.peer.broke_off(""))
        return completion
