"""Rows made of presets by the command, each at its server's fake, with prices and exact charges."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pytest
from pytest_django import Settings

from costs.models import CostEvent
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from tests.commands import output_of
from tests.costs.books import check_the_books
from tests.factories import RateFactory
from tests.fake_provider import HOSTS, FakeProvider
from tests.fake_provider.records import Call
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

CHAT: Final = "/v1/chat/completions"
HELLO: Final[list[dict[str, Any]]] = [{"role": "user", "content": "Say hello to all"}]
# At 1.10 USD per EUR, in nano-euro per token.
INPUT, CACHE_READ, OUTPUT = 1_000, 100, 10_000
SEALING_KEY: Final = "a-key-that-seals-secrets-in-tests-0123456789"


@dataclass(frozen=True, slots=True)
class KnownServer:
    """A row `known`, and the fake server that it is at."""

    name: str
    fake: FakeProvider
    ask: Asking

    def chat(self, *, model: str = "", **fields: Any) -> Reply:
        """Send a chat completion to a model of the server, the first unless it is named."""
        return self.post(CHAT, {"messages": HELLO, **fields}, model=model)

    def post(self, path: str, body: dict[str, Any], *, model: str = "", **headers: str) -> Reply:
        """Send a body to a model of the server."""
        named = f"known/{model or HOSTS[self.name].models[0]}"
        return self.ask({"model": named, **body}, path=path, headers=headers)

    @property
    def last(self) -> Call:
        """The last request that the server got."""
        return self.fake.calls[-1]


Known = Callable[..., KnownServer]


@pytest.fixture
def known(
    gateway: Gateway, ask: Asking, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Known]:
    """Return a function that adds the row of a server by command, with more options and a secret.

    The ledger must be consistent after the test.
    """
    settings.SECRETS_KEYS = (SEALING_KEY,)
    with ExitStack() as running:

        def added(name: str, *options: str, secret: str | None = None) -> KnownServer:
            fake, host = running.enter_context(FakeProvider(host=name)), HOSTS[name]
            text = host.key if secret is None and host.credentials else secret or ""
            monkeypatch.setattr("sys.stdin", io.StringIO(text.replace("{origin}", fake.origin)))
            stdin = ("--secret-stdin",) if text else ()
            address = ("--base-url", fake.base_url(name))
            output_of("providers", "add", "known", "--preset", name, *address, *stdin, *options)
            for model in host.models:
                set_price(model)
            return KnownServer(name, fake, ask)

        yield added
        gateway.call_loop.call_sync(gateway.providers.aclose())
    check_the_books()


def set_price(model: str) -> None:
    RateFactory.create(
        provider="known",
        model=model,
        input_usd_per_mtok=Decimal("1.1"),
        cache_read_usd_per_mtok=Decimal("0.11"),
        output_usd_per_mtok=Decimal(11),
    )


def row_of(reply: Reply) -> AiRequestLog:
    """Return the row of an answered request."""
    assert reply.status == 200, reply.body
    return AiRequestLog.objects.get(id=reply.headers["x-pulse-request-id"])


def usage_of(reply: Reply) -> dict[str, Any]:
    """Return the usage of an answered request: `buckets`, `reported` and others."""
    return dict(row_of(reply).usage or {})


def adjustments(reply: Reply) -> list[str]:
    """Return the sentences on what was changed in an answered request."""
    return list((row_of(reply).decision or {})["adjustments"])


def charge_of(reply: Reply) -> tuple[str, int | None]:
    """Return the kind of an answered request's charge, and its nano-euro."""
    row = row_of(reply)
    kind = CostEvent.objects.order_by("-id").values_list("kind", flat=True)[0]
    return kind, row.cost_nanoeur


def price_of(call: Call) -> tuple[str, int]:
    """Return the charge of what the server billed for a call."""
    billed = call.billed
    assert billed is not None
    cached = billed["cached_tokens"]
    uncached = billed["input_tokens"] - cached
    return "usage", uncached * INPUT + cached * CACHE_READ + billed["output_tokens"] * OUTPUT


def text_of(reply: Reply) -> str:
    """Return the text of a chat completion, streamed or not."""
    return "".join(message.get("content") or "" for message in messages_of(reply))


def messages_of(reply: Reply) -> list[dict[str, Any]]:
    """Return the message of a chat completion, or the deltas of a streamed one."""
    choices = [choice for chunk in chunks_of(reply) for choice in chunk["choices"]]
    return [choice.get("delta") or choice.get("message") or {} for choice in choices]


def chunks_of(reply: Reply) -> list[Any]:
    """Return the chunks of a streamed chat completion, or the plain one."""
    if reply.headers["content-type"].startswith("application/json"):
        return [reply.json]
    lines = reply.body.decode().splitlines()
    *data, done = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(each) for each in data]
