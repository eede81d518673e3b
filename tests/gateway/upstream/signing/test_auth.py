"""How a provider is authenticated, as text."""

from __future__ import annotations

import pytest

from gateway.core.providers import Reach
from gateway.upstream.signing.auth import (
    AuthKind,
    InvalidAuth,
    ProviderAuth,
    header_name,
    provider_auth,
    query_name,
)
from gateway.upstream.signing.signers import signer

PUBLIC = Reach()


@pytest.mark.parametrize(
    ("text", "auth"),
    [
        ("bearer", ProviderAuth(AuthKind.BEARER)),
        ("header:api-key", ProviderAuth(AuthKind.HEADER, name="api-key")),
        ("query:key", ProviderAuth(AuthKind.QUERY, name="key")),
        ("none", ProviderAuth(AuthKind.NONE)),
        ("google", ProviderAuth(AuthKind.GOOGLE)),
        ("entra", ProviderAuth(AuthKind.ENTRA)),
        (
            "sigv4:eu-central-1/bedrock",
            ProviderAuth(AuthKind.SIGV4, region="eu-central-1", service="bedrock"),
        ),
    ],
)
def test_text_is_parsed_and_shown_again(text: str, auth: ProviderAuth) -> None:
    assert provider_auth(text) == auth
    assert f"{auth}" == text


def test_case_and_spaces_of_names_do_not_count() -> None:
    assert f"{provider_auth(' Header: API-Key ')}" == "header:api-key"


@pytest.mark.parametrize(
    "text",
    [
        *("", "basic", "bearer:", "bearer:x", "none:x", "google:x", "entra:x", "header", "query"),
        *("sigv4", "sigv4:", "sigv4:eu-central-1", "sigv4:/bedrock", "sigv4:a/b/c", "sigv4:A/b"),
    ],
)
def test_unknown_authentication_is_refused(text: str) -> None:
    with pytest.raises(InvalidAuth, match="must be bearer, header:NAME"):
        provider_auth(text)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\r\nb", "x" * 65, "(a)"])
def test_header_name_must_be_token(name: str) -> None:
    with pytest.raises(InvalidAuth, match="1 to 64 letters"):
        header_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "Connection", "Transfer-Encoding", "TE", "Upgrade", "Proxy-Authorization"),
        *("Content-Length", "Content-Type", "content-encoding", "Accept-Encoding", "Expect"),
    ],
)
def test_header_of_connection_or_body_is_refused(name: str) -> None:
    with pytest.raises(InvalidAuth, match="is set by the gateway"):
        provider_auth(f"header:{name}")


@pytest.mark.parametrize("name", ["", "a b", "a&b", "a=b", "a#b", "a%20b", "ä", "x" * 65])
def test_query_name_must_be_plain(name: str) -> None:
    with pytest.raises(InvalidAuth, match="1 to 64 letters"):
        query_name(name)


def test_secret_is_carried_as_configured() -> None:
    assert provider_auth("bearer").headers("s") == {"authorization": "Bearer s"}
    assert provider_auth("header:api-key").headers("s") == {"api-key": "s"}
    assert provider_auth("query:key").query("s") == {"key": "s"}
    for text in ("query:key", "none", "google", "entra", "sigv4:eu-central-1/bedrock"):
        assert provider_auth(text).headers("s") == {}
    for text in ("bearer", "header:api-key", "none", "google"):
        assert provider_auth(text).query("s") == {}


def test_only_clouds_have_ambient_credentials() -> None:
    ambient = {
        text
        for text in ("bearer", "none", "google", "entra", "sigv4:eu-central-1/bedrock")
        if provider_auth(text).uses_ambient_credentials("")
    }
    assert ambient == {"google", "sigv4:eu-central-1/bedrock"}
    assert not provider_auth("google").uses_ambient_credentials("{}")


@pytest.mark.parametrize("text", ["bearer", "header:api-key", "query:key"])
def test_secret_that_requests_carry_is_required(text: str) -> None:
    assert signer(provider_auth(text), "s", reach=PUBLIC) is None
    with pytest.raises(InvalidAuth, match="needs a secret"):
        signer(provider_auth(text), "", reach=PUBLIC)


def test_secret_without_use_is_refused() -> None:
    assert signer(provider_auth("none"), "", reach=PUBLIC) is None
    with pytest.raises(InvalidAuth, match="takes no secret"):
        signer(provider_auth("none"), "s", reach=PUBLIC)


@pytest.mark.parametrize(
    ("text", "secret", "because"),
    [
        ("entra", "", "JSON object with tenant_id"),
        ("entra", "sk-1", "JSON object with tenant_id"),
        ("entra", '["sk-1"]', "JSON object with tenant_id"),
        ("entra", '{"tenant_id": "t", "client_id": "c"}', "JSON object with client_secret"),
        ("entra", '{"tenant_id": "t", "client_id": "c", "client_secret": 1}', "must be a string"),
        ("entra", '{"tenant_id": "t/../u", "client_id": "c", "client_secret": "s"}', "tenant_id"),
        ("google", "sk-1", "JSON object with type"),
        ("google", '{"type": "service_account"}', "JSON object with client_email"),
        (
            "google",
            '{"type": "external_account", "client_email": "c", "private_key": "sk-1"}',
            'must be "service_account"',
        ),
        (
            "google",
            '{"type": "service_account", "client_email": "c", "private_key": "sk-1", '
            '"token_uri": "https://169.254.169.254/token"}',
            "169.254.169.254 is not a public address",
        ),
    ],
)
def test_unusable_credentials_are_refused_without_repeating_them(
    text: str, secret: str, because: str
) -> None:
    with pytest.raises(InvalidAuth, match=because) as caught:
        signer(provider_auth(text), secret, reach=PUBLIC)
    assert "sk-1" not in str(caught.value)
