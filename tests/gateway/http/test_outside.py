"""Wrong paths and methods, in the words of each API; browsers on other origins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from gateway.call.runtime import Gateway
from pulse.environment import origins
from tests.gateway.conftest import Asking
from tests.gateway.wire import send_to_api

pytestmark = pytest.mark.django_db(transaction=True)

APP = "https://app.example.com"
SENTENCE = "Endpoint not found"
OPENAI = {
    "error": {
        "message": SENTENCE,
        "type": "not_found_error",
        "param": None,
        "code": "not_found",
    }
}
ANTHROPIC = {"type": "error", "error": {"type": "not_found_error", "message": SENTENCE}}
GOOGLE = {"error": {"code": 404, "message": SENTENCE, "status": "NOT_FOUND"}}


@pytest.mark.parametrize(
    ("path", "headers", "error"),
    [
        ("/v1/audio/speech", {}, OPENAI),
        ("/v1/", {}, OPENAI),
        ("/v1/messages/batches", {}, ANTHROPIC),
        ("/v1/complete", {"anthropic-version": "2023-06-01"}, ANTHROPIC),
        ("/v1beta/cachedContents", {}, GOOGLE),
        ("/v1/files", {"x-goog-api-key": "any"}, GOOGLE),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_unknown_path_is_404_in_words_of_its_api(
    gateway: Gateway, method: str, path: str, headers: Mapping[str, str], error: Mapping[str, Any]
) -> None:
    reply = send_to_api(method, path, headers=headers)
    assert (reply.status, reply.json) == (404, error)
    assert reply.headers["x-pulse-error-code"] == "not_found"
    assert reply.headers["cache-control"] == "no-store"


def test_unknown_path_of_native_api_is_404_in_its_words(gateway: Gateway) -> None:
    assert send_to_api("GET", "/api/ai/nothing").refusal == (404, "not_found", SENTENCE)


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
