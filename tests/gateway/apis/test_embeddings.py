"""Embeddings: bound, refusals, the request that is sent, and the vectors that are returned."""

from __future__ import annotations

import base64
import json
import struct
from decimal import Decimal
from typing import Any

import pytest

from costs.core.usage import Usage
from gateway.apis.embeddings.embeddings import INPUTS_MAX, Embeddings
from gateway.core.calls import CallResult, Completion, ProviderCall
from gateway.core.errors import Refused
from gateway.core.usage_bound import OutputCap, UsageBound
from gateway.providers.tokens import text_of
from gateway.upstream.untrusted_json import ErrorAnswer
from orgs.fields import new_id
from tests.gateway.arrivals import NAMES, TIMEOUT_S, body_of, model, read, refusal, sent

DIALECT = Embeddings(text_of=text_of)
SMALL = model("text-embedding-3-small")
MISTRAL = model("mistral-embed")
CODESTRAL = model("codestral-embed")
GOOGLE = model("gemini-embedding-001")
ASKED: dict[str, Any] = {"model": "my-alias", "input": ["one", "two"]}
NO_CAP = OutputCap(0, is_written=False)


def measured(**changes: Any) -> UsageBound:
    return read(DIALECT, ASKED | changes).usage_bound


def asked_of_google(**changes: Any) -> ProviderCall:
    call = read(DIALECT, ASKED | changes).body.outgoing(
        GOOGLE, NO_CAP, timeout_s=TIMEOUT_S, names=NAMES
    )
    assert isinstance(call, ProviderCall)
    return call


# --- what it is measured at -------------------------------------------------------------------


def test_texts_are_measured_and_there_is_no_output() -> None:
    usage_bound = measured()
    assert usage_bound == UsageBound(texts=("one", "two"), messages=2, output=None)
    assert measured(input="one").texts == ("one",)


@pytest.mark.parametrize(("given", "tokens"), [([1, 2, 3], 3), ([[1, 2], [3]], 3)])
def test_each_input_token_counts_as_one(given: Any, tokens: int) -> None:
    usage_bound = measured(input=given)
    assert (usage_bound.texts, usage_bound.overhead_tokens) == ((), tokens)


def test_unknown_field_is_counted_and_forwarded() -> None:
    assert measured(unheard_of="three").texts == ("one", "two", "three")
    body = body_of(sent(read(DIALECT, ASKED | {"unheard_of": "three"}), SMALL))
    assert body == ASKED | {"unheard_of": "three", "model": SMALL.id, "user": NAMES.user()}


def test_embeddings_are_never_streamed() -> None:
    assert not read(DIALECT, ASKED | {"stream": True}).stream


@pytest.mark.parametrize(
    "given",
    [
        *("", None, [], [""], ["one", 2], [1, "two"], [[]], [[1], "two"], [-1], [True], [1.5]),
        *(5, {}, ["x"] * (INPUTS_MAX + 1)),
    ],
    ids=lambda given: repr(given)[:20],
)
def test_invalid_input_is_refused(given: Any) -> None:
    assert "input" in refusal(DIALECT, ASKED | {"input": given})


def test_maximum_number_of_inputs_is_accepted() -> None:
    assert measured(input=["x"] * INPUTS_MAX).messages == INPUTS_MAX


@pytest.mark.parametrize(
    ("name", "value"),
    [("dimensions", 0), ("dimensions", "8"), ("encoding_format", "hex"), ("api_base", "https://x")],
)
def test_field_of_wrong_type_is_named(name: str, value: Any) -> None:
    assert name in refusal(DIALECT, ASKED | {name: value})


# --- what goes out ----------------------------------------------------------------------------


def test_openai_gets_body_with_name_of_user() -> None:
    asked = {"model": "x", "input": [[1, 2]], "encoding_format": "base64", "dimensions": 8}
    request = sent(read(DIALECT, asked), SMALL)
    assert request.path == "/embeddings"
    assert body_of(request) == asked | {"model": "text-embedding-3-small", "user": NAMES.user()}


def test_mistral_gets_dimensions_under_its_own_name() -> None:
    body = body_of(sent(read(DIALECT, ASKED | {"dimensions": 8}), CODESTRAL))
    assert body == ASKED | {"model": "codestral-embed", "output_dimension": 8}


def test_mistral_gets_no_field_that_it_refuses() -> None:
    """https://docs.mistral.ai/api/endpoint/embeddings (`additionalProperties: false`)"""
    given = {"user": "ann", "encoding_format": None, "dimensions": None}
    request = sent(read(DIALECT, ASKED | given), MISTRAL)
    assert body_of(request) == ASKED | {"model": "mistral-embed"}
    assert request.adjustments == ("user is omitted",)


def test_only_dimensions_of_first_mistral_model_are_accepted() -> None:
    """https://github.com/garrytan/gbrain/pull/3001"""
    request = sent(read(DIALECT, ASKED | {"dimensions": 1024}), MISTRAL)
    assert body_of(request) == ASKED | {"model": "mistral-embed"}
    with pytest.raises(Refused, match="dimensions must be 1024 for mistral-embed"):
        sent(read(DIALECT, ASKED | {"dimensions": 1023}), MISTRAL)


@pytest.mark.parametrize(
    ("tokens", "texts"),
    [
        ([15339, 1917], ["hello world"]),
        ([[15339], [1917, 0]], ["hello", " world!"]),
        ([[9468, 239]], ["\ufffd"]),  # a client cut a text within a character
    ],
)
def test_mistral_gets_text_of_tokens(tokens: Any, texts: list[str]) -> None:
    """Clients such as LangChain's send tokens: https://github.com/langchain-ai/langchain/issues/12854"""
    call = read(DIALECT, {"model": "x", "input": tokens})
    request = sent(call, MISTRAL)
    assert body_of(request)["input"] == texts
    assert request.adjustments == ("tokens are sent as the text that they are",)
    # Another tokenizer may make a token of each byte.
    bound = call.usage_bound.overhead_tokens + request.more_input_tokens
    assert bound >= sum(len(text.encode()) for text in texts)
    assert call.is_large  # the encoding may have to be loaded


def test_unknown_token_is_refused_for_mistral() -> None:
    with pytest.raises(Refused, match="input must have tokens of the encoding cl100k_base only"):
        sent(read(DIALECT, {"model": "x", "input": [100_000_000]}), MISTRAL)


def test_google_is_called_through_its_sdk() -> None:
    call = asked_of_google(dimensions=8)
    assert (call.model, call.inputs, call.dimensions) == (GOOGLE.id, ("one", "two"), 8)
    assert (call.messages, call.max_output_tokens) == ((), None)


@pytest.mark.parametrize(
    ("tokens", "texts"), [([15339, 1917], ("hello world",)), ([[15339], [0]], ("hello", "!"))]
)
def test_google_gets_text_of_tokens(tokens: Any, texts: tuple[str, ...]) -> None:
    """Clients such as LangChain's send tokens: https://github.com/langchain-ai/langchain/issues/12854"""
    call = read(DIALECT, {"model": "x", "input": tokens})
    made = call.body.outgoing(GOOGLE, NO_CAP, timeout_s=TIMEOUT_S, names=NAMES)
    assert isinstance(made, ProviderCall)
    assert made.inputs == texts
    assert made.adjustments == ("tokens are sent as the text that they are",)
    # Another tokenizer may make a token of each byte.
    bound = call.usage_bound.overhead_tokens + made.more_input_tokens
    assert bound >= sum(len(text.encode()) for text in texts)


def test_unknown_token_is_refused_for_google() -> None:
    call = read(DIALECT, {"model": "x", "input": [100_000_000]})
    with pytest.raises(Refused, match="input must have tokens of the encoding cl100k_base only"):
        call.body.outgoing(GOOGLE, NO_CAP, timeout_s=TIMEOUT_S, names=NAMES)


@pytest.mark.parametrize("name", ["gpt-4o-mini", "gemini-2.5-flash", "claude-opus-4-6"])
def test_model_without_embeddings_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="not available at /v1/embeddings") as refused:
        read(DIALECT, ASKED).body.outgoing(model(name), NO_CAP, timeout_s=TIMEOUT_S, names=NAMES)
    assert refused.value.status == 400


# --- what comes back --------------------------------------------------------------------------


def whole(body: Any) -> Completion:
    return sent(read(DIALECT, ASKED), SMALL).whole(json.dumps(body).encode())


@pytest.mark.parametrize("more", [{}, {"completion_tokens": 0}], ids=["openai", "mistral"])
def test_usage_is_only_input(more: dict[str, int]) -> None:
    usage = {"prompt_tokens": 7, "total_tokens": 7, **more}
    completion = whole({"object": "list", "data": [], "model": "m", "usage": usage})
    assert completion.usage == Usage(input_uncached=7, reported_total=7)
    assert (completion.model, completion.raw_usage) == ("m", usage)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1}, {"prompt_tokens": "7"}])
def test_invalid_usage_report_is_none(usage: Any) -> None:
    assert whole({"object": "list", "usage": usage}).usage is None


def test_error_with_success_status_is_error() -> None:
    with pytest.raises(ErrorAnswer):
        whole({"object": "error", "message": "no"})


def worded(**changes: Any) -> Any:
    vectors = ((0.5, -1.0), (0.25, 2.0))
    answer = CallResult(
        request_id=new_id(),
        provider="google",
        model=GOOGLE.id,
        completion=Completion(model=GOOGLE.id, finish_reason=None, usage=None, vectors=vectors),
        input_tokens=7,
        output_tokens=0,
        cost_eur=Decimal(0),
        latency_ms=1,
    )
    return DIALECT.speaker(read(DIALECT, ASKED | changes), answer.request_id).whole(answer)


def test_vectors_are_returned_in_openais_format() -> None:
    body = worded()
    assert [each["embedding"] for each in body["data"]] == [[0.5, -1.0], [0.25, 2.0]]
    assert [(each["object"], each["index"]) for each in body["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]
    assert (body["object"], body["model"]) == ("list", GOOGLE.id)
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_vectors_are_base64_if_requested() -> None:
    packed = [each["embedding"] for each in worded(encoding_format="base64")["data"]]
    assert [struct.unpack("<2f", base64.b64decode(each)) for each in packed] == [
        (0.5, -1.0),
        (0.25, 2.0),
    ]
