"""Anthropic, through the anthropic SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import httpx2
from anthropic import AsyncAnthropic, AsyncStream, RequestOptions

from gateway.apis.families.changes import without_places
from gateway.apis.messages import answer as messages
from gateway.apis.messages.request import headers_from, request_from
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.providers import MESSAGES, ProviderConfig
from gateway.core.seen import SeenOutput
from gateway.providers.adapters import sdk_call
from gateway.upstream import transport
from gateway.upstream.failures import Peer
from gateway.upstream.http_client import HttpClient

PATH: Final = "/v1/messages"


class Anthropic:
    """The Provider that has Anthropic's API."""

    def __init__(self, config: ProviderConfig, http: HttpClient) -> None:
        self._peer = Peer.of(config)
        self._config = config
        self._client = AsyncAnthropic(
            api_key=transport.NO_KEY,
            base_url=config.base_of(MESSAGES),
            max_retries=0,
            open_telemetry=False,
            http_client=transport.client(http, config),
        )

    async def complete(self, call: ProviderCall) -> Completion:
        """Request the whole answer."""
        return await sdk_call.whole(self._peer, call, ask=self._ask, read=messages.completion_from)

    def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Request a streamed answer."""
        reading = messages.MessagesStreamReader(call.model)
        return sdk_call.pieces(self._peer, call, ask=self._events, reading=reading, seen=seen)

    async def _ask(self, call: ProviderCall) -> object:
        # By `post`: the SDK's typed method validates every part of a valid body,
        # and refuses long answers that are not streamed.
        answer = await self._client.post(
            PATH, body=self._request(call), cast_to=httpx2.Response, options=_options(call)
        )
        return answer.json()

    async def _events(self, call: ProviderCall) -> AsyncIterator[object]:
        # Plain JSON: building the SDK's objects costs more than everything else per event.
        events = await self._client.post(
            PATH,
            body=self._request(call) | {"stream": True},
            cast_to=object,
            options=_options(call),
            stream=True,
            stream_cls=AsyncStream[object],
        )
        return aiter(events)

    def _request(self, call: ProviderCall) -> dict[str, Any]:
        request = {**request_from(call), "model": call.sent_name}
        if self._config.standard_tier:
            request["service_tier"] = self._config.standard_tier
        return without_places(request, self._config.dropped)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _options(call: ProviderCall) -> RequestOptions:
    return {"headers": headers_from(call)}
