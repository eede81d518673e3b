"""Kinds of reports about requests to OpenAI, and about models' names."""

from __future__ import annotations

from typing import Final

from tests.reports.case import Report

_CHAT: Final = "https://developers.openai.com/api/reference/resources/chat"
_LATEST: Final = "https://developers.openai.com/api/docs/guides/latest-model"
_CHECKLIST: Final = "https://developers.openai.com/api/docs/guides/deployment-checklist"
_TESTS: Final = "tests/gateway/apis/test_relayed_openai.py"
_OVER_HTTP: Final = "tests/gateway/http/test_compatible_openai.py"
_ENTRIES: Final = "tests/gateway/core/test_model_entries.py"

REPORTS: Final = (
    Report(
        kind="Any request that OpenAI's schema allows, sent to OpenAI",
        report="https://github.com/BerriAI/litellm/pull/21576",
        right="accepted by a checker of the documented rules, refused here with a sentence, or "
        "left to the vendor's own 400 where its field changes the answer",
        source=_CHAT,
        test="tests/vendor_rules/openai/test_translated.py"
        "::test_any_chat_completion_is_accepted_or_refused",
    ),
    Report(
        kind="temperature and top_p to models that reason",
        report="https://github.com/BerriAI/litellm-docs/pull/1064",
        right="omitted where they are refused, which depends on generation and effort",
        source=_LATEST,
        test=f"{_TESTS}::test_sampling_is_sent_only_where_it_is_accepted",
    ),
    Report(
        kind="A temperature on the native API to o-series and GPT-5",
        report="https://github.com/tarasglek/chatcraft.org/issues/852",
        right="200 without the temperature, and the trace says so",
        source=_LATEST,
        test=f"{_OVER_HTTP}::test_native_temperature_of_reasoning_model_is_omitted",
    ),
    Report(
        kind="Penalties to models that reason",
        report="https://github.com/oracle/ai-optimizer/issues/240",
        right="omitted, and reported",
        source="none: no document lists the models, only the API's own errors do",
        test=f"{_TESTS}::test_penalties_are_omitted_for_reasoning_models",
    ),
    Report(
        kind="max_tokens to models that reason",
        report="https://github.com/langchain-ai/langchainjs/issues/8641",
        right="sent as max_completion_tokens, and the bound is of that",
        source=_CHAT,
        test=f"{_TESTS}::test_cap_has_name_for_reasoning_models",
    ),
    Report(
        kind="max_tokens and max_completion_tokens together",
        report="https://github.com/langchain-ai/langgraph/issues/5943",
        right="max_completion_tokens alone",
        source=_CHAT,
        test=f"{_TESTS}::test_cap_is_named_once",
    ),
    Report(
        kind="metadata without store",
        report="https://github.com/tmc/langchaingo/issues/1484",
        right="omitted, since nothing is stored at the provider",
        source=_CHAT,
        test=f"{_TESTS}::test_nothing_is_stored_and_no_metadata_is_sent",
    ),
    Report(
        kind="reasoning_effort that the model does not have",
        report="https://github.com/enricoros/big-AGI/issues/944",
        right="the least accepted one that is not below it, else the highest",
        source="https://developers.openai.com/api/docs/guides/reasoning",
        test=f"{_TESTS}::test_nearest_accepted_effort_is_sent",
    ),
    Report(
        kind="Function tools to GPT-5.4 and later",
        report="https://github.com/BerriAI/litellm/pull/34569",
        right="without reasoning, and reported; that 5.5 needs it without an effort is concluded",
        source=_CHECKLIST,
        test=f"{_TESTS}::test_tools_that_need_it_are_sent_without_effort",
    ),
    Report(
        kind="Function tools to models that always reason",
        report="https://github.com/bolna-ai/bolna/pull/1019",
        right="refused, naming /v1/responses",
        source=_CHECKLIST,
        test=f"{_TESTS}::test_tools_of_models_that_always_reason_are_refused",
    ),
    Report(
        kind="parallel_tool_calls without tools, to the o-series, or null",
        report="https://github.com/openai/swarm/issues/30",
        right="omitted",
        source=_CHAT,
        test=f"{_TESTS}::test_parallel_tool_calls_need_tools_and_support",
    ),
    Report(
        kind="Tool call ids of other vendors, longer than 40 characters",
        report="https://github.com/vercel/ai/issues/5171",
        right="shortened alike in call and result, distinct within a turn, the same in each turn",
        source="none: the API's own error names the limit",
        test=f"{_TESTS}::test_long_ids_of_tool_calls_are_shortened_alike_in_call_and_result",
    ),
    Report(
        kind="verbosity to GPT-4o and gpt-5-chat-latest",
        report="https://github.com/google-deepmind/concordia/issues/164",
        right="low and high are omitted",
        source=_CHAT,
        test=f"{_TESTS}::test_verbosity_is_sent_only_where_it_is_accepted",
    ),
    Report(
        kind="System messages to o1-mini and o1-preview",
        report="https://github.com/rksm/org-ai/issues/130",
        right="sent as user messages, and reported",
        source="https://developers.openai.com/api/docs/guides/reasoning",
        test=f"{_TESTS}::test_first_reasoning_models_get_instructions_as_questions",
    ),
    Report(
        kind="Models that only the Responses API serves",
        report="https://github.com/docker/docker-agent/issues/313",
        right="refused, naming /v1/responses, on every path of chat",
        source="https://developers.openai.com/api/docs/models/o1-pro",
        test=f"{_TESTS}::test_model_of_another_api_is_refused_by_name",
    ),
    Report(
        kind="A fine-tune of a blocked model",
        report="none: tried against policies of gateways",
        right="blocked by the entry of its base in any spelling, counted in budgets of it, allowed "
        "only by name or wildcard",
        source="https://developers.openai.com/api/docs/guides/supervised-fine-tuning",
        test=f"{_ENTRIES}::test_entry_blocks_and_counts_fine_tunes_but_does_not_allow_them",
    ),
    Report(
        kind="Prefixes of LiteLLM and other hosts",
        report="https://docs.litellm.ai/docs/providers/vertex_partner",
        right="gemini/, mistralai/ and vertex_ai/ are taken off; gemini/* is Google's",
        source="https://docs.litellm.ai/docs/providers/gemini",
        test="tests/gateway/core/test_model_names.py"
        "::test_every_spelling_resolves_to_vendors_model",
    ),
)
