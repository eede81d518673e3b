"""Sign requests to Google's cloud: with the token of a service account, or of this machine."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from yarl import URL

from gateway.core.providers import Reach
from gateway.upstream.http_client import HttpClient
from gateway.upstream.reach import fault_of_url
from gateway.upstream.signing.auth import InvalidAuth, credentials_in
from gateway.upstream.signing.tokens import AccessToken, TokenCache, requested
from orgs.threads import CREDENTIALS

OAUTH_URL: Final = "https://oauth2.googleapis.com/token"
# https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# It imports google-auth, which takes a quarter of a second.
LIBRARY: Final = "gateway.upstream.signing.google_library"


@dataclass(slots=True, eq=False)
class GoogleSigner:
    """Adds a token for Google's cloud.

    Without an `account` it is that of Application Default Credentials: a file that
    GOOGLE_APPLICATION_CREDENTIALS names, workload identity, the metadata server.
    https://cloud.google.com/docs/authentication/application-default-credentials
    """

    account: Mapping[str, str] | None = field(repr=False)
    reach: Reach | None
    cache: TokenCache = field(init=False, repr=False)
    _default: Any = None  # the library's credentials of this machine, once found

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
        if self.account is None:
            loop = asyncio.get_running_loop()
            return await CREDENTIALS.run(self, lambda: self._default_token(http, loop))
        account, now = self.account, time.time()
        assertion = await CREDENTIALS.run(self, lambda: _assertion(account, now))
        form = {"grant_type": GRANT, "assertion": assertion}
        return await requested(http, account["token_uri"], form=form, now=now, reach=self.reach)

    def _default_token(self, http: HttpClient, loop: asyncio.AbstractEventLoop) -> AccessToken:
        library = importlib.import_module(LIBRARY)
        if self._default is None:
            self._default = library.DefaultCredentials()
        token: AccessToken = self._default.token(http, loop)
        return token


def _assertion(account: Mapping[str, str], now: float) -> str:
    library = importlib.import_module(LIBRARY)
    assertion: str = library.assertion(account, now)
    return assertion


def google_signer(secret: str, *, reach: Reach | None) -> GoogleSigner:
    """Return the signer of a service account, or, without a secret, of this machine.

    `reach` bounds the account's token server. Raises InvalidAuth. Other kinds of credentials make
    google-auth read files and call addresses that they name: operators may name those in
    GOOGLE_APPLICATION_CREDENTIALS.
    """
    if not secret:
        return GoogleSigner(None, reach=None)
    account = credentials_in(
        secret,
        required=("type", "client_email", "private_key"),
        optional=("private_key_id", "token_uri"),
    )
    if account["type"] != "service_account":
        raise InvalidAuth('The type of the credentials must be "service_account"')
    account = {"token_uri": OAUTH_URL, **account}
    if reach is not None and (fault := fault_of_url(account["token_uri"], reach)):
        raise InvalidAuth(f"The token_uri in the secret cannot be used: {fault}")
    return GoogleSigner(account, reach)
