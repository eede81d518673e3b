"""Opaque names under which a vendor sees an organization, its users and its caches.

All organizations of an installation share the vendors' accounts. With a name of its own, one
organization's misuse and cached prompts are kept apart from another's, and a vendor learns nothing
of who it is.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final
from uuid import UUID

PREFIX_CHARS: Final = 12
NAME_CHARS: Final = 32


def keyed_by(secret: bytes, org_id: UUID) -> hmac.HMAC:
    """Return an HMAC-SHA-256 under an organization's own key."""
    return hmac.new(hmac.digest(secret, org_id.bytes, "sha256"), digestmod="sha256")


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """The names of one organization, by an HMAC under its own key; `user_id` is a call's user."""

    keyed: hmac.HMAC
    user_id: str | None = None

    @property
    def organization(self) -> str:
        """What all names of the organization begin with."""
        return self._digest("organization")[:PREFIX_CHARS]

    def user(self, given: str | None = None) -> str:
        """Return the name of the given user, else of the call's, else of a user without a name."""
        return self._name("user", given or self.user_id or "")

    def cache(self, given: str | None = None) -> str:
        """Return the name of a cache key, or of the one for all calls without a key."""
        return self._name("cache", given or "")

    def _name(self, kind: str, value: str) -> str:
        """Return a name of 45 characters; OpenAI takes 64."""
        return f"{self.organization}-{self._digest(f'{kind}:{value}')[:NAME_CHARS]}"

    def _digest(self, text: str) -> str:
        mac = self.keyed.copy()  # see `orgs.core.keys` for why not `hmac.digest`
        mac.update(text.encode(errors="surrogatepass"))
        return mac.hexdigest()
