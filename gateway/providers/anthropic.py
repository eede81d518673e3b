"""Anthropic, through the anthropic SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from anthropic import AsyncAnthropic, AsyncStream

from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.providers import asking, transport
from gateway.providers.failures import Peer
from gateway.providers.formats import anthropic as messages
from gateway.providers.upstreams import VENDORS

# The API refuses a request without a cap. The gateway passes one; this is for a caller that does
# not, and every model can write as much.
DEFAULT_OUTPUT_TOKENS: Final = 4096
# The version that the SDK asks for, 2026-10-21, answers 400 to any temperature. Its predecessor
# takes one from the models that have it:
# https://platform.claude.com/docs/en/api/versioning
VERSION_WITH_TEMPERATURE: Final = "2023-06-01"


class Anthropic:
    """The Provider that is Anthropic."""

    name = "anthropic"

    def __init__(self, *, api_key: str, base_url: str | None, timeout_s: float) -> None:
        self._peer = Peer(title="Anthropic", secret=api_key)
        self._timeout_s = timeout_s
        self._client = AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or VENDORS[self.name].base_url,
            max_retries=0,
            open_telemetry=False,
            # The SDK sends the first, proxies made for its predecessor read the second.
            http_client=transport.client(
                {"authorization": f"Bearer {api_key}", "x-api-key": api_key}
            ),
        )

    async def complete(self, call: ProviderCall) -> Completion:
        """Ask for the whole answer at once."""

        async def ask() -> object:
            # With a timeout of ours the SDK does not refuse long answers that are not streamed.
            answer = await self._client.messages.with_raw_response.create(
                **_request(call), timeout=call.timeout_s
            )
            return await answer.json()

        return await asking.whole(
            self._peer,
            timeout_s=call.timeout_s,
            ask=ask,
            read=lambda report: messages.completion_from(report, model=call.model),
        )

    def stream(self, call: ProviderCall) -> AsyncGenerator[Delta | Completion, None]:
        """Ask for the answer in pieces."""

        async def ask() -> AsyncIterator[object]:
            answer = await self._client.messages.with_raw_response.create(
                **_request(call), stream=True, timeout=call.timeout_s
            )
            # Plain JSON: building the SDK's objects costs more than all else on an event's way.
            events: AsyncStream[object] = await answer.parse(to=AsyncStream[object])
            return aiter(events)

        return asking.pieces(
            self._peer, timeout_s=call.timeout_s, ask=ask, reading=messages.Reading(call.model)
        )

    async def check(self) -> str:
        """Ask for the list of models."""

        async def count() -> int:
            page = await self._client.models.list(limit=1000, timeout=self._timeout_s)
            return len(page.data)

        return await asking.checked(self._peer, timeout_s=self._timeout_s, count=count)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _request(call: ProviderCall) -> dict[str, Any]:
    system = "\n\n".join(m.content for m in call.messages if m.role == "system")
    request: dict[str, Any] = {
        "model": call.model,
        "messages": [
            {"role": message.role, "content": message.content}
            for message in call.messages
            if message.role != "system"
        ],
        "max_tokens": call.max_output_tokens or DEFAULT_OUTPUT_TOKENS,
        # Else an organization's priority tier may answer, at a price that was not bounded:
        # https://platform.claude.com/docs/en/api/service-tiers
        "service_tier": "standard_only",
    }
    if system:
        request["system"] = system
    if call.temperature is not None:
        request["extra_body"] = {"temperature": call.temperature}
        request["extra_headers"] = {"anthropic-version": VERSION_WITH_TEMPERATURE}
    return request
