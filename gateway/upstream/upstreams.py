"""The vendors' base URLs and credentials: from settings, never from a caller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from costs.core.usage import STANDARD_PLACE
from gateway.core.calls import Completion, StreamReading
from gateway.core.errors import Broken
from gateway.upstream import http_client
from gateway.upstream.failures import Peer
from gateway.upstream.network import USUAL, TimeLimits
from gateway.upstream.untrusted_json import ErrorAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorApi:
    """A vendor's API. `credentials` are header templates for the key."""

    title: str
    base_url: str
    credentials: Mapping[str, str]
    # Between the base URL and OpenAI's paths: OpenAI's base URL already includes its version.
    version: str = ""
    # The vendor's hosts of a region, where requests cost more.
    regional: re.Pattern[str] | None = None

    def place(self, base_url: str) -> str:
        """Return the region of a host, or the standard place for any other."""
        host = (URL(base_url).host or "").rstrip(".")
        found = self.regional.fullmatch(host) if self.regional else None
        return found[1] if found else STANDARD_PLACE


VENDORS: Final = {
    "openai": VendorApi(
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        credentials={"authorization": "Bearer {}"},
        # https://developers.openai.com/api/docs/guides/data-residency
        regional=re.compile(r"([a-z0-9-]{1,16})\.api\.openai\.com"),
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
        # https://docs.mistral.ai/inference/regional-inference
        regional=re.compile(r"api\.([a-z0-9-]{1,16})\.mistral\.ai"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The base URL, headers, peer and time limits of one vendor in this installation.

    `place` is where the host processes requests that do not ask for another place.
    """

    base_url: str
    place: str = STANDARD_PLACE
    headers: Mapping[str, str] = field(repr=False)
    peer: Peer = field(repr=False)
    limits: TimeLimits = USUAL

    def address(self, path: str) -> URL:
        """Return the URL of a path. Raises NotSent."""
        return http_client.address(self.base_url + path)

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


def upstream(
    name: str, *, api_key: str, base_url: str | None, limits: TimeLimits = USUAL
) -> Upstream:
    """Return the upstream of a vendor with this key."""
    vendor = VENDORS[name]
    base_url = base_url or vendor.base_url
    return Upstream(
        base_url=base_url + vendor.version,
        place=vendor.place(base_url),
        headers={name: text.format(api_key) for name, text in vendor.credentials.items()},
        peer=Peer(title=vendor.title, secret=api_key),
        limits=limits,
    )
