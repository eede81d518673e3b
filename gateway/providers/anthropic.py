"""Anthropic, through the anthropic SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import httpx2
from anthropic import AsyncAnthropic, AsyncStream, RequestOptions

from gateway.apis.messages import answer as messages
from gateway.apis.messages.request import headers_from, request_from
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.seen import SeenOutput
from gateway.providers import sdk_call
from gateway.upstream import transport
from gateway.upstream.failures import Peer
from gateway.upstream.http_client import HttpClient
from gateway.upstream.network import TimeLimits
from gateway.upstream.upstreams import VENDORS

PATH: Final = "/v1/messages"


class Anthropic:
    """The Provider that is Anthropic."""

    name = "anthropic"

    def __init__(
        self, *, api_key: str, base_url: str | None, limits: TimeLimits, http: HttpClient
    ) -> None:
        self._peer = Peer(title="Anthropic", secret=api_key)
        self._limits = limits
        self._client = AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or VENDORS[self.name].base_url,
            max_retries=0,
            open_telemetry=False,
            # The SDK sends the first; proxies made for its predecessor read the second.
            http_client=transport.client(
                http, {"authorization": f"Bearer {api_key}", "x-api-key": api_key}, limits
            ),
        )

    async def complete(self, call: ProviderCall) -> Completion:
        """Request the whole answer."""

        async def ask() -> object:
            # By `post`: the SDK's typed method validates every part of a valid body,
            # and refuses long answers that are not streamed.
            answer = await self._client.post(
                PATH, body=request_from(call), cast_to=httpx2.Response, options=_options(call)
            )
            return answer.json()

        return await sdk_call.whole(
            self._peer,
            call,
            ask=ask,
            read=lambda report: messages.completion_from(report, model=call.model),
        )

    def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Request a streamed answer."""

        async def ask() -> AsyncIterator[object]:
            # Plain JSON: building the SDK's objects costs more than everything else per event.
            events = await self._client.post(
                PATH,
                body=request_from(call) | {"stream": True},
                cast_to=object,
                options=_options(call),
                stream=True,
                stream_cls=AsyncStream[object],
            )
            return aiter(events)

        return sdk_call.pieces(
            self._peer, call, ask=ask, reading=messages.MessagesStreamReader(call.model), seen=seen
        )

    async def check(self) -> str:
        """Request the list of models."""

        async def count() -> int:
            page = await self._client.models.list(limit=1000)
            return len(page.data)

        return await sdk_call.checked(self._peer, timeout_s=self._limits.total_s, count=count)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _options(call: ProviderCall) -> RequestOptions:
    return {"headers": headers_from(call)}
