"""Google's embedContent and batchEmbedContents: bytes, usage, charges, limits, refusals."""

from __future__ import annotations

from typing import Any, Final

import pytest

from costs.models import Hold
from orgs.models import Organization
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking

pytestmark = pytest.mark.django_db(transaction=True)

MODEL: Final = "gemini-embedding-001"
ONE: Final = f"/v1beta/models/{MODEL}:embedContent"
MANY: Final = f"/v1/models/{MODEL}:batchEmbedContents"
WORDS: Final = "Say hello to everyone"


def content(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}]}


SINGLE: Final = {"content": content(WORDS), "task_type": "RETRIEVAL_QUERY"}
BATCH: Final = {"requests": [{"content": content(WORDS)}, {"content": content("Bye")}]}


@pytest.fixture(autouse=True)
def _priced(prices: object) -> None:
    # 100 nano-euro a token, at 1.10 USD per EUR.
    RateFactory.create(
        provider="google", model=MODEL, input_usd_per_mtok="0.11", output_usd_per_mtok="0"
    )


@pytest.mark.parametrize(
    ("path", "body", "field", "tokens"),
    [(ONE, SINGLE, "embedding", 4), (MANY, BATCH, "embeddings", 5)],
    ids=["one", "many"],
)
@pytest.mark.parametrize("reports", [True, False], ids=["reported", "counted"])
def test_embeddings_are_relayed_and_charged_by_report_or_count(  # noqa: PLR0913
    ask: Asking,
    vendors: FakeProvider,
    path: str,
    body: dict[str, Any],
    field: str,
    tokens: int,
    reports: bool,
) -> None:
    vendors.answers(no_usage=not reports)
    reply = ask(body, path=path)
    row = row_of(reply)
    assert reply.status == 200, reply.body
    assert field in reply.json
    assert (row.status, row.channel) == ("ok", path.rpartition(":")[2])
    assert (row.input_tokens, row.output_tokens, row.cost_nanoeur) == (tokens, 0, tokens * 100)
    count = f"{path.rpartition(':')[0]}:countTokens"
    sent = [call.path.removeprefix("/google") for call in vendors.calls]
    assert sent == ([path] if reports else [path, count])


def test_model_in_body_is_that_of_path(ask: Asking, vendors: FakeProvider) -> None:
    other = {"model": "models/gemini-2.5-pro"}
    assert ask(SINGLE | other, path=ONE).status == 200
    assert ask({"requests": [SINGLE | other, SINGLE]}, path=MANY).status == 200
    one, many = (call.body for call in vendors.calls)
    assert one["model"] == f"models/{MODEL}"
    assert one["taskType"] == "RETRIEVAL_QUERY"
    assert [each["model"] for each in many["requests"]] == [f"models/{MODEL}"] * 2


def test_same_text_has_same_hash_as_in_openais_format(ask: Asking, vendors: FakeProvider) -> None:
    replies = [
        ask(SINGLE, path=ONE),
        ask({"requests": [SINGLE]}, path=MANY),
        ask({"model": MODEL, "input": [WORDS]}, path="/v1/embeddings"),
    ]
    assert [reply.status for reply in replies] == [200] * 3
    assert len({row_of(reply).prompt_hash for reply in replies}) == 1


def test_usage_that_cannot_be_counted_is_charged_at_hold(
    ask: Asking, vendors: FakeProvider
) -> None:
    vendors.answers(no_usage=True)
    vendors.answers(status=503)
    reply = ask(SINGLE, path=ONE)
    row = row_of(reply)
    hold = Hold.objects.get(request_id=row.id)
    assert reply.status == 200
    assert row.input_tokens is None
    assert row.cost_nanoeur == hold.amount_nanoeur > 0


@pytest.mark.parametrize("path", [ONE, MANY])
def test_title_and_unknown_fields_are_held(
    ask: Asking, vendors: FakeProvider, acme: Organization, path: str
) -> None:
    PolicyFactory.create(org=acme, max_tokens_per_request=60)
    for more, status in (({}, 200), ({"title": "word " * 60}, 400), ({"new": "word " * 60}, 400)):
        each = SINGLE | more
        reply = ask(each if path is ONE else {"requests": [each]}, path=path)
        assert reply.status == status, reply.body
    assert reply.headers["x-pulse-error-code"] == "token_limit"


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (ONE, {}, "content"),
        (ONE, {"content": {"parts": []}}, "content.parts"),
        (ONE, {"content": {"parts": [{"inlineData": {"data": "eA=="}}]}}, "content.parts"),
        (ONE, {"content": "text"}, "content"),
        (ONE, SINGLE | {"outputDimensionality": "x"}, "outputDimensionality"),
        (ONE, SINGLE | {"taskType": "RETRIEVAL_QUERY"}, "taskType"),
        (ONE, SINGLE | {"base_url": "http://x"}, "base_url"),
        (MANY, {}, "requests"),
        (MANY, {"requests": []}, "requests"),
        (MANY, {"requests": "x"}, "requests"),
        (MANY, {"requests": [SINGLE, {}]}, "requests[1].content"),
        (MANY, {"requests": [SINGLE | {"fileUri": "x"}]}, "fileUri"),
        (ONE, SINGLE | {"cachedContentId": "x"}, "cachedContentId"),
    ],
    ids=str,
)
def test_invalid_body_is_refused_by_name(
    ask: Asking, vendors: FakeProvider, path: str, body: dict[str, Any], named: str
) -> None:
    reply = ask(body, path=path)
    error = reply.json["error"]
    assert (reply.status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert named in error["message"]
    assert row_of(reply).status == "blocked"
    assert vendors.calls == []


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("gemini-2.0-flash", "use a model that makes embeddings"),
        ("text-embedding-3-small", "use /v1/embeddings"),
    ],
)
def test_other_models_are_refused(
    ask: Asking, vendors: FakeProvider, model: str, sentence: str
) -> None:
    for path, body in ((ONE, SINGLE), (MANY, BATCH)):
        reply = ask(body, path=path.replace(MODEL, model))
        assert reply.status == 400
        assert sentence in reply.json["error"]["message"]
    assert vendors.calls == []


def test_missing_vector_is_unknown(ask: Asking, vendors: FakeProvider) -> None:
    vendors.answers(body={"embeddings": [{"values": [1.0]}]})
    reply = ask(BATCH, path=MANY)
    assert (reply.status, row_of(reply).status) == (502, "unknown")
