"""`POST /v1/embeddings`: relayed to OpenAI and Mistral, asked of Google through its SDK.

https://developers.openai.com/api/reference/resources/embeddings
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from gateway.apis import openai_errors
from gateway.apis.arrival import (
    Arrival,
    dumped,
    not_served,
    others,
    refuse_elsewhere,
    tier_in,
    whole,
)
from gateway.apis.embeddings import answer as embeddings
from gateway.core.calls import Call, Completion, Delta, Outgoing, ProviderCall, RelayRequest
from gateway.core.model_names import Model
from gateway.core.request_body import TOKENS_MAX, invalid
from gateway.core.results import CallResult
from gateway.core.usage_bound import OutputCap, UsageBound

PATH: Final = "/v1/embeddings"
INPUTS_MAX: Final = 2048
ENCODINGS: Final = ("float", "base64")
_RELAYED: Final = frozenset({"openai", "mistral"})
_ASKED: Final = frozenset({"google"})
# The name by which Mistral knows the length of a vector, as a client of OpenAI's does not.
_DIMENSIONS_AT: Final = {"mistral": "output_dimension"}
_NO_TEXT: Final = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_NOT_TEXT: Final = "input is a non-empty string, a list of such, a list of tokens or a list of such"

Tokens = list[int]


class Embeddings:
    """The Dialect of embeddings."""

    channel = "embeddings"
    key_headers: tuple[str, ...] = ()
    error = staticmethod(openai_errors.error)
    error_event = staticmethod(openai_errors.error_event)

    def read(self, arrival: Arrival) -> Call:
        """Return the Call that a body asks for."""
        refuse_elsewhere(arrival.fields)
        return arrival.whole_call(EmbeddingsBody(arrival), usage_bound_of(arrival.fields))

    def speaker(self, call: Call, request_id: UUID) -> EmbeddingsSpeaker:
        """Return what words a translated answer."""
        body = call.body
        asked = body.arrival.fields if isinstance(body, EmbeddingsBody) else {}
        return EmbeddingsSpeaker(in_base64=asked.get("encoding_format") == "base64")


def usage_bound_of(fields: Mapping[str, Any]) -> UsageBound:
    """Return the measure of a request for embeddings. Raises Refused, which names the field."""
    inputs = inputs_of(fields)
    whole(fields, "dimensions")
    if fields.get("encoding_format") not in (None, *ENCODINGS):
        raise invalid(f"encoding_format is one of {', '.join(ENCODINGS)}")
    texts = [given for given in inputs if isinstance(given, str)]
    return UsageBound(
        texts=(*texts, *others(fields, _NO_TEXT)),
        messages=len(inputs),
        overhead_tokens=sum(len(given) for given in inputs if not isinstance(given, str)),
        service_tier=tier_in(fields),
        has_output=False,
    )


def inputs_of(fields: Mapping[str, Any]) -> list[str] | list[Tokens]:
    """Return what is to be embedded: texts, or texts as their tokens. Raises Refused."""
    given = fields.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and _is_token(given[0])):
        given = [given]
    if not isinstance(given, list) or not given:
        raise invalid(_NOT_TEXT)
    if len(given) > INPUTS_MAX:
        raise invalid(f"input has at most {INPUTS_MAX} entries")
    if not (all(_is_text(each) for each in given) or all(_is_tokens(each) for each in given)):
        raise invalid(_NOT_TEXT)
    return given


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_token(each) for each in value)


def _is_token(value: object) -> bool:
    return type(value) is int and 0 <= value <= TOKENS_MAX


@dataclass(frozen=True, slots=True)
class EmbeddingsBody:
    """The body of a request for embeddings."""

    arrival: Arrival

    def outgoing(self, model: Model, cap: OutputCap, *, timeout_s: float) -> Outgoing:
        """Go out as bytes to who speaks this API, through its SDK to Google.

        Raises Refused for models that make no embeddings.
        """
        if model.provider not in _RELAYED | _ASKED or not model.makes_embeddings:
            raise not_served(model.id, PATH, "a model that makes embeddings")
        if model.provider != "openai" and self._texts() is None:
            raise invalid(f"Tokens are not taken for {model.id}; send the text")
        if model.provider in _ASKED:
            return ProviderCall(
                model=model.id,
                inputs=self._texts() or (),
                dimensions=whole(self.arrival.fields, "dimensions"),
                timeout_s=timeout_s,
            )
        return RelayRequest(
            path="/embeddings",
            body=dumped(self._sent(model)),
            headers={"content-type": "application/json"},
            whole=lambda body: _whole(body, model),
            reading=_no_stream,
            streamed_as=frozenset(),
        )

    def canonical(self) -> object:
        """Return what is to be embedded."""
        return inputs_of(self.arrival.fields)

    def identity(self) -> object:
        """Return the body as it came, with who it is counted for."""
        return self.arrival.identity()

    def _texts(self) -> tuple[str, ...] | None:
        """Return the texts, or None where tokens were sent."""
        texts = tuple(each for each in inputs_of(self.arrival.fields) if isinstance(each, str))
        return texts or None

    def _sent(self, model: Model) -> dict[str, Any]:
        sent = {**self.arrival.fields, "model": model.id}
        name = _DIMENSIONS_AT.get(model.provider)
        if name is not None and "dimensions" in sent:
            sent.setdefault(name, sent.pop("dimensions"))
        return sent


class EmbeddingsSpeaker:
    """Words the vectors of a vendor that was asked through its SDK."""

    def __init__(self, *, in_base64: bool) -> None:
        self._in_base64 = in_base64

    def whole(self, answer: CallResult) -> dict[str, Any]:
        """Return a list of embeddings."""
        tokens = answer.input_tokens or 0
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": self._encoded(vector)}
                for index, vector in enumerate(answer.completion.vectors)
            ],
            "model": answer.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def piece(self, delta: Delta) -> bytes:
        """Never say a piece."""
        raise AssertionError("embeddings come whole")

    def last(self, answer: CallResult) -> bytes:
        """Never end a stream."""
        raise AssertionError("embeddings come whole")

    def _encoded(self, vector: tuple[float, ...]) -> list[float] | str:
        """Return a vector as numbers, or as the bytes of 32-bit little-endian ones in base64."""
        if not self._in_base64:
            return list(vector)
        numbers = array("f", vector)
        if sys.byteorder == "big":
            numbers.byteswap()
        return base64.b64encode(numbers.tobytes()).decode()


def _whole(body: bytes, model: Model) -> Completion:
    return embeddings.completion_from(orjson.loads(body), model=model.id)


def _no_stream() -> Any:
    raise AssertionError("embeddings come whole")
