"""Embeddings in the formats of OpenAI, Mistral and Google; equal texts have equal vectors."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import Any, Final

from tests.fake_provider.behaviour import Answer, ParsedRequest
from tests.fake_provider.formats.common import Format, plain_text, word_count

DIMENSIONS: Final = 8


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return numbers that are exact in 32 bits, so that both encodings give the same."""
    digest = hashlib.shake_256(text.encode()).digest(dimensions)
    return [(byte - 128) / 128 for byte in digest]


def _asked(body: Mapping[str, Any], _: str) -> ParsedRequest:
    given = body["input"]
    if isinstance(given, str):
        texts, words = [given], word_count([given])
    elif given and isinstance(given[0], int):
        texts, words = [str(given)], len(given)
    elif given and isinstance(given[0], list):
        texts, words = [str(tokens) for tokens in given], sum(len(tokens) for tokens in given)
    else:
        texts, words = list(given), word_count(given)
    return ParsedRequest(
        model=body["model"], words_in=words, last_text="", texts=tuple(texts), body=body
    )


def _openai_vector(answer: Answer, text: str) -> list[float] | str:
    numbers = vector(text, answer.asked.body.get("dimensions") or DIMENSIONS)
    if answer.asked.body.get("encoding_format") != "base64":
        return numbers
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _openai_plain(answer: Answer) -> dict[str, Any]:
    rows = [
        {"object": "embedding", "index": index, "embedding": _openai_vector(answer, text)}
        for index, text in enumerate(answer.asked.texts)
    ]
    body = {"object": "list", "data": rows, "model": answer.model}
    return body | _usage(answer)


def _usage(answer: Answer, **more: int) -> dict[str, Any]:
    if answer.behaviour.no_usage:
        return {}
    counted = {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens}
    return {"usage": dict(answer.behaviour.usage or counted | more)}


def _mistral_plain(answer: Answer) -> dict[str, Any]:
    rows = [
        {"object": "embedding", "embedding": vector(text), "index": index}
        for index, text in enumerate(answer.asked.texts)
    ]
    body = {"id": "fake", "object": "list", "data": rows, "model": answer.model}
    return body | _usage(answer, completion_tokens=0)


def _google_asked(
    requests: list[Mapping[str, Any]], body: Mapping[str, Any], path: str
) -> ParsedRequest:
    texts = tuple(plain_text(request["content"]["parts"]) for request in requests)
    model = path.rpartition("/")[2].partition(":")[0]
    return ParsedRequest(
        model=model, words_in=word_count(texts), last_text="", texts=texts, body=body
    )


def _google_one_asked(body: Mapping[str, Any], path: str) -> ParsedRequest:
    return _google_asked([body], body, path)


def _google_many_asked(body: Mapping[str, Any], path: str) -> ParsedRequest:
    return _google_asked(body["requests"], body, path)


def _google_one(answer: Answer) -> dict[str, Any]:
    return {"embedding": {"values": vector(answer.asked.texts[0])}} | _google_usage(answer)


def _google_many(answer: Answer) -> dict[str, Any]:
    rows = [{"values": vector(text)} for text in answer.asked.texts]
    return {"embeddings": rows} | _google_usage(answer)


def _google_usage(answer: Answer) -> dict[str, Any]:
    if answer.behaviour.no_usage:
        return {}
    counted = {"promptTokenCount": answer.input_tokens}
    return {"usageMetadata": dict(answer.behaviour.usage or counted)}


OPENAI_EMBEDDINGS = Format(_asked, _openai_plain, indent=2)
MISTRAL_EMBEDDINGS = Format(_asked, _mistral_plain)
GOOGLE_EMBED = Format(_google_one_asked, _google_one, indent=2)
GOOGLE_EMBED_MANY = Format(_google_many_asked, _google_many, indent=2)
