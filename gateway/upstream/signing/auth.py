"""Parse how a provider is authenticated: `bearer`, `header:NAME`, `sigv4:REGION/SERVICE`, ..."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NAME_MAX_CHARS: Final = 64

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # a token of RFC 9110
_QUERY: Final = re.compile(r"[A-Za-z0-9._~$-]+")
_AWS: Final = re.compile(r"([a-z0-9-]{1,32})/([a-z0-9-]{1,32})")
# Of a connection (RFC 9110, section 7.6.1), or decided by the HTTP client and the request's body.
_NOT_OURS: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("accept-encoding", "expect", "host"),
    }
)


class InvalidAuth(ValueError):
    """A text or a secret that authenticates no provider; the message is a sentence for people."""


class AuthKind(StrEnum):
    """What a request carries to authenticate it."""

    BEARER = "bearer"
    HEADER = "header"
    QUERY = "query"
    NONE = "none"
    GOOGLE = "google"
    ENTRA = "entra"
    SIGV4 = "sigv4"


@dataclass(frozen=True, slots=True)
class ProviderAuth:
    """How the requests to a provider are authenticated.

    `name` is that of the header or the query parameter; `region` and `service` are those of AWS.
    """

    kind: AuthKind
    name: str = ""
    region: str = ""
    service: str = ""

    def __str__(self) -> str:
        """Return the text that `provider_auth` parses."""
        rest = self.name or (f"{self.region}/{self.service}" if self.region else "")
        return f"{self.kind}:{rest}" if rest else f"{self.kind}"

    def uses_ambient_credentials(self, secret: str) -> bool:
        """Whether requests carry the identity of this installation's machine or account.

        Only operators may configure that: it is sent to the provider's address.
        """
        return self.kind in (AuthKind.GOOGLE, AuthKind.SIGV4) and not secret

    def headers(self, secret: str) -> Mapping[str, str]:
        """Return the headers that carry the secret itself."""
        if self.kind == AuthKind.BEARER:
            return {"authorization": f"Bearer {secret}"}
        return {self.name: secret} if self.kind == AuthKind.HEADER else {}

    def query(self, secret: str) -> Mapping[str, str]:
        """Return the query parameter that carries the secret itself."""
        return {self.name: secret} if self.kind == AuthKind.QUERY else {}


def provider_auth(text: str) -> ProviderAuth:
    """Parse how a provider is authenticated. Raises InvalidAuth."""
    kind, colon, rest = text.strip().partition(":")
    match kind.lower():
        case "bearer" | "none" | "google" | "entra" if not colon:
            return ProviderAuth(AuthKind(kind.lower()))
        case "header" if colon:
            return ProviderAuth(AuthKind.HEADER, name=header_name(rest))
        case "query" if colon:
            return ProviderAuth(AuthKind.QUERY, name=query_name(rest))
        case "sigv4" if found := _AWS.fullmatch(rest):
            return ProviderAuth(AuthKind.SIGV4, region=found[1], service=found[2])
    raise InvalidAuth(
        "The authentication must be bearer, header:NAME, query:NAME, none, google, entra or "
        "sigv4:REGION/SERVICE"
    )


def credentials_in(
    secret: str, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return these fields of a secret that is a JSON object of texts. Raises InvalidAuth."""
    try:
        given = json.loads(secret)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        # Without the cause, which has the secret as an attribute.
        raise InvalidAuth(f"The secret must be a JSON object with {', '.join(required)}")
    found = {name: given[name] for name in (*required, *optional) if given.get(name)}
    for name in required:
        if name not in found:
            raise InvalidAuth(f"The secret must be a JSON object with {name}")
    for name, value in found.items():
        if not isinstance(value, str):
            raise InvalidAuth(f"{name} in the secret must be a string")
    return found


def header_name(text: str) -> str:
    """Return the lower-case name of a header that an operator may set. Raises InvalidAuth."""
    name = text.strip().lower()
    if not _HEADER.fullmatch(name) or len(name) > NAME_MAX_CHARS:
        raise InvalidAuth(
            f"The name of a header must have 1 to {NAME_MAX_CHARS} letters, digits and hyphens"
        )
    if name in _NOT_OURS or name.startswith("content-"):
        raise InvalidAuth(f'The header "{name}" is set by the gateway for each request')
    return name


def query_name(text: str) -> str:
    """Return the name of a query parameter. Raises InvalidAuth."""
    name = text.strip()
    if not _QUERY.fullmatch(name) or len(name) > NAME_MAX_CHARS:
        raise InvalidAuth(
            f"The name of a query parameter must have 1 to {NAME_MAX_CHARS} letters, digits and "
            "any of . _ ~ $ -"
        )
    return name
