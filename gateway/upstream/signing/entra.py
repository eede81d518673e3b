"""Sign requests to Azure with a token of Microsoft Entra, by an application's client secret."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from gateway.upstream.http_client import HttpClient
from gateway.upstream.signing.auth import InvalidAuth, credentials_in
from gateway.upstream.signing.tokens import AccessToken, TokenCache, requested

AUTHORITY: Final = "https://login.microsoftonline.com"
# Of Azure OpenAI; Foundry's is https://ai.azure.com/.default.
SCOPE: Final = "https://cognitiveservices.azure.com/.default"

_TENANT: Final = re.compile(r"[A-Za-z0-9.-]{1,255}")


@dataclass(slots=True, eq=False)
class EntraSigner:
    """Adds the token of an application (OAuth's client credentials).

    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
    """

    tenant: str
    form: Mapping[str, str] = field(repr=False)
    authority: str = AUTHORITY
    cache: TokenCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.cache = TokenCache(self._fetch)

    def hidden(self) -> tuple[str, ...]:
        """The tokens."""
        return self.cache.hidden()

    async def headers(
        self, *, method: str, url: URL, headers: Mapping[str, str], body: bytes, http: HttpClient
    ) -> Mapping[str, str]:
        """Return the header with the token. Raises NotSent."""
        return {"authorization": f"Bearer {await self.cache.get(http)}"}

    async def _fetch(self, http: HttpClient) -> AccessToken:
        url = f"{self.authority}/{self.tenant}/oauth2/v2.0/token"
        return await requested(http, url, form=self.form, now=time.time())


def entra_signer(secret: str) -> EntraSigner:
    """Return the signer with these credentials, a JSON object. Raises InvalidAuth."""
    given = credentials_in(
        secret, required=("tenant_id", "client_id", "client_secret"), optional=("scope",)
    )
    if not _TENANT.fullmatch(given["tenant_id"]):
        raise InvalidAuth("tenant_id must be the id or the domain of a tenant")
    return EntraSigner(
        given["tenant_id"],
        {
            "grant_type": "client_credentials",
            "client_id": given["client_id"],
            "client_secret": given["client_secret"],
            "scope": given.get("scope", SCOPE),
        },
    )
