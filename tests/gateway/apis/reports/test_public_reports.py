"""What others have counted or priced wrongly, and the vendors' own examples, from their bytes.

Each case has the public report or page it is from, the bytes as the vendor sends them, and the
right amount in USD, computed by hand from the vendor's prices (in the comment, per million tokens).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import orjson
import pytest

from costs.core.usage import Usage
from gateway.apis.chat import answer as chat
from gateway.apis.chat import mistral
from gateway.apis.generate import answer as generate
from gateway.apis.messages import answer as messages
from gateway.apis.responses import answer as responses
from gateway.core.calls import Completion
from tests.gateway.apis.reports.case import Case
from tests.gateway.apis.reports.searches import SEARCHES
from tests.gateway.apis.reports.tiers_and_places import TIERS_AND_PLACES
from tests.gateway.apis.reports.tokens import TOKENS

CASES: Final = {**TIERS_AND_PLACES, **TOKENS, **SEARCHES}
READ: Final[Mapping[str, Callable[..., Completion]]] = {
    "responses": responses.completion_from,
    "chat": chat.completion_from,
    "anthropic": messages.completion_from,
    "google": generate.completion_from,
    "mistral": mistral.completion_from,
}
READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "responses": responses.ResponsesStreamReader,
    "chat": chat.ChatStreamReader,
    "anthropic": messages.MessagesStreamReader,
    "google": generate.GenerateStreamReader,
    "mistral": mistral.MistralStreamReader,
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=[*CASES])


def as_stream(case: Case) -> list[Any]:
    """Return the events of the same answer in a stream."""
    answer = dict(case.answer)
    if case.vendor == "responses":
        return [
            {"type": "response.created", "response": {**answer, "output": [], "usage": None}},
            {"type": "response.completed", "response": answer},
        ]
    if case.vendor == "anthropic":
        usage = dict(answer["usage"])
        output = {"output_tokens": usage["output_tokens"]}
        searches = {name: usage.pop(name) for name in ("server_tool_use",) if name in usage}
        start = {**answer, "usage": {**usage, "output_tokens": 1}}
        return [
            {"type": "message_start", "message": start},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": output | searches,
            },
        ]
    if case.vendor == "google":
        [candidate] = answer["candidates"]
        rest = {name: value for name, value in answer.items() if name != "candidates"}
        grounded = {"groundingMetadata": candidate["groundingMetadata"]}
        return [
            {**rest, "candidates": [grounded]},
            {**rest, "candidates": [grounded]},
            {**rest, "candidates": [{"finishReason": "STOP"}]},
        ]
    head = {name: answer[name] for name in ("model", "service_tier") if name in answer}
    delta = {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}
    return [{**head, **delta}, {**head, "choices": [], "usage": answer["usage"]}]


def assert_price(case: Case, usage: Usage | None) -> None:
    assert usage is not None
    price = case.price(usage)
    assert price.unpriced == case.unpriced
    if case.usd is not None:
        assert Decimal(price.nanoeur) == Decimal(case.usd) * 10**9
    assert usage.adds_up


@every_case
def test_answer_costs_what_vendor_bills(case: Case) -> None:
    report = orjson.loads(orjson.dumps(case.answer))
    assert_price(case, READ[case.vendor](report, model=case.model).usage)


@every_case
def test_streamed_answer_costs_what_vendor_bills(case: Case) -> None:
    reading = READERS[case.vendor](case.model)
    for event in orjson.loads(orjson.dumps(as_stream(case))):
        reading.feed(event)
    assert_price(case, reading.completion().usage)


@every_case
def test_case_has_link_and_price_or_reason(case: Case) -> None:
    assert case.link.startswith("https://")
    assert (case.usd is None) == bool(case.unpriced)
