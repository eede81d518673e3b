"""The network to the providers: proxies, TLS, connection limits."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # of no stub

import aiohttp
import httpx2
from yarl import URL


class Proxy(NamedTuple):
    """A proxy, and its Proxy-Authorization.

    Kept separate, because aiohttp's errors contain the URL.
    """

    url: URL
    authorization: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network settings for the providers.

    Proxies are URLs, with `user:password@` if required; `no_proxy` lists the hosts that are reached
    directly. `ca_file` and `ca_dir` replace the system's certificate authorities.
    """

    http_proxy: str | None = field(default=None, repr=False)
    https_proxy: str | None = field(default=None, repr=False)
    no_proxy: str = ""
    ca_file: str | None = None
    ca_dir: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    connections_per_origin: int = 4000

    def proxy_for(self, url: URL) -> Proxy | None:
        """Return the proxy for requests to a URL, or None for a direct connection."""
        found = self.https_proxy if url.scheme == "https" else self.http_proxy
        if not found or proxy_bypass_environment(
            f"{url.raw_host}:{url.port}", {"no": self.no_proxy}
        ):
            return None
        proxy = URL(found)
        if proxy.user is None and proxy.password is None:
            return Proxy(proxy, None)
        authorization = aiohttp.encode_basic_auth(proxy.user or "", proxy.password or "")
        return Proxy(proxy.with_user(None), authorization)


@cache
def ssl_context(network: Network) -> ssl.SSLContext:
    """Return the process-wide context: reading the certificate authorities takes 20 ms."""
    if network.ca_file or network.ca_dir:
        context = ssl.create_default_context(cafile=network.ca_file, capath=network.ca_dir)
    else:
        context = httpx2.create_ssl_context(trust_env=False)
    if network.client_cert_file:
        # An empty password: without one, OpenSSL would prompt for an encrypted key's password.
        context.load_cert_chain(network.client_cert_file, network.client_key_file, password="")
    return context
