"""Texts in place of tokens, for vendors that do not take another vendor's tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.core.bounds import text_bytes
from gateway.core.request_body import invalid
from gateway.core.usage_bound import UsageBound

# Returns the text of tokens of the encoding of OpenAI's models. Raises KeyError for an unknown one.
TextOf = Callable[[Sequence[int]], str]

ADJUSTED: Final = "tokens are sent as the text that they are"


def texts_of(
    inputs: Sequence[str | list[int]], text_of: TextOf
) -> tuple[tuple[str, ...], int] | None:
    """Return the texts of inputs that are tokens, or None if they are texts themselves.

    The number is how many more tokens they can be than were counted: a token of OpenAI's is one
    there, and may be as many as its bytes for another tokenizer. Raises Refused.
    """
    tokens = [each for each in inputs if not isinstance(each, str)]
    if not tokens:
        return None
    try:
        texts = tuple(text_of(each) for each in tokens)
    except KeyError as exc:
        raise invalid("input must have tokens of the encoding cl100k_base only") from exc
    return texts, max(0, text_bytes(UsageBound(texts=texts)) - sum(map(len, tokens)))
