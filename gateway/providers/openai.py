"""OpenAI, and servers that speak its chat completions, through the openai SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI, AsyncStream

from gateway.apis.chat import answer as chat
from gateway.apis.families.openai import cap_name
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.seen import SeenOutput
from gateway.providers import sdk_call
from gateway.upstream import transport
from gateway.upstream.failures import Peer
from gateway.upstream.http_client import HttpClient
from gateway.upstream.network import TimeLimits
from gateway.upstream.upstreams import VENDORS

# OpenAI's SDK looks for httpx among the loaded modules, and Google's loads it where it is
# installed: half loaded by another thread, it would fail a call.
with suppress(ImportError):
    import httpx  # noqa: F401

PATH: Final = "/chat/completions"


class OpenAI:
    """The Provider that is OpenAI."""

    name = "openai"

    def __init__(
        self, *, api_key: str, base_url: str | None, limits: TimeLimits, http: HttpClient
    ) -> None:
        self._peer = Peer(title="OpenAI", secret=api_key)
        self._limits = limits
        self._client = AsyncOpenAI(
            api_key=api_key,
            base_url=base_url or VENDORS[self.name].base_url,
            max_retries=0,
            http_client=transport.client(http, {"authorization": f"Bearer {api_key}"}, limits),
        )

    async def complete(self, call: ProviderCall) -> Completion:
        """Request the whole answer."""

        async def ask() -> object:
            # By `post`: the SDK's typed method validates every part of a valid body,
            # and builds objects from the answer: a third of a request's total cost.
            answer = await self._client.post(PATH, body=_request(call), cast_to=httpx2.Response)
            return answer.json()

        return await sdk_call.whole(
            self._peer,
            call,
            ask=ask,
            read=lambda report: chat.completion_from(report, model=call.model),
        )

    def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Request a streamed answer."""

        async def ask() -> AsyncIterator[object]:
            # Plain JSON: building the SDK's objects costs more than everything else per chunk.
            events = await self._client.post(
                PATH,
                body=_request(call) | {"stream": True, "stream_options": {"include_usage": True}},
                cast_to=object,
                stream=True,
                stream_cls=AsyncStream[object],
            )
            return aiter(events)

        return sdk_call.pieces(
            self._peer, call, ask=ask, reading=chat.ChatStreamReader(call.model), seen=seen
        )

    async def check(self) -> str:
        """Request the list of models."""

        async def count() -> int:
            return len((await self._client.models.list()).data)

        return await sdk_call.checked(self._peer, timeout_s=self._limits.total_s, count=count)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _request(call: ProviderCall) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": call.model,
        "messages": [{"role": m.role, "content": m.content} for m in call.messages],
        # Otherwise the project's setting decides, possibly a more expensive tier than the bound's.
        "service_tier": "default",
    }
    for name, value in (("safety_identifier", call.user), ("prompt_cache_key", call.cache_key)):
        if value is not None:
            request[name] = value
    if call.max_output_tokens is not None:
        request[cap_name(call.model)] = call.max_output_tokens
    if call.temperature is not None:
        request["temperature"] = call.temperature
    return request
