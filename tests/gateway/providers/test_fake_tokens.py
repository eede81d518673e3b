"""The fake token endpoints of Google and Entra, and the hosts that take their tokens."""

from __future__ import annotations

import json
from typing import Any

import google.auth.transport.requests
import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2 import service_account

from tests.fake_provider.hosts.tokens import AZURE_SCOPES, CLIENT_SECRET, GOOGLE_SCOPE
from tests.gateway.providers.fake_hosts import Running, chat_body, openai_at, post


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    nothing = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, nothing).decode()


def test_service_account_gets_token_for_vertex(running: Running, private_key: str) -> None:
    with running("vertex") as fake:
        account = {
            "client_email": "pulse@acme.iam.gserviceaccount.com",
            "private_key": private_key,
            "token_uri": f"{fake.origin}/token",
        }
        credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            account, scopes=[GOOGLE_SCOPE]
        )
        credentials.refresh(google.auth.transport.requests.Request())
        client = openai_at(fake, "vertex", api_key=credentials.token)
        body: Any = chat_body("vertex")
        assert client.chat.completions.create(**body).usage is not None


def test_metadata_server_gives_token_with_its_header_only(running: Running) -> None:
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    with running("vertex") as fake:
        refused = httpx2.get(fake.origin + path)
        given = httpx2.get(fake.origin + path, headers={"metadata-flavor": "Google"}).json()
        assert fake.tokens.is_valid(given["access_token"])
    assert refused.status_code == 403


def _entra(origin: str, **changes: str) -> httpx2.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": "pulse",
        "client_secret": CLIENT_SECRET,
        "scope": AZURE_SCOPES[0],
    }
    return httpx2.post(f"{origin}/acme/oauth2/v2.0/token", data=form | changes)


def test_entra_gives_token_for_azure(running: Running) -> None:
    with running("azure") as fake:
        token = _entra(fake.origin).json()["access_token"]
        bearer = {"authorization": f"Bearer {token}"}
        as_bearer = post(fake, "azure", "/chat/completions", chat_body("azure"), **bearer)
        as_key = {"api-key": token}
        other = post(fake, "azure", "/chat/completions", chat_body("azure"), **as_key)
    assert (as_bearer.status_code, other.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"scope": "https://graph.microsoft.com/.default"}, "invalid_scope"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_entra_refuses_wrong_form(running: Running, changes: dict[str, str], error: str) -> None:
    with running("azure") as fake:
        refused = _entra(fake.origin, **changes)
    assert refused.is_client_error
    assert refused.json()["error"] == error


def test_expired_token_is_refused(running: Running) -> None:
    with running("vertex") as fake:
        bearer = {"authorization": f"Bearer {fake.tokens.issue()}"}
        fake.tokens.expire_all()
        answer = post(fake, "vertex", "/chat/completions", chat_body("vertex"), **bearer)
    assert answer.status_code == 401
    assert json.loads(answer.text)["error"]["status"] == "UNAUTHENTICATED"
