"""What botocore does, in a thread: find credentials of AWS, sign a request with them.

Imported when it is first needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session

from gateway.upstream.signing.tokens import NoToken

# Of the request's own headers only these: proxies on the way may change the others.
_SIGNED: Final = frozenset({"content-type"})
_ADDED: Final = ("authorization", "x-amz-date", "x-amz-security-token")
_PREFIX: Final = "x-amz-"
_HIDDEN_MAX: Final = 4  # the present ones and those before


@dataclass(slots=True, eq=False)
class AwsCredentials:
    """The credentials of a signer; None are botocore's own, which renew themselves."""

    keys: Mapping[str, str] | None = field(repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    _found: Any = None

    def signed(  # noqa: PLR0913  keyword-only; all that a signature covers
        self,
        *,
        region: str,
        service: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Mapping[str, str]:
        """Return the headers that sign a request. Blocks. Raises NotSent."""
        request = AWSRequest(
            method=method,
            url=url,
            headers={
                name: value
                for name, value in headers.items()
                if name.lower() in _SIGNED or name.lower().startswith(_PREFIX)
            },
            data=body,
        )
        SigV4Auth(self._frozen(), service, region).add_auth(request)
        return {name: request.headers[name] for name in _ADDED if name in request.headers}

    def _frozen(self) -> Any:
        try:
            if self._found is None:
                self._found = _given(self.keys) if self.keys else Session().get_credentials()
            frozen = self._found.get_frozen_credentials() if self._found else None
        except Exception as exc:  # the library can raise anything on files and answers of others
            raise NoToken("AWS gave this machine no credentials") from exc
        if frozen is None:
            raise NoToken("this machine has no credentials for AWS")
        now = tuple(text for text in (frozen.access_key, frozen.token) if text)
        if now != self.hidden[: len(now)]:
            self.hidden = (*now, *self.hidden)[:_HIDDEN_MAX]
        return frozen


def _given(keys: Mapping[str, str]) -> Credentials:
    return Credentials(keys["access_key_id"], keys["secret_access_key"], keys.get("session_token"))
