"""An adapter's connections: shared between calls, closed with a stream, only to the vendor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from gateway.core.calls import Completion, Delta
from gateway.core.seen import SeenOutput
from tests.fake_provider import closed_port
from tests.fake_provider.vendors import Wire, ask, call_to, every_vendor, opened

# The adapters live as long as the module: they are made to be long-lived.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@every_vendor
async def test_calls_share_their_connection(wire: Wire, vendor: str) -> None:
    for streamed in (False, False, False, True, True):
        await wire.ask(vendor, streamed=streamed)
    ports = [call.client_port for call in wire.fake.calls]
    assert len(set(ports[:4])) == 1
    # A stream's last chunk may be late; its connection is then closed rather than waited for.
    assert len(set(ports)) <= 2


@every_vendor
async def test_environment_is_ignored(
    wire: Wire, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"http://127.0.0.1:{closed_port()}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, nowhere)
    for name in ("OPENAI", "ANTHROPIC", "GOOGLE", "GEMINI", "MISTRAL"):
        monkeypatch.setenv(f"{name}_API_KEY", "stray")
        monkeypatch.setenv(f"{name}_BASE_URL", nowhere)
        monkeypatch.setenv(f"{name}_CUSTOM_HEADERS", "Authorization: Bearer stray\nx-stray: stray")
    for name in (
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_ADMIN_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_GENAI_API_VERSION",
    ):
        monkeypatch.setenv(name, "stray")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("MISTRAL_SDK_TELEMETRY", "dedicated")
    monkeypatch.setenv("MISTRAL_DEBUG", "1")
    async with opened(vendor, wire.fake.base_url(vendor)) as provider:
        await ask(provider, call_to(vendor), streamed=False)
        await ask(provider, call_to(vendor), streamed=True)
    assert len(wire.fake.calls) == 2
    assert "stray" not in json.dumps([call.headers for call in wire.fake.calls])


@every_vendor
async def test_closing_stream_closes_vendor_connection(wire: Wire, vendor: str) -> None:
    wire.fake.answers(endless=True)
    provider = await wire.providers.get(wire.providers.vendors[vendor])
    await _read_some_and_close(provider.stream(call_to(vendor), SeenOutput()))
    await asyncio.to_thread(wire.fake.wait_for, lambda call: call.disconnected_at)


@every_vendor
async def test_cancelling_waiting_stream_closes_vendor_connection(wire: Wire, vendor: str) -> None:
    wire.fake.answers(stall="body", stall_after_events=2)
    reading = asyncio.create_task(wire.ask(vendor, streamed=True))
    await asyncio.to_thread(wire.fake.wait_for, lambda call: call.billed)
    await asyncio.sleep(0.1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.to_thread(wire.fake.wait_for, lambda call: call.disconnected_at)


async def _read_some_and_close(stream: AsyncIterator[Delta | Completion]) -> None:
    seen = 0
    async for _ in stream:
        seen += 1
        if seen == 3:
            break
    await stream.aclose()  # type: ignore[attr-defined]  # the seam says less than it promises
