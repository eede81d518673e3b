"""The same requests without a client: one of each format, as sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx2

from tests.clients.questions import PROMPT, chat_turns
from tests.clients.targets import EMBEDDERS, MODELS, Target

CALL_MAX_S: Final = 300.0
CHAT: dict[str, Any] = {"model": MODELS["openai"], "messages": chat_turns()}
MISTRAL: dict[str, Any] = {"model": MODELS["mistral"], "messages": chat_turns()}
RESPONSE: dict[str, Any] = {"model": MODELS["openai"], "input": PROMPT}
MESSAGE: dict[str, Any] = {
    "model": MODELS["anthropic"],
    "max_tokens": 100,
    "messages": [{"role": "user", "content": PROMPT}],
}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
STREAMED = {"stream": True}
COUNTED = STREAMED | {"stream_options": {"include_usage": True}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request of one vendor's format; its path comes after the vendor's base URL."""

    name: str
    vendor: str
    path: str
    body: dict[str, Any]


def gemini(name: str, method: str, version: str = "v1beta", **more: Any) -> Case:
    path = f"/{version}/models/{MODELS['google']}:{method}"
    return Case(name=name, vendor="google", path=path, body=GEMINI | more)


CASES: Final = [
    Case(name="chat", vendor="openai", path="/chat/completions", body=CHAT),
    Case(name="chat, two", vendor="openai", path="/chat/completions", body=CHAT | {"n": 2}),
    Case(name="chat, streamed", vendor="openai", path="/chat/completions", body=CHAT | COUNTED),
    Case(name="responses", vendor="openai", path="/responses", body=RESPONSE),
    Case(name="responses, streamed", vendor="openai", path="/responses", body=RESPONSE | STREAMED),
    Case(
        name="embeddings",
        vendor="openai",
        path="/embeddings",
        body={"model": EMBEDDERS["openai"], "input": [PROMPT, "two words"]},
    ),
    Case(name="Mistral", vendor="mistral", path="/v1/chat/completions", body=MISTRAL),
    Case(
        name="Mistral, streamed",
        vendor="mistral",
        path="/v1/chat/completions",
        body=MISTRAL | STREAMED,
    ),
    Case(
        name="Mistral's embeddings",
        vendor="mistral",
        path="/v1/embeddings",
        body={"model": EMBEDDERS["mistral"], "input": [PROMPT]},
    ),
    Case(name="messages", vendor="anthropic", path="/v1/messages", body=MESSAGE),
    Case(
        name="messages, streamed",
        vendor="anthropic",
        path="/v1/messages",
        body=MESSAGE | STREAMED,
    ),
    Case(
        name="a count of tokens",
        vendor="anthropic",
        path="/v1/messages/count_tokens",
        body={name: MESSAGE[name] for name in ("model", "messages")},
    ),
    gemini("generateContent", "generateContent"),
    gemini("generateContent of v1", "generateContent", "v1"),
    gemini("Google's events", "streamGenerateContent?alt=sse"),
    gemini("Google's array", "streamGenerateContent"),
    gemini("countTokens", "countTokens"),
]


def headers(target: Target, vendor: str) -> dict[str, str]:
    """Return the credential as the vendor's own client sends it."""
    match vendor:
        case "anthropic":
            return {"x-api-key": target.key, "anthropic-version": "2023-06-01"}
        case "google":
            return {"x-goog-api-key": target.key}
        case "mistral":  # whose own client gets its usage unasked
            agent = "mistral-client-python/3.7.0"
            return {"authorization": f"Bearer {target.key}", "user-agent": agent}
        case _:
            return {"authorization": f"Bearer {target.key}"}


def ask(http: httpx2.Client, target: Target, case: Case, **more: str) -> httpx2.Response:
    """Send a request, with additional headers."""
    url = target.base_url(case.vendor) + case.path
    return http.post(url, json=case.body, headers=headers(target, case.vendor) | more)
