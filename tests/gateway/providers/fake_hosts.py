"""The fakes of other servers, and the vendors' own clients at them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import httpx2
from anthropic import Anthropic
from openai import OpenAI

from tests.fake_provider import HOSTS, FakeProvider

# Runs the host of a name, without calls so far.
Running = Callable[[str], AbstractContextManager[FakeProvider]]

HELLO: Final[Any] = [{"role": "user", "content": "Say hello to all"}]
CITIES: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER: Final[Any] = {"type": "function", "function": {"name": "weather", "parameters": CITIES}}


def serving(ending: str) -> list[str]:
    """Return the hosts with a path that ends so."""
    return [name for name, host in HOSTS.items() if any(p.endswith(ending) for p in host.endpoints)]


def key_of(fake: FakeProvider, name: str) -> str:
    """Return what the host takes: its key, or a new token."""
    return HOSTS[name].key if HOSTS[name].takes_key else fake.tokens.issue()


def openai_at(fake: FakeProvider, name: str, **changes: Any) -> OpenAI:
    """Return OpenAI's client at a host."""
    usual: dict[str, Any] = {
        "base_url": fake.base_url(name),
        "api_key": key_of(fake, name),
        "max_retries": 0,
    }
    return OpenAI(**usual | changes)


def anthropic_at(fake: FakeProvider, name: str, **changes: Any) -> Anthropic:
    """Return Anthropic's client at a host, with its key as a bearer's."""
    [path] = [path for path in HOSTS[name].endpoints if path.endswith("/v1/messages")]
    base_url = f"{fake.origin}{path.removesuffix('/v1/messages')}"
    usual: dict[str, Any] = {
        "base_url": base_url,
        "auth_token": key_of(fake, name),
        "max_retries": 0,
    }
    return Anthropic(**usual | changes)


def post(fake: FakeProvider, name: str, path: str, body: Any, **headers: str) -> httpx2.Response:
    """Post to a path below the host's base URL; without headers, with its key as a bearer's."""
    credentials = headers or {"authorization": f"Bearer {key_of(fake, name)}"}
    return httpx2.post(f"{fake.base_url(name)}{path}", json=body, headers=credentials)


def chat_body(name: str, **changes: Any) -> dict[str, Any]:
    """Return an ordinary chat request."""
    return {"model": HOSTS[name].models[0], "messages": HELLO} | changes
