"""Google's Gemini API, through the google-genai SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from google import genai
from google.genai import types

from costs.core.usage import Usage
from gateway.apis.embeddings import google as embeddings
from gateway.apis.embeddings.google import usage_counted
from gateway.apis.generate import answer as gemini
from gateway.apis.generate.request import config_from, contents_from
from gateway.core.calls import Completion, Delta, ProviderCall
from gateway.core.errors import Broken, ProviderFailed, Rejected
from gateway.core.model_names import fits_path
from gateway.core.providers import GENERATE, ProviderConfig
from gateway.core.seen import SeenOutput
from gateway.providers.adapters import sdk_call
from gateway.upstream import transport
from gateway.upstream.failures import Peer
from gateway.upstream.http_client import HttpClient
from gateway.upstream.relay import COUNT_TIMEOUT_S

API_VERSION: Final = "v1beta"  # the SDK's default, v1, lacks system instructions and thoughts
# Google accepts no more in one request; OpenAI's clients send up to 2048.
EMBEDDED_AT_ONCE: Final = 100


class Google:
    """The Provider that has Google's API."""

    def __init__(self, config: ProviderConfig, http: HttpClient) -> None:
        self._peer = Peer.of(config)
        self._config = config
        self._http = transport.client(http, config)
        self._client = genai.Client(
            api_key=transport.NO_KEY,
            vertexai=False,  # otherwise GOOGLE_GENAI_USE_VERTEXAI decides
            http_options=types.HttpOptions(
                base_url=config.base_of(GENERATE),
                api_version=API_VERSION,
                # Where a base URL is for this API alone, it includes the version.
                base_url_resource_scope=(
                    types.ResourceScope.COLLECTION if GENERATE in config.base_urls else None
                ),
                # The SDK's aiohttp transport resends a request when the connection breaks.
                httpx_async_client=self._http,
            ),
        )

    async def complete(self, call: ProviderCall) -> Completion:
        """Request the whole answer."""
        if call.inputs:
            return await self._embedded(call)
        return await sdk_call.whole(self._peer, call, ask=self._ask, read=gemini.completion_from)

    def stream(
        self, call: ProviderCall, seen: SeenOutput
    ) -> AsyncGenerator[Delta | Completion, None]:
        """Request a streamed answer."""
        reading = gemini.GenerateStreamReader(call.model)
        return sdk_call.pieces(self._peer, call, ask=self._events, reading=reading, seen=seen)

    async def _ask(self, call: ProviderCall) -> object:
        answer = await self._client.aio.models.generate_content(
            model=self._model(call), contents=contents_from(call), config=_config(call, raw=True)
        )
        sent = answer.sdk_http_response
        return json.loads(sent.body if sent is not None and sent.body else "null")

    async def _events(self, call: ProviderCall) -> AsyncIterator[object]:
        chunks = await self._client.aio.models.generate_content_stream(
            model=self._model(call), contents=contents_from(call), config=_config(call, raw=False)
        )
        # The SDK sends the request only now: a refusal is one, and no stream that breaks off.
        return _as_json(await anext(chunks, None), chunks)

    async def _embedded(self, call: ProviderCall) -> Completion:
        """Request the embeddings of the inputs, and count their tokens if usage is not reported.

        Counting is free, and the count is what is billed: the models that report no usage are
        priced by their input. If counting fails too, the usage stays unknown.
        """
        parts: list[Completion] = []
        for start in range(0, len(call.inputs), EMBEDDED_AT_ONCE):
            part = replace(call, inputs=call.inputs[start : start + EMBEDDED_AT_ONCE])
            try:
                parts.append(await self._embedded_at_once(part))
            except ProviderFailed as exc:
                if not parts:
                    raise
                # Earlier parts were billed, so a refusal of the rest proves nothing.
                raise Broken(exc.message, provider_status=exc.provider_status) from exc
        completion = embeddings.joined(parts)
        if completion.usage is not None:
            return completion
        return replace(completion, usage=await self._counted(call))

    async def _embedded_at_once(self, call: ProviderCall) -> Completion:
        async def ask(call: ProviderCall) -> object:
            answer = await self._client.aio.models.embed_content(
                model=self._model(call),
                contents=_contents_of(call.inputs),
                config=_embedding_config(call),
            )
            return _json(answer)

        read = partial(embeddings.completion_from, inputs=len(call.inputs))
        return await sdk_call.whole(self._peer, call, ask=ask, read=read)

    async def _counted(self, call: ProviderCall) -> Usage | None:
        timeout_s = min(call.timeout_s, COUNT_TIMEOUT_S)

        async def ask() -> object:
            return _json(
                await self._client.aio.models.count_tokens(
                    model=self._model(call), contents=_contents_of(call.inputs)
                )
            )

        return await sdk_call.aside(self._peer, timeout_s=timeout_s, ask=ask, read=usage_counted)

    def _model(self, call: ProviderCall) -> str:
        name = call.sent_name
        if not fits_path(name, of_row=self._config.is_row):
            raise Rejected(f"{name!r} is not a valid Google model name; nothing was sent")
        return name

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aio.aclose()
        await self._http.aclose()


async def _as_json(
    first: types.GenerateContentResponse | None,
    others: AsyncIterator[types.GenerateContentResponse],
) -> AsyncGenerator[object, None]:
    """Yield the chunks as JSON; the SDK does not expose the original JSON of a stream."""
    if first is not None:
        yield _json(first)
    async for chunk in others:
        yield _json(chunk)


def _json(
    answer: types.GenerateContentResponse | types.EmbedContentResponse | types.CountTokensResponse,
) -> object:
    return answer.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        exclude={"sdk_http_response"},
        warnings=False,
    )


def _contents_of(inputs: tuple[str, ...]) -> list[Any]:
    """Return one content per input: some models make one embedding of a list of texts."""
    return [types.Content(role="user", parts=[types.Part(text=text)]) for text in inputs]


def _embedding_config(call: ProviderCall) -> types.EmbedContentConfig:
    return types.EmbedContentConfig(output_dimensionality=call.dimensions)


def _config(call: ProviderCall, *, raw: bool) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(
        **config_from(call),
        # Both make the SDK send further requests of its own, for which no money is held.
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        automatic_continuation=False,
        should_return_http_response=raw or None,
    )
