"""Signatures of AWS, against the examples that AWS publishes."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from yarl import URL

from gateway.core.providers import Reach
from gateway.upstream.http_client import HttpClient, NotSent
from gateway.upstream.signing.auth import InvalidAuth, provider_auth
from gateway.upstream.signing.signers import signer
from gateway.upstream.signing.sigv4 import SigV4Signer, sigv4_signer

PUBLIC = Reach()

HAS_BOTOCORE = importlib.util.find_spec("botocore") is not None
needs_botocore = pytest.mark.skipif(not HAS_BOTOCORE, reason="botocore is not installed")

# https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
KEYS = {
    "access_key_id": "AKIDEXAMPLE",
    "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def on_30_august(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the library's clock to the time of the examples."""
    moment = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)


@pytest.mark.skipif(HAS_BOTOCORE, reason="botocore is installed")
def test_missing_botocore_is_reported() -> None:
    with pytest.raises(InvalidAuth, match="pip install botocore"):
        signer(provider_auth("sigv4:eu-central-1/bedrock"), "", reach=PUBLIC)


class Example(NamedTuple):
    """A request, and the headers that it is signed with."""

    service: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    signed: str
    signature: str


EXAMPLES = [
    Example(  # aws-sig-v4-test-suite: get-vanilla
        service="service",
        method="GET",
        url="https://example.amazonaws.com/",
        headers={},
        body=b"",
        signed="host;x-amz-date",
        signature="5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    Example(  # aws-sig-v4-test-suite: post-x-www-form-urlencoded
        service="service",
        method="POST",
        url="https://example.amazonaws.com/",
        headers={"content-type": FORM, "user-agent": "not signed", "accept": "*/*"},
        body=b"Param1=value1",
        signed="content-type;host;x-amz-date",
        signature="ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    Example(  # AWS General Reference: "Signature Version 4 signing process"
        service="iam",
        method="GET",
        url="https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        headers={"Content-Type": f"{FORM}; charset=utf-8"},
        body=b"",
        signed="content-type;host;x-amz-date",
        signature="5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    ),
]


@needs_botocore
@pytest.mark.usefixtures("on_30_august")
@pytest.mark.parametrize("example", EXAMPLES)
async def test_signature_is_that_of_documentation(client: HttpClient, example: Example) -> None:
    made = sigv4_signer(json.dumps(KEYS), region="us-east-1", service=example.service)
    added = await made.headers(
        method=example.method,
        url=URL(example.url, encoded=True),
        headers=example.headers,
        body=example.body,
        http=client,
    )
    scope = f"20150830/us-east-1/{example.service}/aws4_request"
    assert added == {
        "x-amz-date": "20150830T123600Z",
        "authorization": (
            f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, "
            f"SignedHeaders={example.signed}, Signature={example.signature}"
        ),
    }
    assert made.hidden() == ("AKIDEXAMPLE",)


async def _signed(signer: SigV4Signer, client: HttpClient) -> dict[str, str]:
    url = URL("https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1/chat/completions")
    added = await signer.headers(method="POST", url=url, headers={}, body=b"{}", http=client)
    return dict(added)


@needs_botocore
async def test_session_token_is_sent_and_hidden(client: HttpClient) -> None:
    keys = json.dumps(KEYS | {"session_token": "of-session"})
    made = sigv4_signer(keys, region="eu-central-1", service="bedrock")
    added = await _signed(made, client)
    assert added["x-amz-security-token"] == "of-session"
    assert "x-amz-security-token" in added["authorization"]
    assert made.hidden() == ("AKIDEXAMPLE", "of-session")
    assert "wJalr" not in repr(made)


@needs_botocore
async def test_credentials_of_machine_sign(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the machine")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    made = sigv4_signer("", region="eu-central-1", service="bedrock")
    assert "Credential=AKIDMACHINE/" in (await _signed(made, client))["authorization"]


@needs_botocore
async def test_machine_without_credentials_sends_nothing(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = sigv4_signer("", region="eu-central-1", service="bedrock")
    with pytest.raises(NotSent) as caught:
        await _signed(made, client)
    assert caught.value.obstacle == "this machine has no credentials for AWS"


@needs_botocore
@pytest.mark.parametrize("secret", ["AKIDEXAMPLE", '{"access_key_id": "AKIDEXAMPLE"}'])
def test_incomplete_keys_are_refused(secret: str) -> None:
    with pytest.raises(InvalidAuth, match="JSON object with") as caught:
        signer(provider_auth("sigv4:eu-central-1/bedrock"), secret, reach=PUBLIC)
    assert "AKID" not in str(caught.value)
