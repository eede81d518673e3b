"""A fresh gateway for every test, a key of Acme's, and functions to send requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol

import pytest
import pytest_asyncio
from django.apps import apps
from pytest_django import Settings

from gateway.call.call_loop import CallLoop
from gateway.call.runtime import Gateway, make_gateway
from orgs.keys import operations
from orgs.models import Organization
from tests.costs.books import check_the_books
from tests.fake_provider.thread import FakeProvider
from tests.fake_provider.vendors import Wire, connected
from tests.gateway.attempts import wire
from tests.gateway.wire import JSON_TYPE, Reply, send_to_api, send_to_django

STOP_MAX_S = 60.0


class Asking(Protocol):
    """Sends one request to the API; `body` is JSON's value or the bytes themselves."""

    def __call__(
        self,
        body: Any = None,
        *,
        path: str = "/api/ai/request",
        method: str = "POST",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply: ...


@pytest.fixture(scope="session")
def call_loop() -> CallLoop:
    """One loop for the calls of all tests; it ends with the process."""
    return CallLoop()


@pytest.fixture
def gateway(transactional_db: None, settings: Settings, call_loop: CallLoop) -> Iterator[Gateway]:
    """This process's gateway, made for one test and stopped after it."""
    settings.SANDBOX = True
    config = apps.get_app_config("gateway")
    before = config.__dict__.pop("gateway", None)
    made = make_gateway()
    made.call_loop = call_loop
    config.__dict__["gateway"] = made
    yield made
    call_loop.call_sync(made.stop(drain_s=STOP_MAX_S))
    if before is None:
        config.__dict__.pop("gateway")
    else:
        config.__dict__["gateway"] = before


@pytest.fixture
def make_key(transactional_db: None) -> Callable[..., str]:
    """Return a function that creates a key and returns its text."""

    def made(org: Organization, name: str = "test", **fields: Any) -> str:
        return operations.create_key(org=org, name=name, **fields)[1]

    return made


@pytest.fixture
def api_key(acme: Organization, prices: object, make_key: Callable[..., str]) -> str:
    """A key of Acme's without owner or fixed dimensions; models have prices."""
    return make_key(acme)


def asking(send: Callable[..., Reply], default_key: str) -> Asking:
    def ask(
        body: Any = None,
        *,
        path: str = "/api/ai/request",
        method: str = "POST",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        sent_headers = {"content-type": JSON_TYPE, **(headers or {})}
        used = default_key if key is None else key
        if used:
            sent_headers["x-pulse-key"] = used
        content = body if isinstance(body, bytes) else b"" if body is None else _bytes(body)
        return send(method, path, body=content, headers=sent_headers)

    return ask


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
def ask(gateway: Gateway, api_key: str) -> Asking:
    """Send requests through the API handler with Acme's key; `key=""` sends none."""
    return asking(send_to_api, api_key)


@pytest.fixture(params=[send_to_api, send_to_django], ids=["api", "django"])
def ask_both(request: pytest.FixtureRequest, gateway: Gateway, api_key: str) -> Asking:
    """The same, once through each handler."""
    return asking(request.param, api_key)


@pytest.fixture
def vendors(gateway: Gateway, api_key: str) -> Iterator[FakeProvider]:
    """All vendors, at the fake provider; the ledger must be consistent after the test."""
    with FakeProvider() as fake:
        wire(gateway, fake)
        yield fake
        gateway.call_loop.call_sync(gateway.providers.aclose())
        check_the_books()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connection() -> AsyncIterator[Wire]:
    """The adapters at the fake provider; they are made to live long."""
    async with connected() as wire:
        yield wire


@pytest.fixture(name="wire")
def wire_without_calls(connection: Wire) -> Wire:
    """The same, without calls and behaviours of other tests."""
    connection.fake.reset()
    return connection
