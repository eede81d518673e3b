"""`POST /v1/embeddings`: relayed to OpenAI and Mistral, called through the SDK for Google.

https://developers.openai.com/api/reference/resources/embeddings
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn
from uuid import UUID

import orjson

from gateway.apis import openai_errors
from gateway.apis.arrival import (
    Arrival,
    not_served,
    others,
    refuse_elsewhere,
    tier_in,
    whole,
)
from gateway.apis.body_rules import BodyRules
from gateway.apis.embeddings import answer as embeddings
from gateway.apis.embeddings import mistral
from gateway.apis.embeddings.tokens import ADJUSTED, TextOf, texts_of
from gateway.apis.families import naming
from gateway.apis.families.changes import BodyChanges
from gateway.core.calls import (
    Call,
    CallResult,
    Completion,
    Delta,
    Hide,
    Outgoing,
    ProviderCall,
    RelayRequest,
)
from gateway.core.model_names import Model
from gateway.core.providers import COMPATIBLE, EMBEDDINGS, GOOGLE, MISTRAL
from gateway.core.request_body import TOKENS_MAX, invalid
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import OutputCap, UsageBound
from orgs.core.pseudonyms import Pseudonyms

PATH: Final = "/v1/embeddings"
INPUTS_MAX: Final = 2048
ENCODINGS: Final = ("float", "base64")
_NO_TEXT: Final = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
RULES: Final = BodyRules(own=("input", "metadata"))
_NOT_TEXT: Final = (
    "input must be a non-empty string, a list of strings, a list of tokens or a list of token lists"
)

Tokens = list[int]


class Embeddings:
    """The Dialect of embeddings."""

    channel = "embeddings"
    key_headers: tuple[str, ...] = ()
    refusals = openai_errors.REFUSALS
    error = staticmethod(openai_errors.error)
    error_event = staticmethod(openai_errors.error_event)

    def __init__(self, *, text_of: TextOf) -> None:
        self._text_of = text_of

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        refuse_elsewhere(arrival.fields)
        usage_bound = usage_bound_of(arrival.fields)
        call = arrival.whole_call(EmbeddingsBody(arrival, self._text_of), usage_bound)
        # The first use of an encoding loads it, which takes long.
        return replace(call, is_large=True) if usage_bound.overhead_tokens else call

    def speaker(self, call: Call, request_id: UUID) -> EmbeddingsSpeaker:
        """Return the formatter of a translated answer."""
        body = call.body
        fields = body.arrival.fields if isinstance(body, EmbeddingsBody) else {}
        return EmbeddingsSpeaker(in_base64=fields.get("encoding_format") == "base64")


def usage_bound_of(fields: Mapping[str, Any]) -> UsageBound:
    """Return the usage bound of an embeddings request. Raises Refused, which names the field."""
    inputs = inputs_of(fields)
    whole(fields, "dimensions")
    if fields.get("encoding_format") not in (None, *ENCODINGS):
        raise invalid(f"encoding_format must be one of {', '.join(ENCODINGS)}")
    texts = [given for given in inputs if isinstance(given, str)]
    return UsageBound(
        texts=(*texts, *others(fields, _NO_TEXT)),
        messages=len(inputs),
        overhead_tokens=sum(len(given) for given in inputs if not isinstance(given, str)),
        buckets=RULES.buckets_of(fields),
        service_tier=tier_in(fields),
        output=None,
    )


def inputs_of(fields: Mapping[str, Any]) -> list[str] | list[Tokens]:
    """Return the inputs: texts, or texts as their tokens. Raises Refused."""
    given = fields.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and _is_token(given[0])):
        given = [given]
    if not isinstance(given, list) or not given:
        raise invalid(_NOT_TEXT)
    if len(given) > INPUTS_MAX:
        raise invalid(f"input must have at most {INPUTS_MAX} entries")
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
    text_of: TextOf

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> Outgoing:
        """Relay to providers with this API; use the SDK for Google.

        Raises Refused for models that make no embeddings.
        """
        provider = model.served_by
        # Of a compatible server's models, no name says what they make.
        is_of_kind = model.makes_embeddings or provider.family == COMPATIBLE
        if EMBEDDINGS not in provider.dialects or not is_of_kind:
            raise not_served(model.id, PATH, "a model that makes embeddings")
        if provider.family == GOOGLE:
            return self._call(model, timeout_s)
        changes = BodyChanges({**self.arrival.fields, "model": model.sent_name})
        more_tokens = 0
        if provider.family == MISTRAL:
            more_tokens = mistral.fit(changes, inputs_of(changes.body), self.text_of)
        else:
            changes.body |= naming.for_openai_embeddings(changes.body, names)
        changes.drop(provider.dropped)
        return RelayRequest(
            dialect=EMBEDDINGS,
            path="/embeddings",
            body=orjson.dumps(changes.body),
            output=None,
            headers={"content-type": "application/json"},
            whole=lambda body: _whole(body, model),
            reading=_no_stream,
            streamed_as=frozenset(),
            adjustments=changes.adjustments,
            more_input_tokens=more_tokens,
        )

    def canonical(self) -> object:
        """Return the inputs."""
        return inputs_of(self.arrival.fields)

    def _call(self, model: Model, timeout_s: float) -> ProviderCall:
        inputs = inputs_of(self.arrival.fields)
        found = texts_of(inputs, self.text_of)
        texts, more_tokens = found or (tuple(map(str, inputs)), 0)
        return ProviderCall(
            model=model.id,
            sent_model=model.sent_name,
            inputs=texts,
            dimensions=whole(self.arrival.fields, "dimensions"),
            timeout_s=timeout_s,
            more_input_tokens=more_tokens,
            adjustments=(ADJUSTED,) if found else (),
        )


class EmbeddingsSpeaker:
    """Format the vectors of a vendor that was called through its SDK."""

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
        """Never called: embeddings are not streamed."""
        raise AssertionError("embeddings are not streamed")

    def last(self, answer: CallResult) -> bytes:
        """Never called: embeddings are not streamed."""
        raise AssertionError("embeddings are not streamed")

    def _encoded(self, vector: tuple[float, ...]) -> list[float] | str:
        """Return a vector as numbers, or as base64 of 32-bit little-endian floats."""
        if not self._in_base64:
            return list(vector)
        numbers = array("f", vector)
        if sys.byteorder == "big":
            numbers.byteswap()
        return base64.b64encode(numbers.tobytes()).decode()


def _whole(body: bytes, model: Model) -> Completion:
    return embeddings.completion_from(orjson.loads(body), model=model.id)


def _no_stream(_hide: Hide, _seen: SeenOutput) -> NoReturn:
    raise AssertionError("embeddings are not streamed")
