"""A token server, and a service account whose tokens it makes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.gateway.upstream.signing.token_server import TokenServer, token_server


@pytest_asyncio.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    async with token_server() as made:
        yield made


@pytest.fixture(scope="session")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def account(tokens: TokenServer, private_key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Return the JSON file of a service account of Google's cloud."""
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "key-1",
        "private_key": pem.decode(),
        "client_email": "pulse@acme.iam.gserviceaccount.com",
        "token_uri": f"{tokens.origin}/token",
    }


@pytest.fixture
def account_json(account: dict[str, str]) -> str:
    return json.dumps(account)
