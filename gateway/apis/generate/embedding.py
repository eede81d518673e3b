"""Google's embedContent and batchEmbedContents, relayed to the same version.

https://ai.google.dev/api/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson

from gateway.apis import counting
from gateway.apis.arrival import Arrival, objects, others, refuse_elsewhere, text_of, whole
from gateway.apis.base import Speaker
from gateway.apis.body_rules import BodyRules
from gateway.apis.embeddings import google as embeddings
from gateway.apis.generate import errors as google_errors
from gateway.apis.generate.generate import COUNT, Address, check_query
from gateway.apis.generate.spelling import in_camel_case
from gateway.core.calls import Call, Completion, RelayRequest
from gateway.core.model_names import Model
from gateway.core.providers import GENERATE
from gateway.core.request_body import invalid, model_in
from gateway.core.usage_bound import OutputCap, UsageBound
from orgs.core.pseudonyms import Pseudonyms

EMBED: Final = "embedContent"
EMBED_BATCH: Final = "batchEmbedContents"
_REQUEST: Final = frozenset({"content", "model", "outputDimensionality", "taskType", "title"})
_NO_PROMPT: Final = _REQUEST - {"title"}
_CONTENT: Final = frozenset({"parts", "role"})
_RULES: Final = BodyRules()


class EmbedContents:
    """The Dialect of one of the two methods in one version."""

    key_headers: tuple[str, ...] = ("x-goog-api-key",)
    refusals = google_errors.REFUSALS
    error = staticmethod(google_errors.error)
    error_event = staticmethod(google_errors.error_event)

    def __init__(self, *, version: str, method: str) -> None:
        self.channel = method
        self._version = version

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        check_query(arrival.path)
        named = replace(arrival, named=model_in({"model": arrival.named}))
        body = EmbedContentsBody(named, self._version, is_batch=self.channel == EMBED_BATCH)
        return named.whole_call(body, _usage_bound_of(body))

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: every answer is the vendor's own."""
        raise AssertionError("embeddings of contents are relayed")


@dataclass(frozen=True, slots=True)
class EmbedContentsBody:
    """The body of a request for one embedding, or for several."""

    arrival: Arrival
    version: str
    is_batch: bool

    def requests(self) -> list[dict[str, Any]]:
        """Return the single requests, with their fields in one spelling. Raises Refused."""
        fields = self.arrival.fields
        single = objects(fields, "requests") if self.is_batch else [fields]
        if not single:
            raise invalid("requests must be a non-empty list of objects")
        for each in single:
            refuse_elsewhere(each)
        return [in_camel_case(each, _REQUEST) for each in single]

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay to Google only, to models that make embeddings."""
        if not model.makes_embeddings:
            raise invalid(
                f"Model {model.id} is not available at {self._method}; "
                "use a model that makes embeddings"
            )
        requests = self.requests()
        return RelayRequest(
            dialect=GENERATE,
            path=Address(self.version, self._method, instead="/v1/embeddings").path(model),
            body=orjson.dumps(self._sent(model, requests)),
            output=None,
            headers={"content-type": "application/json"},
            whole=lambda body: self._completion(body, model, len(requests)),
            reading=counting.not_streamed,
            streamed_as=frozenset(),
            count=self._count(model, requests),
        )

    def canonical(self) -> object:
        """Return the texts, as `/v1/embeddings` has them; contents of several parts as they are."""
        contents = [each["content"] for each in self.requests()]
        return [texts[0] if len(texts := _texts(each)) == 1 else each for each in contents]

    @property
    def _method(self) -> str:
        return EMBED_BATCH if self.is_batch else EMBED

    def _sent(self, model: Model, requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        # The path names the model, and each request of a batch must name the same.
        named = [{**each, "model": f"models/{model.sent_name}"} for each in requests]
        return {**self.arrival.fields, "requests": named} if self.is_batch else named[0]

    def _completion(self, body: bytes, model: Model, inputs: int) -> Completion:
        report = orjson.loads(body)
        if not self.is_batch and isinstance(report, dict) and "embedding" in report:
            report = {**report, "embeddings": [report["embedding"]]}
        return embeddings.completion_from(report, model=model.id, inputs=inputs)

    def _count(self, model: Model, requests: Sequence[Mapping[str, Any]]) -> RelayRequest:
        """Return the free request that counts the input, which is what is billed."""
        contents = [{"role": "user", **each["content"]} for each in requests]
        return RelayRequest(
            dialect=GENERATE,
            path=Address(self.version, COUNT).path(model),
            body=orjson.dumps({"contents": contents}),
            output=None,
            headers={"content-type": "application/json"},
            whole=lambda body: Completion(
                model=model.id,
                finish_reason=None,
                usage=embeddings.usage_counted(orjson.loads(body)),
            ),
            reading=counting.not_streamed,
        )


def _usage_bound_of(body: EmbedContentsBody) -> UsageBound:
    """Return the usage bound of a body. Raises Refused, which names the field."""
    requests = body.requests()
    texts: list[str] = []
    for index, each in enumerate(requests):
        where = f"requests[{index}]." if body.is_batch else ""
        texts += _checked_texts(each.get("content"), f"{where}content")
        texts += others(each, _NO_PROMPT)
        whole(each, "outputDimensionality")
    if body.is_batch:
        texts += others(body.arrival.fields, {"requests", "model"})
    return UsageBound(
        texts=tuple(texts),
        messages=len(requests),
        buckets=_RULES.buckets_of(body.arrival.fields),
        output=None,
    )


def _checked_texts(content: object, where: str) -> list[str]:
    """Return what is counted of a content: it must be text, since nothing else has a price."""
    if not isinstance(content, dict):
        raise invalid(f"{where} must be an object with parts")
    parts = _parts(content)
    if not parts or not all(isinstance(part, dict) and part.keys() == {"text"} for part in parts):
        raise invalid(f"{where}.parts must be parts of text")
    return [*(text_of(part["text"]) for part in parts), *others(content, _CONTENT)]


def _texts(content: Mapping[str, Any]) -> list[str]:
    return [text_of(part["text"]) for part in _parts(content)]


def _parts(content: Mapping[str, Any]) -> list[Any]:
    """Return the parts; Google also accepts the only one alone."""
    parts = content.get("parts")
    return parts if isinstance(parts, list) else [parts]
