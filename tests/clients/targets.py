"""Targets of clients: the vendor directly, or the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.system.servers import HOST, URL_VARIABLES

MODELS: Final = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-sonnet-4-5-20250929",
    "google": "gemini-2.0-flash",
    "mistral": "mistral-large-latest",
    "sandbox": "sandbox-small",
}
EMBEDDERS: Final = {
    "openai": "text-embedding-3-small",
    "google": "gemini-embedding-001",
    "mistral": "mistral-embed",
}
# What a client's base URL ends with at the gateway, by the vendor whose client it is.
GATEWAY_PATHS: Final = {"openai": "/v1", "anthropic": "", "google": "", "mistral": ""}


@dataclass(frozen=True, slots=True)
class Target:
    """A base URL per vendor and a key: all that differs between direct calls and the gateway."""

    base_urls: Mapping[str, str]
    key: str

    def base_url(self, vendor: str) -> str:
        """Return the base URL for a vendor's own client."""
        return self.base_urls[vendor]


def direct_target(port: int) -> Target:
    """Return the fake provider itself as a target, on a loopback port."""
    urls = {vendor: f"http://{HOST}:{port}{path}" for vendor, (_, path) in URL_VARIABLES.items()}
    return Target(urls, "a-key-of-the-vendor")


def gateway_target(url: str, key: str) -> Target:
    """Return a gateway as a target."""
    urls = {vendor: f"{url}{path}" for vendor, path in GATEWAY_PATHS.items()}
    return Target(urls, key)
