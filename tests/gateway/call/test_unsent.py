"""A client that disconnects while the provider is being connected is not charged."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator

import pytest

from gateway.call.runtime import Gateway
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CHAT, OPENAI, charged, tried, wire
from tests.gateway.stand_ins import until
from tests.gateway.wire import JSON_TYPE, Visit


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and never completes TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_disconnect_before_request_is_sent_is_free(
    gateway: Gateway, vendors: FakeProvider, api_key: str, silent: socket.socket, stream: bool
) -> None:
    wire(gateway, vendors, openai=f"https://127.0.0.1:{silent.getsockname()[1]}/v1")
    Visit(
        "POST",
        "/v1/chat/completions",
        [("content-type", JSON_TYPE.encode()), ("x-pulse-key", api_key.encode())],
        json.dumps(CHAT | {"model": OPENAI, "stream": stream}).encode(),
        leaves_when=lambda _: bool(select.select([silent], [], [], 0)[0]),
    ).run()
    until(lambda: not gateway.tasks)
    found = tried()
    assert found.codes == ["client_disconnected"]
    assert found.states == ["released"]
    assert charged() == {}
