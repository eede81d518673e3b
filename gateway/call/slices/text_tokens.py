"""Count text of an answer that is not complete."""

from __future__ import annotations

from dataclasses import replace

from gateway.call.stages import BoundedCall
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import UsageBound
from gateway.providers.tokens import count_tokens_async


async def text_tokens(bounded: BoundedCall, seen: SeenOutput, text: bytes | bytearray) -> int:
    """Return the tokens of text of the answer to a call, with the margin of its tokenizer."""
    texts = (text.decode(errors="replace"),)
    caller, model = bounded.requested.organization.id, bounded.resolved.model
    if seen.is_counted:  # the provider's own count needs no margin
        model = replace(model, token_margin=1.0)
    return await count_tokens_async(UsageBound(texts=texts), model, caller=caller)
