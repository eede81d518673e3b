"""From how a provider is authenticated to the signer of its requests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol

from yarl import URL

from gateway.core.providers import ProviderConfig, Reach
from gateway.upstream.http_client import HttpClient
from gateway.upstream.signing.auth import AuthKind, InvalidAuth, ProviderAuth, provider_auth
from gateway.upstream.signing.entra import entra_signer
from gateway.upstream.signing.google import google_signer
from gateway.upstream.signing.sigv4 import sigv4_signer


class Signer(Protocol):
    """Makes headers for each request, immediately before it is sent. Safe on any event loop."""

    def hidden(self) -> tuple[str, ...]:
        """What it put into requests that no message and no answer may contain."""
        ...

    async def headers(
        self, *, method: str, url: URL, headers: Mapping[str, str], body: bytes, http: HttpClient
    ) -> Mapping[str, str]:
        """Return the headers to add to a request, by lower-case name.

        Raises NotSent when they cannot be had; a cancellation proves as well that nothing was sent.
        """
        ...


SIGNERS_KEPT_MAX: Final = 1_000


def signer_of(config: ProviderConfig) -> Signer | None:
    """Return the signer of a provider, one for all its connections: it keeps the tokens.

    Raises InvalidAuth.
    """
    return _kept(config.auth, config.secret, config.reach) if config.auth else None


@lru_cache(maxsize=SIGNERS_KEPT_MAX)
def _kept(auth: str, secret: str, reach: Reach | None) -> Signer | None:
    return signer(provider_auth(auth), secret, reach=reach)


def signer(auth: ProviderAuth, secret: str, *, reach: Reach | None) -> Signer | None:
    """Return what signs the requests of a provider, or None if they carry the secret itself.

    `reach` is the row's: it bounds the addresses that credentials name.
    Raises InvalidAuth, also if the secret is missing or must not be there.
    """
    match auth.kind:
        case AuthKind.GOOGLE:
            return google_signer(secret, reach=reach)
        case AuthKind.ENTRA:
            return entra_signer(secret)
        case AuthKind.SIGV4:
            return sigv4_signer(secret, region=auth.region, service=auth.service)
        case AuthKind.NONE if secret:
            raise InvalidAuth('The authentication "none" takes no secret')
        case AuthKind.BEARER | AuthKind.HEADER | AuthKind.QUERY if not secret:
            raise InvalidAuth(f'The authentication "{auth}" needs a secret')
    return None
