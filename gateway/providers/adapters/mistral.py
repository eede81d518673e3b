"""Mistral, through the mistralai SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from mistralai.client import Mistral as MistralClient
from mistralai.client.errors import ResponseValidationError
from mistralai.client.utils.eventstreaming import EventStreamAsync
from mistralai.client.utils.logger import NoOpLogger

from gateway.apis.chat import mistral as chat
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.messages import Message
from gateway.core.providers import CHAT, ProviderConfig
from gateway.core.seen import SeenOutput
from gateway.providers.adapters import sdk_call
from gateway.upstream import transport, untrusted_json
from gateway.upstream.failures import Peer
from gateway.upstream.http_client import HttpClient


class Mistral:
    """The Provider that is Mistral."""

    def __init__(self, config: ProviderConfig, http: HttpClient) -> None:
        self._peer = Peer.of(config)
        self._config = config
        self._http = transport.client(http, config)
        self._client = MistralClient(
            api_key=transport.NO_KEY,
            server_url=config.base_of(CHAT).removesuffix("/v1"),
            async_client=self._http,
            retry_config=None,
            # The SDK's own logger, which MISTRAL_DEBUG enables, logs keys and prompts.
            debug_logger=NoOpLogger(),
        )
        # Otherwise MISTRAL_SDK_TELEMETRY makes the SDK export prompts as traces.
        vars(self._client.sdk_configuration)["telemetry"] = False

    async def complete(self, call: ProviderCall) -> Completion:
        """Request the whole answer."""
        return await sdk_call.whole(self._peer, call, ask=self._ask, read=chat.completion_from)

    def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Request a streamed answer."""
        reading = chat.MistralStreamReader(call.model)
        return sdk_call.pieces(self._peer, call, ask=self._events, reading=reading, seen=seen)

    async def _ask(self, call: ProviderCall) -> object:
        try:
            answer = await self._client.chat.complete_async(**_request(call, self._config))
        except ResponseValidationError as exc:
            # A missing or unexpected field must not lose the answer that was paid for.
            return json.loads(exc.body)
        # Only fields that were set: the SDK reads an absent count as 0.
        return answer.model_dump(mode="json", exclude_unset=True)

    async def _events(self, call: ProviderCall) -> AsyncIterator[object]:
        answer = await self._client.chat.stream_async(**_request(call, self._config))
        # The SDK's stream with another decoder: its own fails at the first unexpected field.
        events: EventStreamAsync[object] = EventStreamAsync(
            answer.response, _data, sentinel="[DONE]", client_ref=answer.client_ref
        )
        return aiter(events)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _request(call: ProviderCall, config: ProviderConfig) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": call.sent_name,
        "messages": [_message(m, is_last=m is call.messages[-1]) for m in call.messages],
        # Otherwise the priority tier may answer, at a price above the bound.
        "service_tier": "standard_only",
    }
    if call.max_output_tokens is not None:
        request["max_tokens"] = call.max_output_tokens
    if call.temperature is not None:
        request["temperature"] = call.temperature
    return request


def _message(message: Message, *, is_last: bool) -> dict[str, Any]:
    """Return a message; an answer that is the last is the beginning of the next one."""
    goes_on = {"prefix": True} if is_last and message.role == "assistant" else {}
    return {"role": message.role, "content": message.content, **goes_on}


def _data(event: str) -> object:
    data = untrusted_json.mapping(json.loads(event)).get("data")
    if not isinstance(data, dict):
        raise ValueError("an event without an object")
    return data
