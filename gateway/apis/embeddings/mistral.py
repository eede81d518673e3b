"""Fit a request for embeddings to Mistral, which refuses every field that it does not know.

https://docs.mistral.ai/api/endpoint/embeddings
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.apis.embeddings.tokens import ADJUSTED, TextOf, texts_of
from gateway.apis.families.changes import BodyChanges
from gateway.core.request_body import invalid

# Its models have vectors of any length but the first one's:
# https://github.com/garrytan/gbrain/pull/3001
_FIXED: Final = "mistral-embed"
_FIXED_DIMENSIONS: Final = 1024


def fit(changes: BodyChanges, inputs: Sequence[str | list[int]], text_of: TextOf) -> int:
    """Change the body so that it is accepted.

    Returns how many more tokens its texts can be than were counted. Raises Refused.
    """
    body = changes.body
    for name in [name for name, value in body.items() if value is None]:
        del body[name]
    changes.omit("user")
    _fit_dimensions(changes)
    found = texts_of(inputs, text_of)
    if found is None:
        return 0
    texts, more_tokens = found
    changes.put(ADJUSTED, input=[*texts])
    return more_tokens


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
