"""A provider's key and account reach no client: in stream errors, error bodies and headers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from costs.models import Rate
from gateway.models import AiRequestLog
from gateway.upstream.failures import Peer
from tests.factories import RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.fake_provider.vendors import KEYS, MODELS
from tests.gateway.conftest import Asking

pytestmark = pytest.mark.django_db(transaction=True)

HI = [{"role": "user", "content": "Hi"}]
ACCOUNTS = (
    "org-AbCdEfGhIjKlMnOpQrStUvWx",
    "proj_AbCdEfGhIjKl",
    "project_number:1234567890",
    "projects/my-project-1",
    "wrkspc_01AbCdEfGh",
    "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f",
)
MESSAGE = (
    "Rate limit reached for gpt-4o in organization org-AbCdEfGhIjKlMnOpQrStUvWx (proj_AbCdEfGhIjKl)"
    ", consumer 'project_number:1234567890' of projects/my-project-1, wrkspc_01AbCdEfGh, your "
    "organization (0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f), with the key {key}"
)
CONTENTS = {"contents": [{"parts": [{"text": "Hi"}]}]}
GENERATE = f"/v1beta/models/{MODELS['google']}:streamGenerateContent"
# Path, body, and what is around an error in the vendor's stream.
STREAMS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "chat": (
        "openai",
        "/v1/chat/completions",
        {"model": MODELS["openai"], "messages": HI, "stream": True},
        'data: {"error": {"message": %s, "type": "x"}}\n\n',
    ),
    "chat, mistral": (
        "mistral",
        "/v1/chat/completions",
        {"model": MODELS["mistral"], "messages": HI, "stream": True},
        'data: {"object": "error", "message": %s}\n\n',
    ),
    "responses": (
        "openai",
        "/v1/responses",
        {"model": MODELS["openai"], "input": "Hi", "stream": True},
        'event: error\ndata: {"type": "error", "message": %s}\n\n',
    ),
    "responses, failed": (
        "openai",
        "/v1/responses",
        {"model": MODELS["openai"], "input": "Hi", "stream": True},
        'event: response.failed\ndata: {"type": "response.failed", "response": '
        '{"object": "response", "status": "failed", "error": {"message": %s}}}\n\n',
    ),
    "messages": (
        "anthropic",
        "/v1/messages",
        {"model": MODELS["anthropic"], "messages": HI, "max_tokens": 5, "stream": True},
        'event: error\ndata: {"type": "error", "error": {"type": "x", "message": %s}}\n\n',
    ),
    "generate": (
        "google",
        f"{GENERATE}?alt=sse",
        CONTENTS,
        'data: {"error": {"code": 429, "message": %s}}\n\n',
    ),
}


@pytest.fixture
def fake(vendors: FakeProvider) -> FakeProvider:
    """The vendors, and a price for a model of each."""
    for vendor, model in MODELS.items():
        if not Rate.objects.filter(provider=vendor, model=model).exists():
            RateFactory.create(provider=vendor, model=model)
    return vendors


def limit_message(vendor: str) -> str:
    return MESSAGE.format(key=KEYS[vendor])


def assert_nothing_private(text: str, vendor: str) -> None:
    found = [each for each in (*ACCOUNTS, KEYS[vendor]) if each in text]
    assert found == []


@pytest.mark.parametrize("name", STREAMS)
def test_error_in_stream_hides_key_and_account(ask: Asking, fake: FakeProvider, name: str) -> None:
    vendor, path, body, event = STREAMS[name]
    fake.answers(vendor=vendor, extra_events=(event % json.dumps(limit_message(vendor)),))
    reply = ask(body, path=path)
    assert reply.status == 200
    text = reply.body.decode()
    assert_nothing_private(text, vendor)
    assert "Rate limit reached for gpt-4o" in text
    assert "[account]" in text
    assert "[key]" in text
    assert_nothing_private(str(AiRequestLog.objects.values().get()), vendor)


@pytest.mark.parametrize("is_escaped", [False, True])
@pytest.mark.parametrize("name", ["chat", "messages", "generate"])
def test_error_body_hides_key_and_account(
    ask: Asking, fake: FakeProvider, name: str, is_escaped: bool
) -> None:
    vendor, path, body, _ = STREAMS[name]
    raw = json.dumps({"error": {"message": limit_message(vendor), "code": 429}})
    if is_escaped:  # any character of a JSON string may be
        raw = raw.replace("-", "\\u002d").replace("_", "\\u005f").replace("/", "\\/")
    fake.answers(vendor=vendor, status=429, body=raw)
    reply = ask(body | ({} if vendor == "google" else {"stream": False}), path=path)
    assert reply.status == 429
    assert_nothing_private(json.dumps(reply.json), vendor)
    assert "[account]" in reply.body.decode()


@pytest.mark.parametrize("name", ["chat", "messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_only_listed_headers_with_plain_values_come_back(
    ask: Asking, fake: FakeProvider, name: str, stream: bool
) -> None:
    vendor, path, body, _ = STREAMS[name]
    private = {
        "openai-organization": "acme-corp",
        "openai-project": "proj_AbCdEfGhIjKl",
        "anthropic-organization-id": ACCOUNTS[-1],
        "x-ratelimit-limit-org-AbCdEfGhIjKl": "1",
        "anthropic-ratelimit-unified-account": "1",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-requests": "60",
        "anthropic-ratelimit-requests-remaining": "0",
        "retry-after-ms": f"1 {KEYS[vendor]}",
        "server-timing": "x" * 300,
        "openai-version": "caf\xe9",
        "set-cookie": "a=b",
        "access-control-allow-origin": "*",
        "location": "https://example.com",
        "x-echo-authorization": f"Bearer {KEYS[vendor]}",
    }
    fake.answers(vendor=vendor, headers={**private, "openai-processing-ms": "60"})
    reply = ask(body | {"stream": stream}, path=path)
    assert reply.status == 200
    assert not private.keys() & reply.headers.keys()
    assert reply.headers["openai-processing-ms"] == "60"
    assert_nothing_private(str(reply.headers), vendor)


@pytest.mark.parametrize("stream", [False, True])
def test_answer_that_repeats_providers_key_hides_it(
    ask: Asking, fake: FakeProvider, stream: bool
) -> None:
    _, path, body, _ = STREAMS["chat"]
    fake.answers(vendor="openai", content=f"The key is {KEYS['openai']}, not sk-proj-another0123")
    text = ask(body | {"stream": stream}, path=path).body.decode()
    assert KEYS["openai"] not in text
    assert "sk-proj-another0123" in text or stream  # an answer may name what looks like a key


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google"])
def test_answer_through_sdk_that_repeats_providers_key_hides_it(
    ask: Asking, fake: FakeProvider, vendor: str, stream: bool
) -> None:
    fake.answers(vendor=vendor, content=f"The key is {KEYS[vendor]} indeed")
    reply = ask({"model": MODELS[vendor], "prompt": "Hi", "stream": stream})
    text = reply.body.decode()
    assert (reply.status, KEYS[vendor] in text, "[key]" in text) == (200, False, True)


def test_content_type_of_plain_answer_is_json(ask: Asking, fake: FakeProvider) -> None:
    _, path, body, _ = STREAMS["chat"]
    fake.answers(vendor="openai", headers={"content-type": "text/html"}, content="<script>")
    reply = ask(body | {"stream": False}, path=path)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")


def test_ordinary_words_are_not_hidden() -> None:
    peer = Peer(title="OpenAI", secret="")
    for text in (
        "The organization has no access to this model",
        "org-wide limit of 10 requests; see https://example.com/projects",
        "Request 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f failed",
    ):
        assert peer.hidden(text) == text


def test_what_signer_made_is_hidden_as_key_is() -> None:
    made = ["token-1"]
    peer = Peer(title="Vertex", secret="of-vertex", made=lambda: made)
    assert peer.hidden("of-vertex and token-1") == "[key] and [key]"
    assert peer.without_secret(b"of-vertex and token-1") == b"[key] and [key]"
    made.insert(0, "token-2")
    assert peer.shown("token-2 after token-1") == "[key] after [key]"
    assert peer.without_secret(b"neither") == b"neither"


@pytest.mark.parametrize("secret", ["x", "id", "EMPTY", "ollama", "choices"])
def test_word_given_as_key_stays_in_answers(secret: str) -> None:
    peer = Peer(title="Local", secret=secret)
    answer = b'{"id": "x", "choices": [{"message": {"content": "EMPTY, as ollama has it"}}]}'
    assert peer.without_secret(answer) == answer
    assert peer.hidden_in({"id": "EMPTY or ollama"}) == {"id": "EMPTY or ollama"}


def test_key_in_repeated_url_is_hidden() -> None:
    peer = Peer(title="Local", secret="a+b/c=d&e 1")
    quoted = Peer(title="Local", secret='a"b\\c-0123')
    assert quoted.shown('{"key": "a\\"b\\\\c-0123"}') == '{"key": "[key]"}'
    sentence = 'Post "http://10.0.0.1/v1/chat?key=a%2Bb%2Fc%3Dd%26e+1": connection refused'
    assert peer.shown(sentence) == 'Post "http://10.0.0.1/v1/chat?key=[key]": connection refused'
    assert peer.without_secret(sentence.encode()).decode() == peer.hidden(sentence)
