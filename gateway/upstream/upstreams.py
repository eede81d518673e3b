"""The vendors' base URLs and credentials: from settings, never from a caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from gateway.core.calls import Completion, StreamReading
from gateway.core.errors import Broken
from gateway.upstream import http_client
from gateway.upstream.failures import Peer
from gateway.upstream.untrusted_json import ErrorAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorApi:
    """A vendor's API. `credentials` are header templates for the key."""

    title: str
    base_url: str
    credentials: Mapping[str, str]
    # Between the base URL and OpenAI's paths: OpenAI's base URL already includes its version.
    version: str = ""


VENDORS: Final = {
    "openai": VendorApi(
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        credentials={"authorization": "Bearer {}"},
    ),
    "anthropic": VendorApi(
        title="Anthropic",
        base_url="https://api.anthropic.com",
        # The SDK sends the first; proxies made for its predecessor read the second.
        credentials={"authorization": "Bearer {}", "x-api-key": "{}"},
    ),
    "google": VendorApi(
        title="Google",
        base_url="https://generativelanguage.googleapis.com",
        credentials={"x-goog-api-key": "{}"},
    ),
    "mistral": VendorApi(
        title="Mistral",
        base_url="https://api.mistral.ai",
        credentials={"authorization": "Bearer {}"},
        version="/v1",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The base URL, headers and peer of one vendor in this installation."""

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    peer: Peer = field(repr=False)

    def address(self, path: str) -> URL:
        """Return the URL of a path. Raises NotSent."""
        return http_client.address(self.base_url + path)

    def finished(self, reading: StreamReading) -> Completion:
        """Return the completion of a finished stream. Raises Broken."""
        try:
            completion = reading.completion()
        except ErrorAnswer as exc:
            raise Broken(self.peer.broke_off(str(exc))) from exc
        if completion.finish_reason is None and completion.usage is None:
            raise Broken(self.peer.broke_off(""))
        return completion


def upstream(name: str, *, api_key: str, base_url: str | None) -> Upstream:
    """Return the upstream of a vendor with this key."""
    vendor = VENDORS[name]
    return Upstream(
        base_url=(base_url or vendor.base_url) + vendor.version,
        headers={name: text.format(api_key) for name, text in vendor.credentials.items()},
        peer=Peer(title=vendor.title, secret=api_key),
    )
