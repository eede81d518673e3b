"""Sign requests to AWS by Signature Version 4, with botocore, which is installed as an extra."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final

from yarl import URL

from gateway.upstream.http_client import HttpClient
from gateway.upstream.signing.auth import InvalidAuth, credentials_in
from gateway.upstream.signing.tokens import nothing_sent
from orgs.threads import CREDENTIALS

# It imports botocore, which takes a second.
LIBRARY: Final = "gateway.upstream.signing.aws_library"


@dataclass(slots=True, eq=False)
class SigV4Signer:
    """Adds the signature of a request, for a region and a service such as `bedrock`.

    Without `keys` botocore finds credentials as the AWS CLI does: variables, files, roles.
    """

    region: str
    service: str
    keys: Mapping[str, str] | None = field(repr=False)
    _aws: Any = None  # aws_library.AwsCredentials, once it is imported

    def hidden(self) -> tuple[str, ...]:
        """The id of the key and the session's token, which are in each request."""
        found: tuple[str, ...] = self._aws.hidden if self._aws else ()
        return found

    async def headers(
        self, *, method: str, url: URL, headers: Mapping[str, str], body: bytes, http: HttpClient
    ) -> Mapping[str, str]:
        """Return the headers that sign this request. Raises NotSent."""
        with nothing_sent():
            return await CREDENTIALS.run(
                self, lambda: self._signed(method=method, url=url, headers=headers, body=body)
            )

    def _signed(
        self, *, method: str, url: URL, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, str]:
        if self._aws is None:
            self._aws = importlib.import_module(LIBRARY).AwsCredentials(self.keys)
        signed: Mapping[str, str] = self._aws.signed(
            region=self.region,
            service=self.service,
            method=method,
            url=str(url),
            headers=headers,
            body=body,
        )
        return signed


def sigv4_signer(secret: str, *, region: str, service: str) -> SigV4Signer:
    """Return the signer with these credentials, a JSON object, or with those of this machine.

    Raises InvalidAuth.
    """
    if find_spec("botocore") is None:
        raise InvalidAuth("sigv4 needs botocore, which is not installed: pip install botocore")
    keys = None
    if secret:
        keys = credentials_in(
            secret, required=("access_key_id", "secret_access_key"), optional=("session_token",)
        )
    return SigV4Signer(region, service, keys)
