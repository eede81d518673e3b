"""The network between this installation and the providers: proxies, TLS, limits of connections."""

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
    """A proxy, and the Proxy-Authorization that it asks for.

    Apart from each other: aiohttp's errors have the URL in them.
    """

    url: URL
    authorization: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How the providers are reached from here.

    Proxies are URLs, with `user:password@` where they ask for it; `no_proxy` lists the hosts that
    are reached without one. `ca_file` and `ca_dir` replace the system's certificate authorities.
    `connect_timeout_s` is for all that comes before a request: waiting for a free connection,
    the look-up of the name, the connection, the proxy, TLS.
    """

    http_proxy: str | None = field(default=None, repr=False)
    https_proxy: str | None = field(default=None, repr=False)
    no_proxy: str = ""
    ca_file: str | None = None
    ca_dir: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    connections_per_origin: int = 4000
    connect_timeout_s: float = 10.0

    def proxy_for(self, url: URL) -> Proxy | None:
        """Return the proxy that requests to an address go through, or None for a direct one."""
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
    """Return the process's one context: reading the certificate authorities takes 20 ms."""
    if network.ca_file or network.ca_dir:
        context = ssl.create_default_context(cafile=network.ca_file, capath=network.ca_dir)
    else:
        context = httpx2.create_ssl_context(trust_env=False)
    if network.client_cert_file:
        # An empty password: without one, an encrypted key would be asked for at the terminal.
        context.load_cert_chain(network.client_cert_file, network.client_key_file, password="")
    return context
