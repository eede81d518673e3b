"""The compatible endpoints as their clients use them: requests, and the format of errors.

An endpoint is one address with one vendor behind it, plain or streamed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from tests.system.clients import CALL_MAX_S, MODELS, prompt_of
from tests.system.upstream import Seen

Body = dict[str, Any]

EMBEDDERS: Final = {
    "openai": "text-embedding-3-small",
    "google": "gemini-embedding-001",
    "mistral": "mistral-embed",
}
CODE_HEADER: Final = "x-pulse-error-code"
_KEY_HEADERS: Final = {
    "openai": ("authorization", "Bearer {}"),
    "anthropic": ("x-api-key", "{}"),
    "google": ("x-goog-api-key", "{}"),
}
GOOGLE_ERROR: Final = {"code", "message", "status"}
OPENAI_ERROR: Final = {"message", "type", "param", "code"}
# The word for a status in the clients' own errors, where there is no code.
_ANTHROPIC_WORDS: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    504: "timeout_error",
}
_SERVER_ERRORS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path and its vendor. `speaks` is the API's vendor, which decides the format of errors.

    `route` is as in the URLconf. `last` is how the last event of a stream is recognized. Behind one
    that `counts_itself`, the vendor is asked for a count where it reports no usage.
    """

    name: str
    route: str
    speaks: str
    vendor: str
    model: str
    body_of: Callable[[str, str, int], Body]
    last: bytes = b""
    query: str = ""
    is_free: bool = False
    has_output: bool = True
    counts_itself: bool = False

    @property
    def streams(self) -> bool:
        """Whether the answer comes in pieces."""
        return self.last != b""

    @property
    def is_array(self) -> bool:
        """Whether the pieces are the elements of a JSON array."""
        return self.streams and "streamGenerateContent" in self.route and not self.query

    @property
    def is_relayed(self) -> bool:
        """Whether the vendor speaks the API, so that its bytes are passed on."""
        return self.speaks == self.vendor or (self.vendor == "mistral" and self.speaks == "openai")

    @property
    def shows_head(self) -> bool:
        """Whether a stream begins with its head: an error cannot be the first of an array."""
        return not self.is_array and (self.is_relayed or self.vendor != "google")

    @property
    def is_strict(self) -> bool:
        """Whether an answer that says nothing of its end is none: Google's always say it."""
        return self.vendor == "google" and not self.is_free

    def path(self, model: str | None = None) -> str:
        """Return the path, with another model than the endpoint's own."""
        named = quote(self.model if model is None else model, safe="")
        return f"/{self.route.replace('<path:model>', named)}{self.query}"

    def headers(self, key: str) -> dict[str, str]:
        """Return the key header as the endpoint's clients send it."""
        name, value = _KEY_HEADERS[self.speaks]
        return {name: value.format(key)}

    def is_error(self, body: Body, *, status: int, code: str | None) -> bool:
        """Whether a body is this error in the format of the endpoint's clients."""
        error: Body = body["error"]
        if not isinstance(error["message"], str) or not error["message"]:
            return False
        match self.speaks:
            case "openai":
                return set(error) == OPENAI_ERROR and error["code"] == code
            case "anthropic":
                other = "api_error" if status >= _SERVER_ERRORS else "invalid_request_error"
                word = _ANTHROPIC_WORDS.get(status, other)
                return (body["type"], error["type"]) == ("error", word)
            case _:
                return set(error) == GOOGLE_ERROR and error["code"] == status


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCall:
    """One request at an endpoint. `call` is its client's name for it: in the prompt and in rows."""

    call: str
    endpoint: Endpoint
    max_tokens: int = 60
    model: str | None = None

    @property
    def prompt(self) -> str:
        """The prompt; the fake provider repeats it, word by word."""
        return prompt_of(self.call)

    @property
    def path(self) -> str:
        """The path of the request."""
        return self.endpoint.path(self.model)

    @property
    def body(self) -> Body:
        """The JSON of the request."""
        return self.endpoint.body_of(
            self.model or self.endpoint.model, self.prompt, self.max_tokens
        )

    @property
    def is_free(self) -> bool:
        """Whether its provider bills nothing."""
        return self.endpoint.is_free

    def headers(self, key: str) -> dict[str, str]:
        """Return the key and the client's own name for the call."""
        return {**self.endpoint.headers(key), "x-pulse-client-id": self.call}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The response of a request."""

    asked: EndpointCall
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def code(self) -> str | None:
        """The code of a refusal or failure, which has a header of its own."""
        return self.headers.get(CODE_HEADER)

    def json(self) -> Any:
        """Return a whole body."""
        return json.loads(self.raw)

    def pieces(self) -> list[Any]:
        """Return the JSON events of a stream, in order."""
        if self.asked.endpoint.is_array:
            found: list[Any] = json.loads(self.raw)
            return found
        lines = self.raw.splitlines()
        events = [
            line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:")
        ]
        return [json.loads(each) for each in events if each.startswith(b"{")]


async def ask_each(url: str, key: str, *asked: EndpointCall) -> list[Answer]:
    """Send calls at the same time, each over a connection of its own."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=CALL_MAX_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        return list(await asyncio.gather(*(_ask(session, url, key, each) for each in asked)))


async def _ask(session: aiohttp.ClientSession, url: str, key: str, asked: EndpointCall) -> Answer:
    target = URL(f"{url}{asked.path}", encoded=True)
    async with session.post(target, json=asked.body, headers=asked.headers(key)) as response:
        return Answer(
            asked=asked,
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            raw=await response.read(),
        )


def billed_at(endpoint: Endpoint, call: Seen) -> Body | None:
    """Return the billed usage of a call by the vendor's record, None if it is free."""
    billed: Body | None = call["billed"]
    if billed is None or endpoint.has_output:
        return billed
    return {**billed, "output_tokens": 0}


# --- what clients send ----------------------------------------------------------------------------


def _chat(model: str, prompt: str, cap: int) -> Body:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": cap}


def _chat_streamed(model: str, prompt: str, cap: int) -> Body:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    return _chat(model, prompt, cap) | asked


def _response(model: str, prompt: str, cap: int) -> Body:
    return {"model": model, "input": prompt, "max_output_tokens": cap}


def _embedding(model: str, prompt: str, _: int) -> Body:
    return {"model": model, "input": prompt}


def _message_count(model: str, prompt: str, _: int) -> Body:
    return {"model": model, "messages": [{"role": "user", "content": prompt}]}


def _content(_: str, prompt: str, cap: int) -> Body:
    return _content_count("", prompt, cap) | {"generationConfig": {"maxOutputTokens": cap}}


def _content_count(_: str, prompt: str, _cap: int) -> Body:
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}


def _embed_content(_: str, prompt: str, _cap: int) -> Body:
    return {"content": {"parts": [{"text": prompt}]}}


def _batch_embed_contents(_: str, prompt: str, _cap: int) -> Body:
    return {"requests": [_embed_content("", prompt, 0)]}


def _streamed(body_of: Callable[[str, str, int], Body]) -> Callable[[str, str, int], Body]:
    return lambda *asked: body_of(*asked) | {"stream": True}


def _chats() -> Iterator[Endpoint]:
    for vendor, model in MODELS.items():
        at = partial(
            Endpoint, route="v1/chat/completions", speaks="openai", vendor=vendor, model=model
        )
        yield at(name=f"chat to {vendor}", body_of=_chat)
        yield at(name=f"chat to {vendor}, streamed", body_of=_chat_streamed, last=b"[DONE]")


def _of_openai() -> Iterator[Endpoint]:
    at = partial(
        Endpoint, route="v1/responses", speaks="openai", vendor="openai", model=MODELS["openai"]
    )
    yield at(name="responses", body_of=_response)
    last = b"event: response.completed"
    yield at(name="responses, streamed", body_of=_streamed(_response), last=last)
    compact = partial(at, route="v1/responses/compact", body_of=_embedding)
    yield compact(name="responses, compacted")
    count = partial(at, route="v1/responses/input_tokens", body_of=_embedding, is_free=True)
    yield count(name="responses, counted")
    for vendor, model in EMBEDDERS.items():
        yield Endpoint(
            name=f"embeddings of {vendor}",
            route="v1/embeddings",
            speaks="openai",
            vendor=vendor,
            model=model,
            body_of=_embedding,
            has_output=False,
            counts_itself=vendor == "google",
        )


def _of_anthropic() -> Iterator[Endpoint]:
    at = partial(Endpoint, speaks="anthropic", vendor="anthropic", model=MODELS["anthropic"])
    messages = partial(at, route="v1/messages")
    yield messages(name="messages", body_of=_chat)
    last = b'"type":"message_stop"'
    yield messages(name="messages, streamed", body_of=_streamed(_chat), last=last)
    count = partial(at, route="v1/messages/count_tokens", is_free=True)
    yield count(name="messages, counted", body_of=_message_count)


def _of_google() -> Iterator[Endpoint]:
    for version in ("v1beta", "v1"):
        models = f"{version}/models/<path:model>"
        at = partial(Endpoint, speaks="google", vendor="google", model=MODELS["google"])
        content = partial(at, route=f"{models}:generateContent", body_of=_content)
        yield content(name=f"content of {version}")
        stream = partial(
            at,
            route=f"{models}:streamGenerateContent",
            body_of=_content,
            last=b'"finishReason"',
        )
        yield stream(name=f"content of {version}, an array")
        yield stream(name=f"content of {version}, events", query="?alt=sse")
        count = partial(at, route=f"{models}:countTokens", is_free=True)
        yield count(name=f"content of {version}, counted", body_of=_content_count)
        embedded = partial(at, model=EMBEDDERS["google"], has_output=False, counts_itself=True)
        for method, body_of in (
            ("embedContent", _embed_content),
            ("batchEmbedContents", _batch_embed_contents),
        ):
            yield embedded(
                name=f"{method} of {version}", route=f"{models}:{method}", body_of=body_of
            )


ENDPOINTS: Final = (*_chats(), *_of_openai(), *_of_anthropic(), *_of_google())
PLAIN: Final = tuple(endpoint for endpoint in ENDPOINTS if not endpoint.streams)
STREAMED: Final = tuple(endpoint for endpoint in ENDPOINTS if endpoint.streams)
