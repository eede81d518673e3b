"""Fit a request for embeddings to Mistral, which refuses every field that it does not know.

https://docs.mistral.ai/api/endpoint/embeddings
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.apis.families.changes import BodyChanges
from gateway.core.bounds import text_bytes
from gateway.core.request_body import invalid
from gateway.core.usage_bound import UsageBound

# Its models have vectors of any length but the first one's:
# https://github.com/garrytan/gbrain/pull/3001
_FIXED: Final = "mistral-embed"
_FIXED_DIMENSIONS: Final = 1024


def fit(
    changes: BodyChanges,
    inputs: Sequence[str | list[int]],
    text_of: Callable[[Sequence[int]], str],
) -> int:
    """Change the body so that it is accepted.

    Returns how many more tokens its texts can be than were counted: a token of OpenAI's is one
    there, and may be as many as its bytes for another tokenizer. Raises Refused.
    """
    body = changes.body
    for name in [name for name, value in body.items() if value is None]:
        del body[name]
    changes.omit("user")
    _fit_dimensions(changes)
    tokens = [each for each in inputs if not isinstance(each, str)]
    if not tokens:
        return 0
    texts = [_text(each, text_of) for each in tokens]
    changes.put("tokens are sent as the text that they are", input=texts)
    return max(0, text_bytes(UsageBound(texts=tuple(texts))) - sum(map(len, tokens)))


def _fit_dimensions(changes: BodyChanges) -> None:
    """Send the length of vectors under Mistral's name of it."""
    body = changes.body
    if "dimensions" not in body:
        return
    given = body.pop("dimensions")
    if body["model"].startswith(_FIXED):
        if given != _FIXED_DIMENSIONS:
            raise invalid(f"dimensions must be {_FIXED_DIMENSIONS} for {body['model']}")
        changes.report("dimensions is omitted: the model has no others")
    else:
        body.setdefault("output_dimension", given)


def _text(tokens: Sequence[int], text_of: Callable[[Sequence[int]], str]) -> str:
    try:
        return text_of(tokens)
    except KeyError as exc:
        raise invalid("input must have tokens of the encoding cl100k_base only") from exc
