"""generateContent: the bound of a request, and refused fields."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS
from gateway.apis.generate.generate import COUNT, GENERATE_CONTENT, Generate
from gateway.apis.generate.tools import PAGES_READS
from gateway.core.usage_bound import (
    HOSTED_CALLS_MAX,
    NO_USES,
    SEARCH_TOKENS,
    OutputLimits,
    ToolUses,
    UsageBound,
    UsesLimit,
)
from tests.gateway.arrivals import model, read, refusal, sent

DIALECT = Generate(version="v1beta", method=GENERATE_CONTENT)
COUNTING = Generate(version="v1beta", method=COUNT)
MODEL = "gemini-2.5-flash"
ASKED: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
BLOB = {"mimeType": "image/png", "data": "AAAA"}


def measured(**changes: Any) -> UsageBound:
    return read(DIALECT, ASKED | changes, named=MODEL).usage_bound


def refused(**changes: Any) -> str:
    return refusal(DIALECT, ASKED | changes, named=MODEL)


def parts(*given: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(given)}]}


def config(**given: Any) -> dict[str, Any]:
    return {"generationConfig": given}


# --- text -------------------------------------------------------------------------------------


def test_plain_text_is_measured_exactly() -> None:
    usage_bound = measured(systemInstruction={"parts": [{"text": "Be brief"}]})
    assert usage_bound == UsageBound(texts=("Hello", "Be brief"), messages=2)


def test_one_content_and_one_part_need_no_list() -> None:
    alone = {"contents": {"parts": {"text": "Hello"}}}
    assert measured(**alone) == measured()


def test_every_field_that_can_contain_prompt_is_counted() -> None:
    usage_bound = measured(
        system_instruction={"parts": {"text": "one"}, "more": "two"},
        contents=[
            {"parts": [{"text": "three", "thought": True, "thoughtSignature": "four"}]},
            {"parts": [{"function_call": {"name": "five", "args": {"six": 6}}}], "name": "seven"},
            {"parts": [{"functionResponse": {"name": "eight", "response": {"nine": 9}}}]},
            {"parts": [{"executableCode": {"code": "ten"}}]},
            {"parts": [{"codeExecutionResult": {"output": "eleven"}}]},
        ],
        tools=[{"functionDeclarations": [{"name": "twelve"}]}],
        toolConfig={"functionCallingConfig": {"allowedFunctionNames": ["thirteen"]}},
        generationConfig={"responseJsonSchema": {"title": "fourteen"}, "ofTomorrow": "fifteen"},
        unheard_of={"prompt": "sixteen"},
        labels={"seventeen": "17"},
    )
    everything = "\n".join(usage_bound.texts)
    numbers = (
        *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    )
    assert [number for number in numbers if number not in everything] == []
    assert usage_bound.context_reads == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"contents": None},
        {"contents": []},
        {"contents": "hello"},
        {"contents": ["hello"]},
        parts("hello"),
        parts({"inlineData": "AAAA"}),
        parts({"fileData": "files/1"}),
        parts({"fileData": {}}),
        parts({"functionResponse": "x"}),
        {"systemInstruction": "hello"},
        {"tools": "hello"},
        {"tools": ["hello"]},
        {"generationConfig": "hello"},
        config(maxOutputTokens="100"),
        config(maxOutputTokens=0),
        config(candidateCount=0),
        config(candidateCount=129),
        config(candidateCount="2"),
        config(thinkingConfig="much"),
        config(thinkingConfig={"thinkingBudget": "much"}),
        config(thinkingConfig={"thinkingBudget": -2}),
        {"big": 2**70},
    ],
)
def test_invalid_body_is_refused_with_sentence(changes: dict[str, Any]) -> None:
    assert refused(**changes)


@pytest.mark.parametrize("named", ["", " ", "x" * 201, "a\0b", "a\nb"])
def test_model_name_in_path_must_be_valid(named: str) -> None:
    assert "model" in refusal(DIALECT, ASKED, named=named)


# --- two spellings ----------------------------------------------------------------------------


def test_snake_case_field_has_same_meaning() -> None:
    first = measured(
        systemInstruction={"parts": [{"text": "x"}]},
        generationConfig={
            "maxOutputTokens": 10,
            "candidateCount": 2,
            "thinkingConfig": {"thinkingBudget": 50},
            "responseModalities": ["AUDIO"],
        },
        tools=[{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}],
        contents=[
            {"parts": [{"inlineData": BLOB}, {"inlineData": BLOB | {"mimeType": "audio/x"}}]}
        ],
    )
    second = measured(
        system_instruction={"parts": [{"text": "x"}]},
        generation_config={
            "max_output_tokens": 10,
            "candidate_count": 2,
            "thinking_config": {"thinking_budget": 50},
            "response_modalities": ["AUDIO"],
        },
        tools=[{"function_declarations": [{"name": "f"}, {"name": "g"}]}],
        contents=[
            {
                "parts": [
                    {"inline_data": {"mime_type": "image/png", "data": "AAAA"}},
                    {"inline_data": {"mime_type": "audio/x", "data": "AAAA"}},
                ]
            }
        ],
    )
    assert first == second
    assert first.output == OutputLimits(max_tokens=10, choices=2, thinking_tokens=50)


@pytest.mark.parametrize(
    "changes",
    [
        {"cachedContent": None, "cached_content": "cachedContents/1"},
        {"generationConfig": {}, "generation_config": {"maxOutputTokens": 9}},
        config(maxOutputTokens=1, max_output_tokens=9999),
        parts({"inlineData": BLOB, "inline_data": BLOB}),
        {"tools": [{"googleSearch": {}, "google_search": {}}]},
    ],
)
def test_field_in_both_spellings_is_refused(changes: dict[str, Any]) -> None:
    assert "two spellings" in refused(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"cached_content": "cachedContents/1"},
        {"cached__content": "cachedContents/1"},
        parts({"file_data": {"file_uri": "files/1"}}),
        {"tools": [{"google_maps": {}}]},
        {"generation_config": {"response_modalities": ["IMAGE"]}},
        {"service_tier": 3},
        {"continuation_token": "t"},
    ],
)
def test_refused_field_is_refused_in_both_spellings(changes: dict[str, Any]) -> None:
    assert "spelling" not in refused(**changes)


# --- what comes out ---------------------------------------------------------------------------


def test_candidates_multiply_callers_cap() -> None:
    usage_bound = measured(**config(maxOutputTokens=10, candidateCount=3))
    assert usage_bound.output == OutputLimits(max_tokens=10, choices=3)
    assert measured().output == OutputLimits()


@pytest.mark.parametrize("cap", [10, None])
@pytest.mark.parametrize(("budget", "measured_as"), [(-1, 0), (0, 0), (None, 0), (5000, 5000)])
def test_thinking_budget_is_measured_with_and_without_cap(
    budget: int | None, cap: int | None, measured_as: int
) -> None:
    for spelling in ("thinkingBudget", "thinking_budget"):
        given = config(maxOutputTokens=cap, thinkingConfig={spelling: budget})
        assert measured(**given).output == OutputLimits(max_tokens=cap, thinking_tokens=measured_as)


def test_audio_output_is_priced_and_image_output_is_refused() -> None:
    assert "output_audio" in measured(**config(responseModalities=["TEXT", "audio"])).buckets
    assert measured(**config(responseModalities=["TEXT"])).buckets == frozenset()
    for asked in (["IMAGE"], ["TEXT", "image"], "IMAGE", ["VIDEO"], [2], [["IMAGE"]], {"x": 1}):
        assert refused(**config(responseModalities=asked))


# --- pictures, sound, films and documents -----------------------------------------------------


def test_images_are_counted_everywhere() -> None:
    picture = {"inlineData": BLOB}
    answer = {"functionResponse": {"name": "f", "response": {}, "parts": [picture]}}
    usage_bound = measured(**parts(picture, answer))
    assert (usage_bound.images, usage_bound.context_reads) == (2, 0)
    assert usage_bound.buckets == {"input_image"}


@pytest.mark.parametrize(
    "kind",
    [
        "audio/wav",
        "audio/mp3",
        "image/tiff",
        "image",
        "video/mp4",
        "application/pdf",
        "text/plain",
        "",
        None,
        7,
    ],
)
def test_sound_video_and_documents_are_bounded_by_context(kind: Any) -> None:
    still = {"inlineData": {"mimeType": kind, "data": "AAAA"}, "videoMetadata": {"fps": 24}}
    for part in (still, {"functionResponse": {"name": "f", "parts": [still]}}):
        usage_bound = measured(**parts(part))
        assert (usage_bound.images, usage_bound.context_reads) == (0, 1)
        assert usage_bound.buckets == {"input_image", "input_audio"}


@pytest.mark.parametrize(
    "uri",
    ["https://www.youtube.com/watch?v=x", "https://youtu.be/x", "https://m.youtube.com/watch?v=x"],
)
def test_public_video_is_bounded_by_context(uri: str) -> None:
    assert measured(**parts({"fileData": {"fileUri": uri}})).context_reads == 1


@pytest.mark.parametrize(
    "uri",
    [
        "https://generativelanguage.googleapis.com/v1beta/files/abc",
        "files/abc",
        "gs://bucket/object",
        "http://www.youtube.com/watch?v=x",
        "https://youtube.com.example.org/x",
        "https://user@example.org/https://youtu.be/x",
        "https://example.org/a.pdf",
        " https://youtu.be/x",
        7,
    ],
)
def test_stored_file_is_refused(uri: Any) -> None:
    for part in (
        {"fileData": {"fileUri": uri}},
        {"functionResponse": {"parts": [{"fileData": {"fileUri": uri}}]}},
    ):
        assert refused(**parts(part))


def test_unknown_part_is_bounded_by_context() -> None:
    assert measured(**parts({"ofTomorrow": {}})).context_reads == 1


# --- tools ------------------------------------------------------------------------------------


def test_functions_have_common_and_own_frame() -> None:
    tools = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}, {"functionDeclarations": []}]
    assert measured(tools=tools).overhead_tokens == TOOLS_FRAME_TOKENS + 2 * TOOL_FRAME_TOKENS
    assert measured(tools=[]).overhead_tokens == 0


@pytest.mark.parametrize("kind", ["googleSearch", "googleSearchRetrieval"])
@pytest.mark.parametrize("is_limited", [True, False])
@pytest.mark.parametrize(("most", "calls"), [(None, HOSTED_CALLS_MAX), (3, 3), (20, 20)])
def test_searches_are_bounded_by_figure(
    kind: str, is_limited: bool, most: int | None, calls: int
) -> None:
    call = read(DIALECT, ASKED | {"tools": [{kind: {}}]}, named=MODEL)
    limit = None if most is None else UsesLimit(most=most, policy="No")
    request = sent(call, model(MODEL), is_limited=is_limited, searches=limit)
    assert request.uses == ToolUses(times=calls, each=SEARCH_TOKENS, searches=calls)
    assert (call.usage_bound.context_reads, call.usage_bound.unbounded) == (0, None)


def test_fetched_pages_fit_in_context() -> None:
    call = read(DIALECT, ASKED | {"tools": [{"urlContext": {}}]}, named=MODEL)
    assert (call.usage_bound.context_reads, call.usage_bound.unbounded) == (PAGES_READS, None)
    assert sent(call, model(MODEL)).uses == NO_USES


def test_code_runs_have_estimate_and_reason() -> None:
    usage_bound = measured(tools=[{"codeExecution": {}}])
    assert usage_bound.unbounded is not None
    assert "no upper bound" in usage_bound.unbounded
    assert usage_bound.context_reads > 1


def test_computer_use_is_bounded_by_context() -> None:
    usage_bound = measured(tools=[{"computerUse": {"environment": "ENVIRONMENT_BROWSER"}}])
    assert (usage_bound.context_reads, usage_bound.unbounded) == (1, None)


@pytest.mark.parametrize(
    "kind",
    [
        *("googleMaps", "fileSearch", "mcpServers", "retrieval", "enterpriseWebSearch"),
        *("parallelAiSearch", "ofTomorrow"),
    ],
)
def test_unpriced_tool_is_refused(kind: str) -> None:
    assert refused(tools=[{kind: {}}])
    assert measured(tools=[{kind: None}]).unbounded is None


# --- what changes the price, the payer or the place -------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"serviceTier": 3},
        {"serviceTier": "x" * 65},
        {"cachedContent": "cachedContents/1"},
        {"continuationToken": "t"},
        {"base_url": "http://127.0.0.1"},
        config(routingConfig={"autoMode": {}}),
        config(model_selection_config={"featureSelectionPreference": "PRIORITIZE_COST"}),
    ],
)
def test_fields_outside_bound_are_refused(changes: dict[str, Any]) -> None:
    sentence = refused(**changes)
    assert len(sentence.split()) > 4
    assert refusal(COUNTING, ASKED | changes, named=MODEL) == sentence
    if "base_url" not in changes:
        inner = {"generateContentRequest": ASKED | changes}
        assert refusal(COUNTING, inner, named=MODEL) == sentence


def test_service_tier_is_priced_as_asked() -> None:
    standard = (None, "", "standard", "STANDARD", "unspecified", "SERVICE_TIER_UNSPECIFIED")
    for given in (*standard, "SERVICE_TIER_STANDARD"):
        assert measured(serviceTier=given).service_tier == "standard"
    for given in ("flex", "FLEX", "SERVICE_TIER_FLEX"):
        assert measured(service_tier=given).service_tier == "flex"


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "KEY"])
def test_key_in_query_string_is_refused(name: str) -> None:
    path = f"/v1beta/models/{MODEL}:generateContent?alt=json&{name}=x"
    assert "key" in refusal(DIALECT, ASKED, named=MODEL, path=path)


@pytest.mark.parametrize("query", ["alt=media", "alt=proto", "$alt=proto", "alt=sse&alt=x"])
def test_unknown_alt_is_refused(query: str) -> None:
    path = f"/v1beta/models/{MODEL}:generateContent?{query}"
    assert refusal(DIALECT, ASKED, named=MODEL, path=path) == "alt must be json or sse"


def test_counting_is_free_and_has_no_output() -> None:
    for fields in (ASKED, {"generateContentRequest": ASKED | {"tools": [{"googleSearch": {}}]}}):
        call = read(COUNTING, fields, named=MODEL)
        usage_bound = call.usage_bound
        assert (usage_bound.is_free, usage_bound.output, usage_bound.unbounded) == (
            True,
            None,
            None,
        )
        assert not call.stream


@pytest.mark.parametrize("inner", ["x", [], {}, {"contents": []}])
def test_counted_body_must_be_request(inner: Any) -> None:
    assert refusal(COUNTING, {"generateContentRequest": inner}, named=MODEL)
    both = {"generateContentRequest": ASKED, **ASKED}
    assert refusal(COUNTING, both, named=MODEL)
