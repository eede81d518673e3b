"""OpenAI, and servers that have its chat completions, through the openai SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI, AsyncStream

from gateway.apis.chat import answer as chat
from gateway.apis.families.changes import without_places
from gateway.apis.families.openai import cap_name
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.providers import CHAT, OPENAI, ProviderConfig
from gateway.core.seen import SeenOutput
from gateway.providers.adapters import sdk_call
from gateway.upstream import transport
from gateway.upstream.failures import Peer
from gateway.upstream.http_client import HttpClient

# OpenAI's SDK looks for httpx among the loaded modules, and Google's loads it where it is
# installed: half loaded by another thread, it would fail a call.
with suppress(ImportError):
    import httpx  # noqa: F401

PATH: Final = "/chat/completions"


class OpenAI:
    """The Provider that has OpenAI's API."""

    def __init__(self, config: ProviderConfig, http: HttpClient) -> None:
        self._peer = Peer.of(config)
        self._config = config
        self._client = AsyncOpenAI(
            api_key=transport.NO_KEY,
            base_url=config.base_of(CHAT),
            max_retries=0,
            http_client=transport.client(http, config),
        )

    async def complete(self, call: ProviderCall) -> Completion:
        """Request the whole answer."""
        return await sdk_call.whole(self._peer, call, ask=self._ask, read=chat.completion_from)

    def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Request a streamed answer."""
        reading = chat.ChatStreamReader(call.model)
        return sdk_call.pieces(self._peer, call, ask=self._events, reading=reading, seen=seen)

    async def _ask(self, call: ProviderCall) -> object:
        # By `post`: the SDK's typed method validates every part of a valid body,
        # and builds objects from the answer: a third of a request's total cost.
        answer = await self._client.post(
            PATH, body=_request(call, self._config), cast_to=httpx2.Response
        )
        return answer.json()

    async def _events(self, call: ProviderCall) -> AsyncIterator[object]:
        # Plain JSON: building the SDK's objects costs more than everything else per chunk.
        events = await self._client.post(
            PATH,
            body=_request(call, self._config, stream=True),
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[object],
        )
        return aiter(events)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _request(call: ProviderCall, config: ProviderConfig, *, stream: bool = False) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": call.sent_name,
        "messages": [{"role": m.role, "content": m.content} for m in call.messages],
    }
    if config.standard_tier:
        request["service_tier"] = config.standard_tier
    if config.family == OPENAI:
        names = {"safety_identifier": call.user, "prompt_cache_key": call.cache_key}
        request |= {name: value for name, value in names.items() if value is not None}
    if call.max_output_tokens is not None:
        request[config.cap_name or cap_name(call.model)] = call.max_output_tokens
    if call.temperature is not None:
        request["temperature"] = call.temperature
    if stream:
        request["stream"] = True
        if config.takes_stream_options:
            request["stream_options"] = {"include_usage": True}
    return without_places(request, config.dropped)
