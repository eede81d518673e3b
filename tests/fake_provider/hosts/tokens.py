"""Where tokens come from: Google's and Entra's token endpoints, and Google's metadata server."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from aiohttp import web

# Both vendors issue them for an hour.
LIFETIME_S: Final = 3599
CLIENT_SECRET: Final = "entra-secret-canary0123456789"
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# What Azure's v1 API and Google's APIs ask tokens for:
# https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
AZURE_SCOPES: Final = (
    "https://ai.azure.com/.default",
    "https://cognitiveservices.azure.com/.default",
)
GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(slots=True)
class IssuedTokens:
    """The tokens so far, with when each expires, in seconds since the epoch."""

    lifetime_s: int = LIFETIME_S
    expires_at: dict[str, float] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def issue(self) -> str:
        """Return a new token."""
        token = f"ya29.fake-{next(self._numbers)}"
        self.expires_at[token] = time.time() + self.lifetime_s
        return token

    def is_valid(self, token: str) -> bool:
        return self.expires_at.get(token, 0.0) > time.time()

    def expire_all(self) -> None:
        """Let every token so far be expired."""
        self.expires_at = dict.fromkeys(self.expires_at, 0.0)


TOKENS: Final = web.AppKey("tokens", IssuedTokens)


def token_routes() -> list[web.RouteDef]:
    """Return the routes, of one server for both vendors."""
    return [
        web.post("/token", _google),
        web.post("/{tenant}/oauth2/v2.0/token", _entra),
        web.get("/computeMetadata/v1/instance/service-accounts/{account}/token", _metadata),
    ]


async def _google(request: web.Request) -> web.Response:
    """A service account's signed claims for a token: the claims are read, not the signature.

    https://developers.google.com/identity/protocols/oauth2/service-account#httprest
    """
    form = await request.post()
    if form.get("grant_type") != JWT_GRANT:
        return _refused("unsupported_grant_type", "Invalid grant_type", status=400)
    claims = _claims(str(form.get("assertion", "")))
    if GOOGLE_SCOPE not in str(claims.get("scope")).split():
        return _refused("invalid_scope", "Invalid OAuth scope or ID token audience", status=400)
    if float(str(claims.get("exp", 0))) < time.time():
        return _refused("invalid_grant", "Invalid JWT: token must be short-lived", status=400)
    return _issued(request)


async def _metadata(request: web.Request) -> web.Response:
    """The token of a machine's own account.

    https://cloud.google.com/compute/docs/access/authenticate-workloads
    """
    if request.headers.get("metadata-flavor") != "Google":
        return web.Response(status=403, text="Missing Metadata-Flavor:Google header")
    return _issued(request)


async def _entra(request: web.Request) -> web.Response:
    """A client's secret for a token.

    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
    """
    form = await request.post()
    if form.get("grant_type") != "client_credentials":
        return _refused("unsupported_grant_type", "AADSTS70003: unsupported grant", status=400)
    if form.get("client_secret") != CLIENT_SECRET or not form.get("client_id"):
        sentence = "AADSTS7000215: Invalid client secret provided."
        return _refused("invalid_client", sentence, status=401)
    if form.get("scope") not in AZURE_SCOPES:
        return _refused("invalid_scope", "AADSTS70011: The scope is not valid.", status=400)
    return _issued(request)


def _issued(request: web.Request) -> web.Response:
    tokens = request.app[TOKENS]
    issued = {"access_token": tokens.issue(), "expires_in": tokens.lifetime_s}
    return web.json_response(issued | {"token_type": "Bearer"})


def _refused(error: str, sentence: str, *, status: int) -> web.Response:
    return web.json_response({"error": error, "error_description": sentence}, status=status)


def _claims(assertion: str) -> dict[str, object]:
    payload = assertion.split(".")[1] if assertion.count(".") == 2 else ""
    decoded: dict[str, object] = json.loads(base64.urlsafe_b64decode(payload + "==") or b"{}")
    return decoded
