"""Searches and cache writes where an answer does not say everything, or something impossible."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.apis.chat import answer as chat
from gateway.apis.generate import answer as generate
from gateway.apis.responses import answer as responses
from tests.gateway.apis.reports.case import SEARCH, completion, content, response


def test_requested_model_decides_where_answer_names_none() -> None:
    report = {**content("x", queries=["a", "b"])}
    del report["modelVersion"]
    for model, fees in (("gemini-2.5-pro", 1), ("gemini-3-pro-preview", 2), ("gemini-9", 2)):
        usage = generate.completion_from(report, model=model).usage
        assert usage is not None
        assert usage.web_searches == fees
    nameless = {**completion("x"), "model": None}
    usage = chat.completion_from(nameless, model="gpt-4o-search-preview").usage
    assert usage is not None
    assert usage.web_searches == 1


def test_queries_of_all_candidates_and_chunks_count_once() -> None:
    reading = generate.GenerateStreamReader("gemini-3.8-flash")
    for queries in (["a"], ["a", "b"], [], [" "], ["c", 3, None]):
        reading.feed(content("gemini-3.8-flash", queries=queries))
    usage = reading.completion().usage
    assert usage is not None
    assert usage.web_searches == 3
    two = content("gemini-3.8-flash", queries=["a"])
    two["candidates"] += content("gemini-3.8-flash", queries=["a", "b"])["candidates"]
    usage = generate.completion_from(two, model="gemini-3.8-flash").usage
    assert usage is not None
    assert usage.web_searches == 2


def test_request_decides_search_tool_where_answer_repeats_none() -> None:
    answer = response("gpt-4.1", SEARCH)
    del answer["tools"]
    for by_preview in (False, True):
        usage = responses.completion_from(answer, model="gpt-4.1", by_preview=by_preview).usage
        assert usage is not None
        assert (usage.web_searches, usage.web_search_previews) == (not by_preview, by_preview)


@pytest.mark.parametrize(
    "details",
    [
        {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_12h_tokens": 6}},
        {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_7d_tokens": -1}},
        {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_7d_tokens": "5"}},
        {"cache_write_tokens": 5, "cache_write_tokens_details": []},
    ],
)
def test_impossible_cache_writes_make_usage_unknown(details: Any) -> None:
    answer = response("gpt-6.1-terra", input_tokens_details=details)
    assert responses.completion_from(answer, model="gpt-6.1-terra").usage is None


def test_cache_writes_without_sum_are_added_up() -> None:
    split = {"ttl_30m_tokens": 3, "ttl_12h_tokens": 4, "ttl_7d_tokens": 5}
    answer = response("gpt-6.1-terra", input_tokens_details={"cache_write_tokens_details": split})
    usage = responses.completion_from(answer, model="gpt-6.1-terra").usage
    assert usage is not None
    assert usage.as_dict() == {
        "input_uncached": 988,
        "cache_write_30m": 3,
        "cache_write_12h": 4,
        "cache_write_other": 5,
        "output_text": 1000,
        "service_tier": "standard",
    }
