"""What google-auth does, in a thread: sign a service account's assertion, find the machine's token.

Imported when it is first needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import google.auth
from google.auth import crypt, jwt
from google.auth.exceptions import DefaultCredentialsError, TransportError
from google.auth.transport import Request

from gateway.upstream.http_client import HttpClient, NotSent
from gateway.upstream.signing.tokens import (
    LIFE_UNKNOWN_S,
    TOKEN_LIMITS,
    AccessToken,
    NoToken,
    TokenServerAnswer,
    answer_of,
)

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
ASSERTION_LIFE_S: Final = 3600


def assertion(account: Mapping[str, str], now: float) -> str:
    """Return a signed claim to be this account (RFC 7523). Raises NotSent."""
    try:
        signer = crypt.RSASigner.from_service_account_info(account)
    except (ValueError, TypeError) as exc:
        raise NoToken("the service account's private key is not valid") from exc
    claims = {
        "iss": account["client_email"],
        "scope": SCOPE,
        "aud": account["token_uri"],
        "iat": int(now),
        "exp": int(now) + ASSERTION_LIFE_S,
    }
    signed: bytes = jwt.encode(signer, claims)
    return signed.decode()


@dataclass(slots=True, eq=False)
class DefaultCredentials:
    """Application Default Credentials; they are looked for once."""

    _found: Any = None

    def token(self, http: HttpClient, loop: asyncio.AbstractEventLoop) -> AccessToken:
        """Return a new token, requested on the loop. Blocks. Raises NotSent."""
        request = _GoogleTransport(http, loop)
        try:
            if self._found is None:
                self._found, _ = google.auth.default(scopes=[SCOPE], request=request)
            self._found.refresh(request)
        except DefaultCredentialsError as exc:
            raise NoToken("this machine has no credentials for Google's cloud") from exc
        except Exception as exc:  # the library can raise anything on files and answers of others
            raise NoToken("Google's token server gave this machine no token") from exc
        expiry: datetime | None = self._found.expiry  # in UTC, without saying so
        if expiry is None:
            return AccessToken(self._found.token, expires_at=time.time() + LIFE_UNKNOWN_S)
        return AccessToken(self._found.token, expires_at=expiry.replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class _GoogleTransport(Request):
    """What google-auth sends its requests with, from a thread: the HTTP client of the loop.

    So the installation's proxies and certificates are used.
    """

    http: HttpClient
    loop: asyncio.AbstractEventLoop

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> TokenServerAnswer:
        data = body.encode() if isinstance(body, str) else body or b""
        sending = asyncio.run_coroutine_threadsafe(
            answer_of(self.http, url, headers=headers or {}, body=data, method=method), self.loop
        )
        try:
            return sending.result(timeout or TOKEN_LIMITS.total_s)
        except (NotSent, TimeoutError, CancelledError) as exc:
            sending.cancel()
            raise TransportError(str(exc)) from exc
