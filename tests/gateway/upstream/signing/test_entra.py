"""Tokens of Microsoft Entra, by an application's client secret."""

from __future__ import annotations

import json

import pytest
from yarl import URL

from gateway.upstream.http_client import HttpClient
from gateway.upstream.signing.entra import AUTHORITY, EntraSigner, entra_signer
from tests.gateway.upstream.signing.token_server import TokenServer

APPLICATION = {
    "tenant_id": "acme.onmicrosoft.com",
    "client_id": "11111111-2222-3333-4444-555555555555",
    "client_secret": "s~&=+e",
}


def signer_at(server: TokenServer, **fields: str) -> EntraSigner:
    """Return a signer that asks this server in place of Microsoft's."""
    made = entra_signer(json.dumps({**APPLICATION, **fields}))
    assert made.authority == AUTHORITY
    made.authority = server.origin
    return made


async def test_token_of_application_is_added(client: HttpClient, tokens: TokenServer) -> None:
    signer = signer_at(tokens)
    for _ in range(2):
        added = await signer.headers(
            method="POST",
            url=URL("https://acme.openai.azure.com"),
            headers={},
            body=b"",
            http=client,
        )
        assert added == {"authorization": "Bearer token-1"}
    assert signer.hidden() == ("token-1",)
    assert tokens.received == [
        (
            "/acme.onmicrosoft.com/oauth2/v2.0/token",
            {
                "grant_type": "client_credentials",
                "client_id": APPLICATION["client_id"],
                "client_secret": "s~&=+e",
                "scope": "https://cognitiveservices.azure.com/.default",
            },
        )
    ]


async def test_scope_can_be_set(client: HttpClient, tokens: TokenServer) -> None:
    signer = signer_at(tokens, scope="https://ai.azure.com/.default")
    await signer.cache.get(client)
    assert tokens.received[0][1]["scope"] == "https://ai.azure.com/.default"


@pytest.mark.parametrize("shown", ["s~&=+e", "token-1"])
async def test_signer_shows_no_secret(client: HttpClient, tokens: TokenServer, shown: str) -> None:
    signer = signer_at(tokens)
    await signer.cache.get(client)
    assert shown not in repr(signer)
