"""Each vendor's own client: one request, plain and streamed, and the errors that it raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anthropic
import openai
from google import genai
from google.genai import errors as google_errors
from google.genai import types
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from tests.clients.questions import PROMPT, chat_turns
from tests.clients.targets import Target

SendCall = Callable[[Target, str, int], Any]


def _openai_chat(target: Target, model: str, cap: int, *, stream: bool = False) -> None:
    with openai.OpenAI(
        base_url=target.base_url("openai"), api_key=target.key, max_retries=0
    ) as client:
        question: dict[str, Any] = {"model": model, "messages": chat_turns(), "max_tokens": cap}
        answer = client.chat.completions.create(**question, stream=stream)
        _ = list(answer) if stream else answer


def _openai_chat_streamed(target: Target, model: str, cap: int) -> None:
    _openai_chat(target, model, cap, stream=True)


def _openai_response(target: Target, model: str, cap: int) -> None:
    with openai.OpenAI(
        base_url=target.base_url("openai"), api_key=target.key, max_retries=0
    ) as client:
        client.responses.create(model=model, input=PROMPT, max_output_tokens=cap)


def _anthropic_message(target: Target, model: str, cap: int, *, stream: bool = False) -> None:
    url = target.base_url("anthropic")
    with anthropic.Anthropic(base_url=url, api_key=target.key, max_retries=0) as client:
        question: dict[str, Any] = {
            "model": model,
            "max_tokens": cap,
            "messages": [{"role": "user", "content": PROMPT}],
        }
        answer = client.messages.create(**question, stream=stream)
        _ = list(answer) if stream else answer


def _anthropic_message_streamed(target: Target, model: str, cap: int) -> None:
    _anthropic_message(target, model, cap, stream=True)


def _google_content(target: Target, model: str, cap: int, *, stream: bool = False) -> None:
    options = types.HttpOptions(base_url=target.base_url("google"))
    client = genai.Client(api_key=target.key, http_options=options)
    question: dict[str, Any] = {
        "model": model,
        "contents": PROMPT,
        "config": types.GenerateContentConfig(max_output_tokens=cap),
    }
    try:
        if stream:
            _ = list(client.models.generate_content_stream(**question))
        else:
            client.models.generate_content(**question)
    finally:
        client.close()


def _google_content_streamed(target: Target, model: str, cap: int) -> None:
    _google_content(target, model, cap, stream=True)


def _mistral_chat(target: Target, model: str, cap: int) -> None:
    question: dict[str, Any] = {"model": model, "messages": chat_turns(), "max_tokens": cap}
    with Mistral(api_key=target.key, server_url=target.base_url("mistral")) as client:
        client.chat.complete(**question)


OPENAI_ERRORS: Final[Mapping[int, type[Exception]]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
}
ANTHROPIC_ERRORS: Final[Mapping[int, type[Exception]]] = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
    # Its classes for 503, 504 and 529 stand beside the one for other server errors.
    500: anthropic.APIStatusError,
}
GOOGLE_ERRORS: Final[Mapping[int, type[Exception]]] = {
    **dict.fromkeys((400, 401, 403, 404, 429), google_errors.ClientError),
    500: google_errors.ServerError,
}
MISTRAL_ERRORS: Final[Mapping[int, type[Exception]]] = dict.fromkeys(
    (400, 401, 403, 404, 429, 500), SDKError
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A client: its call, and the exception class by status; 500 covers all above."""

    name: str
    vendor: str
    ask: SendCall
    errors: Mapping[int, type[Exception]] = field(repr=False)

    def error_class(self, status: int) -> type[Exception]:
        """Return the exception class of the client for a status."""
        return self.errors[min(status, 500)]


def status_of(error: Any) -> int:
    """Return the status of the response behind a client's exception."""
    status: int = getattr(error, "status_code", None) or error.code
    return status


CALLERS: Final = (
    Caller(name="chat", vendor="openai", ask=_openai_chat, errors=OPENAI_ERRORS),
    Caller(name="chat, streamed", vendor="openai", ask=_openai_chat_streamed, errors=OPENAI_ERRORS),
    Caller(name="responses", vendor="openai", ask=_openai_response, errors=OPENAI_ERRORS),
    Caller(name="messages", vendor="anthropic", ask=_anthropic_message, errors=ANTHROPIC_ERRORS),
    Caller(
        name="messages, streamed",
        vendor="anthropic",
        ask=_anthropic_message_streamed,
        errors=ANTHROPIC_ERRORS,
    ),
    Caller(name="Google", vendor="google", ask=_google_content, errors=GOOGLE_ERRORS),
    Caller(
        name="Google, streamed",
        vendor="google",
        ask=_google_content_streamed,
        errors=GOOGLE_ERRORS,
    ),
    Caller(name="Mistral", vendor="mistral", ask=_mistral_chat, errors=MISTRAL_ERRORS),
)
