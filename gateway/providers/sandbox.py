"""The sandbox: a provider without a network that repeats the last user message."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Final

from costs.core.usage import Usage
from gateway import tokens
from gateway.core.calls import Completion, Delta, Message, ProviderCall

ENCODING: Final = "o200k_base"
_PIECES: Final = re.compile(r"\S+\s*|\s+")


class Sandbox:
    """The Provider that answers by itself; what it counts is real."""

    name = "sandbox"

    async def complete(self, call: ProviderCall) -> Completion:
        """Repeat the last user message, cut at the output cap."""
        chars = sum(len(message.content) for message in call.messages)
        if chars <= tokens.INLINE_MAX_CHARS and tokens.ENCODINGS.is_loaded(ENCODING):
            return _completion(call)
        return await asyncio.to_thread(_completion, call)

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Delta | Completion, None]:
        """Repeat it word by word."""
        completion = await self.complete(call)
        for piece in _PIECES.finditer(completion.content):
            yield Delta(piece[0])
            await asyncio.sleep(0)
        yield Completion(
            model=completion.model,
            content="",
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            raw_usage=completion.raw_usage,
        )

    async def check(self) -> str:
        """Say that it is there; there is nothing to reach."""
        return "Sandbox answers by itself"

    async def aclose(self) -> None:
        """Close nothing."""


def _completion(call: ProviderCall) -> Completion:
    content = _last_said(call.messages)
    whole_tokens = tokens.count(content, ENCODING)
    cap = whole_tokens if call.max_output_tokens is None else call.max_output_tokens
    is_whole = whole_tokens <= cap
    contents = sum(tokens.count(message.content, ENCODING) for message in call.messages)
    usage = Usage(
        input_uncached=contents + tokens.frame_tokens(len(call.messages)),
        output_text=min(whole_tokens, cap),
    )
    return Completion(
        model=call.model,
        content=content if is_whole else tokens.cut(content, ENCODING, cap),
        finish_reason="stop" if is_whole else "length",
        usage=usage,
        raw_usage={"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
    )


def _last_said(messages: tuple[Message, ...]) -> str:
    said = (message.content for message in reversed(messages) if message.role == "user")
    return next(said, messages[-1].content if messages else "")
