"""Each vendor's usage becomes disjoint buckets; an impossible report becomes unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.usage import Usage
from gateway.apis.chat import answer as chat_answer
from gateway.apis.chat import mistral
from gateway.apis.generate import answer as generate_answer
from gateway.apis.messages import answer as messages_answer
from gateway.core.calls import Completion, Delta
from gateway.core.messages import ToolCall
from gateway.upstream import untrusted_json
from tests.fake_provider.vendors import every_vendor

FORMATS: Mapping[str, Any] = {
    "openai": chat_answer,
    "anthropic": messages_answer,
    "google": generate_answer,
    "mistral": mistral,
}
READERS = {
    "openai": chat_answer.ChatStreamReader,
    "anthropic": messages_answer.MessagesStreamReader,
    "google": generate_answer.GenerateStreamReader,
    "mistral": mistral.MistralStreamReader,
}

OPENAI = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
ANTHROPIC = {"input_tokens": 100, "output_tokens": 50}
GOOGLE = {"promptTokenCount": 100, "candidatesTokenCount": 50, "totalTokenCount": 150}
REPORTS = {"openai": OPENAI, "anthropic": ANTHROPIC, "google": GOOGLE, "mistral": OPENAI}


# --- the mapping, report by report ------------------------------------------------------------

OPENAI_CASES: dict[str, tuple[dict[str, Any], Usage]] = {
    "plain": (
        {"usage": OPENAI},
        Usage(input_uncached=100, output_text=50, reported_total=150),
    ),
    "null details": (
        {"usage": OPENAI | {"prompt_tokens_details": None, "completion_tokens_details": None}},
        Usage(input_uncached=100, output_text=50, reported_total=150),
    ),
    "cache and reasoning are inside": (
        {
            "usage": OPENAI
            | {
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 30},
            }
        },
        Usage(
            input_uncached=30,
            cache_read=60,
            cache_write_30m=10,
            output_text=20,
            output_reasoning=30,
            reported_total=150,
        ),
    ),
    "audio is inside": (
        {
            "usage": OPENAI
            | {
                "prompt_tokens_details": {"audio_tokens": 40},
                "completion_tokens_details": {"audio_tokens": 20},
            }
        },
        Usage(
            input_uncached=60, input_audio=40, output_text=30, output_audio=20, reported_total=150
        ),
    ),
    "the default tier is the standard one": (
        {"usage": OPENAI, "service_tier": "default"},
        Usage(input_uncached=100, output_text=50, reported_total=150),
    ),
    "another tier keeps its name": (
        {"usage": OPENAI, "service_tier": "Priority"},
        Usage(input_uncached=100, output_text=50, service_tier="priority", reported_total=150),
    ),
    "an answer that cites pages searched once": (
        {
            "usage": OPENAI,
            "choices": [
                {"message": {"annotations": [{"type": "url_citation"}, {"type": "url_citation"}]}}
            ],
        },
        Usage(input_uncached=100, output_text=50, web_searches=1, reported_total=150),
    ),
    "zero is a count": (
        {"usage": {"prompt_tokens": 5, "completion_tokens": 0}},
        Usage(input_uncached=5),
    ),
}


@pytest.mark.parametrize(("report", "expected"), OPENAI_CASES.values(), ids=list(OPENAI_CASES))
def test_openai_usage(report: dict[str, Any], expected: Usage) -> None:
    assert chat_answer.usage_from(report) == expected


ANTHROPIC_CASES: dict[str, tuple[dict[str, Any], Usage]] = {
    "plain": (ANTHROPIC, Usage(input_uncached=100, output_text=50)),
    "the cache is outside of the input": (
        ANTHROPIC | {"cache_read_input_tokens": 60, "cache_creation_input_tokens": 10},
        Usage(input_uncached=100, cache_read=60, cache_write_5m=10, output_text=50),
    ),
    "cache writes are split by lifetime": (
        ANTHROPIC
        | {
            "cache_creation_input_tokens": 30,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 10,
                "ephemeral_1h_input_tokens": 20,
            },
        },
        Usage(input_uncached=100, cache_write_5m=10, cache_write_1h=20, output_text=50),
    ),
    "nulls are absent": (
        ANTHROPIC
        | {
            "cache_read_input_tokens": None,
            "cache_creation": None,
            "server_tool_use": None,
            "service_tier": None,
        },
        Usage(input_uncached=100, output_text=50),
    ),
    "thinking is inside of the output": (
        ANTHROPIC | {"output_tokens_details": {"thinking_tokens": 30}},
        Usage(input_uncached=100, output_text=20, output_reasoning=30),
    ),
    "searches and tier": (
        ANTHROPIC | {"server_tool_use": {"web_search_requests": 2}, "service_tier": "batch"},
        Usage(input_uncached=100, output_text=50, web_searches=2, service_tier="batch"),
    ),
    "the standard tier": (
        ANTHROPIC | {"service_tier": "standard"},
        Usage(input_uncached=100, output_text=50),
    ),
}


@pytest.mark.parametrize(("usage", "expected"), ANTHROPIC_CASES.values(), ids=list(ANTHROPIC_CASES))
def test_anthropic_usage(usage: dict[str, Any], expected: Usage) -> None:
    assert messages_answer.usage_from({"usage": usage}) == expected


GOOGLE_CASES: dict[str, tuple[dict[str, Any], Usage]] = {
    "plain": (GOOGLE, Usage(input_uncached=100, output_text=50, reported_total=150)),
    "the cache is inside, thoughts and the tools' prompt are outside": (
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 60,
            "toolUsePromptTokenCount": 7,
            "candidatesTokenCount": 50,
            "thoughtsTokenCount": 30,
            "totalTokenCount": 187,
        },
        Usage(
            input_uncached=40,
            cache_read=60,
            tool_prompt=7,
            output_text=50,
            output_reasoning=30,
            reported_total=187,
        ),
    ),
    "zeros are omitted": (
        {"promptTokenCount": 100, "thoughtsTokenCount": 30, "totalTokenCount": 130},
        Usage(input_uncached=100, output_reasoning=30, reported_total=130),
    ),
    "audio in and out": (
        GOOGLE
        | {
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 60},
                {"modality": "AUDIO", "tokenCount": 40},
            ],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}],
        },
        Usage(
            input_uncached=60, input_audio=40, output_text=30, output_audio=20, reported_total=150
        ),
    ),
}


@pytest.mark.parametrize(("usage", "expected"), GOOGLE_CASES.values(), ids=list(GOOGLE_CASES))
def test_google_usage(usage: dict[str, Any], expected: Usage) -> None:
    assert generate_answer.usage_from({"usageMetadata": usage}) == expected


def test_google_searches_are_counted() -> None:
    grounding = {"webSearchQueries": ["one", "two"]}
    report = {"usageMetadata": GOOGLE, "candidates": [{"groundingMetadata": grounding}]}
    usage = generate_answer.usage_from(report)
    assert usage is not None
    assert usage.web_searches == 2


MISTRAL_CASES: dict[str, tuple[dict[str, Any], Usage]] = {
    "plain": (OPENAI, Usage(input_uncached=100, output_text=50, reported_total=150)),
    "the cache is inside": (
        OPENAI | {"prompt_tokens_details": {"cached_tokens": 64}},
        Usage(input_uncached=36, cache_read=64, output_text=50, reported_total=150),
    ),
    "the tier is in the usage": (
        OPENAI | {"service_tier": "priority"},
        Usage(input_uncached=100, output_text=50, service_tier="priority", reported_total=150),
    ),
}


@pytest.mark.parametrize(("usage", "expected"), MISTRAL_CASES.values(), ids=list(MISTRAL_CASES))
def test_mistral_usage(usage: dict[str, Any], expected: Usage) -> None:
    assert mistral.usage_from({"usage": usage}) == expected


@every_vendor
@pytest.mark.parametrize("bad", [-1, "100", 1.5, True, None, [], 10**12])
def test_report_with_impossible_count_is_ignored(vendor: str, bad: object) -> None:
    name = "usageMetadata" if vendor == "google" else "usage"
    for count in REPORTS[vendor]:
        if bad is None and "total" in count.lower():
            continue  # a total may be absent
        if bad is None and count == "candidatesTokenCount":
            continue  # Google omits a zero; see below
        usage = FORMATS[vendor].usage_from({name: REPORTS[vendor] | {count: bad}})
        assert usage is None, count


def test_anthropic_start_usage_is_not_final() -> None:
    reading = messages_answer.MessagesStreamReader("claude")
    begun = {"type": "message_start", "message": {"usage": ANTHROPIC | {"output_tokens": 1}}}
    reading.feed(begun)
    reading.feed({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    assert reading.completion().usage is None
    reading.feed({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 50}})
    assert reading.completion().usage == Usage(input_uncached=100, output_text=50)


def test_anthropic_later_counts_overwrite_earlier() -> None:
    reading = messages_answer.MessagesStreamReader("claude")
    written = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 20}
    start = {"cache_creation": written, "cache_creation_input_tokens": 20, "service_tier": "batch"}
    reading.feed({"type": "message_start", "message": {"usage": ANTHROPIC | start}})
    for output_tokens in (10, 60):
        counts = {"output_tokens": output_tokens, "input_tokens": None}
        reading.feed({"type": "message_delta", "usage": counts})
    assert reading.completion().usage == Usage(
        input_uncached=100, cache_write_1h=20, output_text=60, service_tier="batch"
    )


def test_more_cached_than_there_was_is_no_report() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 101}}
    assert chat_answer.usage_from({"usage": OPENAI | details}) is None
    assert mistral.usage_from({"usage": OPENAI | details}) is None
    assert (
        generate_answer.usage_from({"usageMetadata": GOOGLE | {"cachedContentTokenCount": 101}})
        is None
    )


def test_google_report_with_unexplained_missing_count_is_ignored() -> None:
    assert generate_answer.usage_from({"usageMetadata": {"promptTokenCount": 100}}) is None
    usage = {"promptTokenCount": 100, "totalTokenCount": 150}
    assert generate_answer.usage_from({"usageMetadata": usage}) is None


def test_inconsistent_total_is_flagged_and_kept() -> None:
    usage = chat_answer.usage_from({"usage": OPENAI | {"total_tokens": 151}})
    assert usage is not None
    assert not usage.adds_up


# --- finish reasons ------------------------------------------------------------------------------


def test_thoughts_are_not_in_answer() -> None:
    parts = [{"text": "Let me see", "thought": True}, {"text": "Yes"}]
    report = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    assert generate_answer.completion_from(report, model="gemini").content == "Yes"
    blocks = [{"type": "thinking", "thinking": "Let me see"}, {"type": "text", "text": "Yes"}]
    message = {"content": blocks, "stop_reason": "end_turn"}
    assert messages_answer.completion_from(message, model="claude").content == "Yes"
    chunks = [{"type": "thinking", "thinking": [{"text": "Hm"}]}, {"type": "text", "text": "Yes"}]
    choice = {"message": {"content": chunks}, "finish_reason": "stop"}
    assert mistral.completion_from({"choices": [choice]}, model="magistral").content == "Yes"


def test_refusal_text_is_answer() -> None:
    choice = {"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"}
    assert chat_answer.completion_from({"choices": [choice]}, model="gpt").content == "I cannot"


# --- whatever comes ---------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        "choices", "message", "delta", "content", "finish_reason", "usage", "prompt_tokens",
        "completion_tokens", "prompt_tokens_details", "cached_tokens", "service_tier", "model",
        "type", "message_start", "message_delta", "content_block_delta", "text", "stop_reason",
        "input_tokens", "output_tokens", "cache_creation", "candidates", "usageMetadata", "parts",
        "promptTokenCount", "candidatesTokenCount", "finishReason", "promptFeedback",
        "modelVersion", "annotations", "server_tool_use", "groundingMetadata", "webSearchQueries",
        "text_delta", "content_block_start", "content_block_delta", "content_block_stop",
        "tool_use", "content_block", "input_json_delta", "partial_json", "input", "id", "name",
        "functionCall", "args", "thoughtSignature",
    ]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=6),
    max_leaves=25,
)


@every_vendor
@given(report=_JSON)
def test_any_answer_is_read_without_crash(vendor: str, report: object) -> None:
    try:
        answer = FORMATS[vendor].completion_from(report, model="asked")
    except untrusted_json.ErrorAnswer:
        return
    _is_well_formed(answer)


@every_vendor
@given(events=st.lists(_JSON, max_size=6))
def test_any_stream_is_read_without_crash(vendor: str, events: list[object]) -> None:
    reading = READERS[vendor]("asked")
    try:
        deltas = [delta for event in events for delta in reading.feed(event)]
    except untrusted_json.ErrorAnswer:
        return
    assert all(isinstance(delta, Delta) for delta in deltas)
    _is_well_formed(reading.completion())


def _is_well_formed(answer: Completion) -> None:
    assert isinstance(answer.content, str)
    assert isinstance(answer.model, str)
    assert answer.finish_reason is None or isinstance(answer.finish_reason, str)
    assert answer.usage is None or isinstance(answer.usage, Usage)
    assert answer.raw_usage is None or isinstance(answer.raw_usage, dict)
    assert all(isinstance(call, ToolCall) for call in answer.tool_calls)
