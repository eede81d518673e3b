"""Google's embeddings through its SDK: a vector for each input, and exact usage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from aiohttp import web

from costs.core.usage import Usage
from gateway.core.calls import Completion, ProviderCall
from gateway.core.errors import Broken, Rejected
from tests.fake_provider.vendors import opened

MODEL: Final = "gemini-embedding-001"


@dataclass(slots=True)
class Embedder:
    """A fake of Google's embeddings: a text's length is its vector, its words are its tokens."""

    reports_usage: bool = False
    count_status: int = 200
    embed_statuses: list[int] = field(default_factory=list)
    loses: int = 0
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer either method."""
        method = request.path.rpartition(":")[2]
        body = await request.json()
        self.asked.append((request.path, body))
        if method == "countTokens":
            counted = {"totalTokens": _words(body["contents"])}
            return web.json_response(counted, status=self.count_status)
        if self.embed_statuses and (status := self.embed_statuses.pop(0)) != 200:
            return web.json_response({"error": {"message": "no"}}, status=status)
        contents = [each["content"] for each in body["requests"]]
        vectors = [{"values": [float(len(_text(content))), 0.5]} for content in contents]
        usage = {"usageMetadata": {"promptTokenCount": _words(contents)}}
        answer = {"embeddings": vectors[self.loses :], **(usage if self.reports_usage else {})}
        return web.json_response(answer)

    @property
    def methods(self) -> list[str]:
        return [path.rpartition(":")[2] for path, _ in self.asked]


def _text(content: dict[str, Any]) -> str:
    (part,) = content["parts"]
    return str(part["text"])


def _words(contents: list[dict[str, Any]]) -> int:
    return sum(len(_text(content).split()) for content in contents)


async def embedded(google: Embedder, *inputs: str, model: str = MODEL, **more: Any) -> Completion:
    async with _running(google) as base_url, opened("google", base_url) as provider:
        return await provider.complete(
            ProviderCall(model=model, inputs=inputs, timeout_s=5.0, **more)
        )


@asynccontextmanager
async def _running(google: Embedder) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.post("/{path:.*}", google.answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("model", [MODEL, "gemini-embedding-2"])
async def test_each_input_has_its_own_vector(model: str) -> None:
    google = Embedder()
    answer = await embedded(google, "Hi", "Good day to you", model=model, dimensions=2)
    assert answer.vectors == ((2.0, 0.5), (15.0, 0.5))
    path, body = google.asked[0]
    assert path == f"/v1beta/models/{model}:batchEmbedContents"
    assert [each["outputDimensionality"] for each in body["requests"]] == [2, 2]


async def test_googles_reported_usage_is_used() -> None:
    google = Embedder(reports_usage=True)
    answer = await embedded(google, "Good day to you")
    assert answer.usage == Usage(input_uncached=4)
    assert answer.raw_usage == {"promptTokenCount": 4}
    assert google.methods == ["batchEmbedContents"]


async def test_usage_that_google_does_not_report_is_counted() -> None:
    google = Embedder()
    answer = await embedded(google, "Good day to you", "Hi")
    assert answer.usage == Usage(input_uncached=5)
    assert google.methods == ["batchEmbedContents", "countTokens"]


async def test_failed_count_keeps_vectors_with_unknown_usage() -> None:
    answer = await embedded(Embedder(count_status=500), "Hi")
    assert answer.vectors == ((2.0, 0.5),)
    assert answer.usage is None


async def test_missing_vector_is_error() -> None:
    with pytest.raises(Broken):
        await embedded(Embedder(loses=1), "Hi", "Ho")


async def test_refusal_is_free() -> None:
    with pytest.raises(Rejected) as refused:
        await embedded(Embedder(embed_statuses=[400]), "Hi")
    assert refused.value.nothing_billed


async def test_inputs_above_googles_limit_are_sent_in_several_requests() -> None:
    google = Embedder(reports_usage=True)
    inputs = ["x" * size for size in range(1, 251)]
    answer = await embedded(google, *inputs)
    assert [vector[0] for vector in answer.vectors] == [float(size) for size in range(1, 251)]
    assert [len(body["requests"]) for _, body in google.asked] == [100, 100, 50]
    assert answer.usage == Usage(input_uncached=250)


async def test_refusal_of_later_part_has_unknown_outcome() -> None:
    google = Embedder(embed_statuses=[200, 429])
    with pytest.raises(Broken) as broken:
        await embedded(google, *("x" for _ in range(101)))
    assert not broken.value.nothing_billed
