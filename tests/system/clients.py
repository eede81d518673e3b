"""Clients of a gateway: one call and its outcome, seen from outside."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp

MODELS: Final = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-3-5-sonnet-20241022",
    "google": "gemini-2.0-flash",
    "mistral": "mistral-large-latest",
}
CALL_MAX_S: Final = 300.0
# A wait that ends well costs nothing by its limit: those are for what never comes.
WAIT_MAX_S: Final = 120.0


class Question(Protocol):
    """One request as it is sent."""

    @property
    def path(self) -> str:
        """The path of the request."""
        ...

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the request."""
        ...

    def headers(self, key: str) -> dict[str, str]:
        """Return the headers that authenticate the caller."""
        ...


def prompt_of(call: str) -> str:
    """Return the prompt of a call: its name, and some words."""
    return f"{call} " + " ".join(f"word{n}" for n in range(12))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCall:
    """One request. `call` is its client's name for it: in the prompt and, as clientId, in rows."""

    call: str
    vendor: str = "openai"
    stream: bool = False
    max_tokens: int = 60
    more: dict[str, Any] = field(default_factory=dict)
    session: str | None = None
    agent: str | None = None

    @property
    def prompt(self) -> str:
        """The prompt; the fake provider repeats it, word by word."""
        return prompt_of(self.call)

    @property
    def path(self) -> str:
        """The path of the request."""
        return "/api/ai/request"

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the request."""
        return {
            "model": MODELS[self.vendor],
            "prompt": self.prompt,
            "maxTokens": self.max_tokens,
            "stream": self.stream,
            "clientId": self.call,
            **self.more,
        }

    @property
    def is_free(self) -> bool:
        """Whether its provider bills nothing."""
        return False

    def headers(self, key: str) -> dict[str, str]:
        """Return the headers that authenticate the caller, and name its session."""
        named = {"x-pulse-session-id": self.session, "x-pulse-agent-id": self.agent}
        return {"x-pulse-key": key, **{name: value for name, value in named.items() if value}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended: `answer` is the JSON object or the last event's; status 0 is no answer."""

    asked: ClientCall
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        """Whether the client has its whole answer."""
        return self.answer.get("success") is True

    @property
    def code(self) -> str | None:
        """The code of a refusal or failure."""
        return self.answer.get("code")


async def ask(session: aiohttp.ClientSession, url: str, key: str, asked: ClientCall) -> Outcome:
    """Send a call and follow it to its end."""
    timeout = aiohttp.ClientTimeout(total=CALL_MAX_S)
    try:
        async with session.post(
            f"{url}{asked.path}", json=asked.body, headers=asked.headers(key), timeout=timeout
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            whole = await response.text()
            if response.content_type == "text/event-stream":
                return _streamed(asked, whole, headers)
            answer = json.loads(whole)
            text = answer.get("content", "")
            return Outcome(
                asked=asked, status=response.status, answer=answer, text=text, headers=headers
            )
    except (aiohttp.ClientError, OSError, TimeoutError):
        return Outcome(asked=asked)


def _streamed(asked: ClientCall, whole: str, headers: dict[str, str]) -> Outcome:
    events = events_in(whole)
    text = "".join(data["content"] for name, data in events if name == "delta")
    ends = [data for name, data in events if name in {"done", "error"}]
    assert len(ends) <= 1, f"a stream has one end: {whole}"
    return Outcome(
        asked=asked, status=200, answer=ends[0] if ends else {}, text=text, headers=headers
    )


def events_in(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the server-sent events that are complete."""
    found = []
    for block in text.split("\n\n")[:-1]:
        if block.startswith(":"):
            continue  # a comment
        name, data = block.split("\n", 1)
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def ask_all(url: str, key: str, *asked: ClientCall) -> list[Outcome]:
    """Send calls at the same time, each over a connection of its own."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        return list(await asyncio.gather(*(ask(session, url, key, each) for each in asked)))


async def first_calls(url: str, key: str) -> list[Outcome]:
    """Call every vendor once: an SDK takes seconds to import, which no timing should see."""
    asked = [ClientCall(call=f"warm-up-{secrets.token_hex(6)}", vendor=vendor) for vendor in MODELS]
    return await ask_all(url, key, *asked)


async def warm_up(url: str, key: str) -> None:
    """Make the first calls, which must be answered."""
    outcomes = await first_calls(url, key)
    assert all(outcome.is_answered for outcome in outcomes), outcomes


async def until(happened: Callable[[], object], *, within_s: float = WAIT_MAX_S) -> None:
    """Wait, in its own thread, until a condition is true."""
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(happened):
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        await asyncio.sleep(0.05)


async def ask_one(url: str, key: str, asked: ClientCall) -> Outcome:
    """Send one call."""
    [outcome] = await ask_all(url, key, asked)
    return outcome


@dataclass(slots=True)
class RawClient:
    """A client on a raw connection, which can read any amount and disconnect at any time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def sending(cls, url: str, key: str, asked: Question, *, limit: int = 2**16) -> RawClient:
        """Connect and send the whole request."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=limit)
        body = json.dumps(asked.body).encode()
        headers = {
            "host": address.netloc,
            **asked.headers(key),
            "content-type": "application/json",
            "content-length": str(len(body)),
        }
        lines = [f"POST {asked.path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        return cls(reader, writer)

    async def leave(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()
