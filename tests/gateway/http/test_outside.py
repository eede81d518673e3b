"""Wrong paths and methods, in the words of each API; browsers on other origins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from gateway.call.runtime import Gateway
from gateway.http.addresses import is_api
from pulse.environment import origins
from tests.gateway.conftest import Asking
from tests.gateway.wire import send_to_api

pytestmark = pytest.mark.django_db(transaction=True)

APP = "https://app.example.com"
HERE = "http://testserver"


def openai(sentence: str) -> dict[str, Any]:
    fields = {"type": "not_found_error", "param": None, "code": "not_found"}
    return {"error": {"message": sentence, **fields}}


def anthropic(sentence: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "not_found_error", "message": sentence}}


def google(sentence: str) -> dict[str, Any]:
    return {"error": {"code": 404, "message": sentence, "status": "NOT_FOUND"}}


KEY = {"authorization": "Bearer x"}
AS_ANTHROPIC = {"anthropic-version": "2023-06-01"}
AS_GOOGLE = {"x-goog-api-key": "any"}


@pytest.mark.parametrize(
    ("path", "headers", "error", "served"),
    [
        ("/v1/audio/speech", {}, openai, "/v1/chat/completions, /v1/responses"),
        ("/v1/files", {}, openai, "/v1/embeddings and /v1/models"),
        ("/files", {}, openai, "/v1/chat/completions"),
        ("/openai/v1/images/generations", {}, openai, "/v1/chat/completions"),
        ("/v1/threads/thread_1/messages", {}, openai, "/v1/chat/completions"),
        ("/v1/responses/resp_1/cancel", {}, openai, "/v1/responses"),
        ("/v1/", {}, openai, "/v1/chat/completions"),
        ("/v1/messages/batches", {}, anthropic, "/v1/messages, /v1/messages/count_tokens"),
        ("/v1/complete", AS_ANTHROPIC, anthropic, "/v1/messages"),
        ("/v1/organizations/me", {"x-api-key": "x"}, anthropic, "/v1/messages"),
        ("/count_tokens", AS_ANTHROPIC | KEY, anthropic, "/v1/messages/count_tokens"),
        ("/model/claude/invoke", KEY, openai, "/v1/chat/completions"),
        ("/v1internal:generateContent", AS_GOOGLE, google, "/v1beta/models/{model}"),
        ("/v1beta/cachedContents", {}, google, "/v1beta/models/{model}:generateContent"),
        ("/v1/files", AS_GOOGLE, google, "/v1beta/models/{model}:generateContent"),
        ("/upload/v1beta/files", {}, google, "/v1beta/models/{model}:generateContent"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_unserved_path_is_404_in_words_of_its_api(  # noqa: PLR0913
    gateway: Gateway,
    method: str,
    path: str,
    headers: Mapping[str, str],
    error: Callable[[str], Mapping[str, Any]],
    served: str,
) -> None:
    reply = send_to_api(method, path, headers=headers)
    message = reply.json["error"]["message"]
    assert (reply.status, reply.json) == (404, error(message))
    assert message.startswith(f'"{path}" is not served; ')
    assert served in message
    assert reply.headers["x-pulse-error-code"] == "not_found"
    assert reply.headers["cache-control"] == "no-store"
    ids = {reply.headers[name] for name in ("x-pulse-request-id", "x-request-id", "request-id")}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("path", "headers", "error", "right", "base"),
    [
        ("/chat/completions", {}, openai, "/v1/chat/completions", "/v1"),
        ("/v1/v1/chat/completions", {}, openai, "/v1/chat/completions", "/v1"),
        ("/openai/v1/chat/completions", {}, openai, "/v1/chat/completions", "/v1"),
        ("/openai/deployments/x/chat/completions", {}, openai, "/v1/chat/completions", "/v1"),
        ("/v1beta/openai/chat/completions", {}, openai, "/v1/chat/completions", "/v1"),
        ("/v1beta/openai/models", {}, openai, "/v1/models", "/v1"),
        ("/api/v1/chat/completions", {}, openai, "/v1/chat/completions", "/v1"),
        ("//v1/chat/completions", {}, openai, "/v1/chat/completions", "/v1"),
        ("/v1/chat/completions/", {}, openai, "/v1/chat/completions", "/v1"),
        ("/v1/completions", {}, openai, "/v1/chat/completions", "/v1"),
        ("/responses", {}, openai, "/v1/responses", "/v1"),
        ("/embeddings", {}, openai, "/v1/embeddings", "/v1"),
        ("/models", KEY, openai, "/v1/models", "/v1"),
        ("/models/gpt-4o", {}, openai, "/v1/models/gpt-4o", "/v1"),
        ("/models", AS_ANTHROPIC | KEY, anthropic, "/v1/models", ""),
        ("/messages", {}, anthropic, "/v1/messages", ""),
        ("/v1/v1/messages", {}, anthropic, "/v1/messages", ""),
        ("/v1/v1/messages/count_tokens", {}, anthropic, "/v1/messages/count_tokens", ""),
        ("/anthropic/v1/messages", {}, anthropic, "/v1/messages", ""),
        ("/v1beta/v1beta/models", AS_GOOGLE, google, "/v1beta/models", ""),
        (
            "/google/v1/models/gemini-x:batchEmbedContents",
            {},
            google,
            "/v1beta/models/gemini-x:batchEmbedContents",
            "",
        ),
        ("/models/g:generateContent", {}, google, "/v1beta/models/g:generateContent", ""),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_wrong_base_url_is_answered_with_right_one(  # noqa: PLR0913
    gateway: Gateway,
    method: str,
    path: str,
    headers: Mapping[str, str],
    error: Callable[[str], Mapping[str, Any]],
    right: str,
    base: str,
) -> None:
    reply = send_to_api(method, path, headers=headers, body=b"{}" if method == "POST" else b"")
    sentence = f'"{path}" is not served; use {HERE}{right}: the base URL of '
    message = reply.json["error"]["message"]
    assert (reply.status, reply.json) == (404, error(message))
    assert message.startswith(sentence)
    assert message.endswith(f"'s clients is {HERE}{base}")


def test_sentence_names_public_url(gateway: Gateway, settings: Settings) -> None:
    settings.PULSE_URL = "https://ai.example.org"
    message = send_to_api("POST", "/chat/completions").json["error"]["message"]
    assert "use https://ai.example.org/v1/chat/completions" in message


def test_path_is_shown_short_and_printable(gateway: Gateway) -> None:
    message = send_to_api("POST", "/v1/" + "x" * 1000 + "\n").json["error"]["message"]
    assert len(message) < 300


@pytest.mark.parametrize("path", ["/admin/ai/v1/messages", "/static/v1/messages", "/"])
def test_paths_of_pages_stay_pages(path: str) -> None:
    assert not is_api(path, [(b"authorization", b"Bearer x")])


def test_path_of_nothing_is_api_for_programs_alone() -> None:
    key = (b"authorization", b"Bearer x")
    assert is_api("/nothing", [key])
    assert not is_api("/nothing", [])
    assert not is_api("/nothing", [key, (b"accept", b"text/html")])


def test_path_of_page_is_api_for_programs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.addresses.resolve", lambda _: None)  # a page has the path
    key, html = (b"authorization", b"Bearer x"), (b"accept", b"text/html,*/*")
    assert is_api("/models", [key, (b"accept", b"application/json")])
    assert is_api("/models", [(b"x-api-key", b"x")])
    assert not is_api("/models", [key, html])
    assert not is_api("/models", [html])
    assert not is_api("/models", [])


def test_unknown_path_of_native_api_is_404_in_its_words(gateway: Gateway) -> None:
    refusal = send_to_api("GET", "/api/ai/nothing").refusal
    assert refusal == (404, "not_found", "Endpoint not found")


def test_wrong_method_is_405_in_words_of_its_api(ask: Asking) -> None:
    reply = ask(method="GET", path="/v1/messages")
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert reply.json["type"] == "error"
    assert reply.json["error"]["message"] == "Method GET is not allowed; use POST"


# --- browsers on other origins ----------------------------------------------------------------


def asked_before(origin: str) -> Mapping[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-stainless-lang",
    }


def test_pages_of_allowed_origin_may_call(ask: Asking, settings: Settings) -> None:
    settings.CORS_ORIGINS = frozenset({APP})
    before = send_to_api("OPTIONS", "/v1/chat/completions", headers=asked_before(APP))
    assert (before.status, before.body) == (204, b"")
    assert before.headers["access-control-allow-origin"] == APP
    assert "POST" in before.headers["access-control-allow-methods"]
    assert before.headers["access-control-allow-headers"] == "*, authorization"
    for body in ({}, {"model": "sandbox-small", "prompt": "Hi"}, {"stream": True}):
        reply = ask(body, headers={"origin": APP})
        assert reply.headers["access-control-allow-origin"] == APP
        assert reply.headers["access-control-expose-headers"] == "*"
        assert "Origin" in reply.headers["vary"]
    assert "access-control-allow-credentials" not in {**before.headers, **reply.headers}


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", f"{APP}.evil.example", ""])
def test_pages_of_other_origins_may_not(ask: Asking, settings: Settings, origin: str) -> None:
    settings.CORS_ORIGINS = frozenset({APP})
    before = send_to_api("OPTIONS", "/v1/chat/completions", headers=asked_before(origin))
    reply = ask({"model": "sandbox-small", "prompt": "Hi"}, headers={"origin": origin})
    assert reply.status == 200
    for answer in (before, reply):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_no_origin_is_allowed_unless_configured(ask: Asking) -> None:
    reply = ask({"model": "sandbox-small", "prompt": "Hi"}, headers={"origin": APP})
    assert not [name for name in reply.headers if name.startswith("access-control-")]
    assert "vary" not in reply.headers


def test_origins_are_read_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_CORS_ORIGINS", f"{APP}, http://localhost:5173/")
    assert origins("PULSE_CORS_ORIGINS") == {APP, "http://localhost:5173"}
    for wrong in ("*", "app.example.com", f"{APP}/path", "ftp://a.example", "https://u@a.example"):
        monkeypatch.setenv("PULSE_CORS_ORIGINS", wrong)
        with pytest.raises(ImproperlyConfigured, match="PULSE_CORS_ORIGINS must be origins"):
            origins("PULSE_CORS_ORIGINS")
