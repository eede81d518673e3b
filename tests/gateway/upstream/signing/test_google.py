"""Tokens of Google's cloud: of a service account, and of the machine that the gateway runs on."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from yarl import URL

from gateway.core.providers import Reach
from gateway.upstream.http_client import HttpClient, NotSent
from gateway.upstream.network import Network
from gateway.upstream.signing.google import OAUTH_URL, GoogleSigner, google_signer
from tests.fake_provider import closed_port
from tests.gateway.upstream.certificates import Certificates
from tests.gateway.upstream.signing.token_server import TokenServer, token_server

HERE, PUBLIC = Reach(loopback=True), Reach()
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


async def authorization(signer: GoogleSigner, client: HttpClient) -> str:
    """Return the header that authorizes a request."""
    url = URL("https://aiplatform.googleapis.com/v1/openapi/chat/completions")
    added = await signer.headers(method="POST", url=url, headers={}, body=b"{}", http=client)
    assert added.keys() == {"authorization"}
    return added["authorization"]


def part(text: str) -> bytes:
    """Return a part of a JWT."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_service_account_signs_in_with_its_key(
    client: HttpClient, tokens: TokenServer, account_json: str, private_key: rsa.RSAPrivateKey
) -> None:
    assert await authorization(google_signer(account_json, reach=HERE), client) == "Bearer token-1"
    path, form = tokens.received[0]
    assert path == "/token"
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    signed, _, signature = form["assertion"].rpartition(".")
    header, claims = (json.loads(part(each)) for each in signed.split("."))
    private_key.public_key().verify(part(signature), signed.encode(), PKCS1v15(), SHA256())
    assert header == {"typ": "JWT", "alg": "RS256", "kid": "key-1"}
    assert 0 <= time.time() - claims.pop("iat") < 60
    assert 0 <= time.time() + 3600 - claims.pop("exp") < 60
    assert claims == {
        "iss": "pulse@acme.iam.gserviceaccount.com",
        "scope": SCOPE,
        "aud": f"{tokens.origin}/token",
    }


async def test_token_is_kept_and_hidden(
    client: HttpClient, tokens: TokenServer, account_json: str
) -> None:
    signer = google_signer(account_json, reach=HERE)
    for _ in range(2):
        assert await authorization(signer, client) == "Bearer token-1"
    assert len(tokens.received) == 1
    assert signer.hidden() == ("token-1",)
    assert "token-1" not in repr(signer)
    assert "PRIVATE" not in repr(signer)


def test_token_server_of_google_is_default(account: dict[str, str]) -> None:
    del account["token_uri"]
    signer = google_signer(json.dumps(account), reach=PUBLIC)
    assert signer.account
    assert signer.account["token_uri"] == OAUTH_URL


async def test_invalid_private_key_sends_nothing(
    client: HttpClient, tokens: TokenServer, account: dict[str, str]
) -> None:
    signer = google_signer(json.dumps(account | {"private_key": "none"}), reach=HERE)
    with pytest.raises(NotSent) as caught:
        await authorization(signer, client)
    assert caught.value.obstacle == "the service account's private key is not valid"
    assert tokens.received == []


async def test_revoked_key_sends_nothing(
    client: HttpClient, tokens: TokenServer, account_json: str
) -> None:
    tokens.answers = [(400, {"error": "invalid_grant", "error_description": "Invalid JWT"})]
    with pytest.raises(NotSent) as caught:
        await authorization(google_signer(account_json, reach=HERE), client)
    assert caught.value.obstacle == "the token server answered with status 400 (invalid_grant)"


async def test_token_server_inside_gets_nothing(
    client: HttpClient, tokens: TokenServer, account: dict[str, str]
) -> None:
    with pytest.raises(NotSent) as caught:
        await authorization(GoogleSigner(account, PUBLIC), client)
    assert caught.value.obstacle.endswith("the address is not allowed")
    assert tokens.received == []


# --- Application Default Credentials ----------------------------------------------------------


def set_default(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")


async def test_file_of_machine_signs_in_over_own_network(
    account: dict[str, str],
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = HttpClient(Network(ca_file=str(certificates.authority)))
    async with token_server(certificates.server_context()) as tokens:
        account["token_uri"] = f"{tokens.origin}/token"
        (tmp_path / "account.json").write_text(json.dumps(account))
        set_default(monkeypatch, tmp_path / "account.json")
        assert await authorization(google_signer("", reach=PUBLIC), client) == "Bearer token-1"
        assert "assertion" in tokens.received[0][1]
        await client.aclose()


async def test_workload_identity_exchanges_its_token(
    client: HttpClient, tokens: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "subject").write_text("of the cluster")
    identity = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{tokens.origin}/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    (tmp_path / "identity.json").write_text(json.dumps(identity))
    set_default(monkeypatch, tmp_path / "identity.json")
    tokens.answers = [
        (
            200,
            {
                "access_token": "exchanged",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 3600,
            },
        )
    ]
    signer = google_signer("", reach=PUBLIC)
    for _ in range(2):
        assert await authorization(signer, client) == "Bearer exchanged"
    [(path, form)] = tokens.received
    assert path == "/v1/token"
    assert form["subject_token"] == "of the cluster"
    assert form["scope"] == SCOPE


async def test_machine_without_credentials_sends_nothing(
    client: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_default(monkeypatch, tmp_path / "nothing.json")
    with pytest.raises(NotSent) as caught:
        await authorization(google_signer("", reach=PUBLIC), client)
    assert caught.value.obstacle == "this machine has no credentials for Google's cloud"


async def test_unreachable_token_server_of_machine_sends_nothing(
    client: HttpClient,
    account: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account["token_uri"] = f"http://127.0.0.1:{closed_port()}/token"
    (tmp_path / "account.json").write_text(json.dumps(account))
    set_default(monkeypatch, tmp_path / "account.json")
    with pytest.raises(NotSent) as caught:
        await authorization(google_signer("", reach=PUBLIC), client)
    assert caught.value.obstacle == "Google's token server gave this machine no token"
