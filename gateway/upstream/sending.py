"""Send a request with what each request to its provider has."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from gateway.core.providers import ProviderConfig
from gateway.upstream.http_client import HttpClient, UpstreamResponse
from gateway.upstream.signing.signers import signer_of


async def sent(  # noqa: PLR0913  keyword-only; all that a request has
    http: HttpClient,
    config: ProviderConfig,
    url: URL,
    *,
    method: str,
    headers: Mapping[str, str],
    body: bytes,
) -> UpstreamResponse:
    """Send a request, once, and wait for its response's head. Raises NotSent and BrokenOff."""
    all_headers = {**headers, **config.headers}
    signer = signer_of(config)
    if signer is not None:
        all_headers |= await signer.headers(
            method=method, url=url, headers=all_headers, body=body, http=http
        )
    return await http.send(
        url,
        method=method,
        headers=all_headers,
        body=body,
        limits=config.limits,
        reach=config.reach,
    )
