"""Kinds of reports about chat completions that are translated for Claude."""

from __future__ import annotations

from typing import Final

from tests.reports.case import Report

_DOCS: Final = "https://platform.claude.com/docs/en"
_GITHUB: Final = "https://github.com"
_CALLS: Final = f"{_DOCS}/agents-and-tools/tool-use/handle-tool-calls"
_TOOLS_GUIDE: Final = f"{_DOCS}/agents-and-tools/tool-use/define-tools"
_OUTPUTS: Final = f"{_DOCS}/build-with-claude/structured-outputs"
_CACHING: Final = f"{_DOCS}/build-with-claude/prompt-caching"
_REFERENCE: Final = f"{_DOCS}/api/messages/create"
_TURNS: Final = "tests/gateway/apis/test_translated_to_anthropic.py"
_TOOLS: Final = "tests/gateway/apis/test_translated_tools_to_anthropic.py"
_MARKS: Final = "tests/gateway/apis/test_cache_marks_to_anthropic.py"

REPORTS: Final = (
    Report(
        kind="Any request that OpenAI's schema allows, translated for Claude",
        report=f"{_GITHUB}/NVIDIA-NeMo/Switchyard/issues/502",
        right="accepted by a checker of the documented rules, or refused here with a sentence",
        source=_REFERENCE,
        test="tests/vendor_rules/anthropic/test_translated.py"
        "::test_any_request_is_accepted_or_refused_with_sentence",
    ),
    # --- settings ---
    Report(
        kind="temperature and top_p together, or at all from 4.7 on",
        report=f"{_GITHUB}/anomalyco/opencode/issues/1644",
        right="one of them from 4.1 on (temperature), none from 4.7 on, at most 1",
        source=f"{_DOCS}/build-with-claude/working-with-messages",
        test=f"{_TURNS}::test_sampling_fits_generation",
    ),
    Report(
        kind="temperature with an effort",
        report=f"{_GITHUB}/theopenco/llmgateway/pull/1726",
        right="no temperature while the model thinks; top_p only from 0.95 on",
        source=f"{_DOCS}/build-with-claude/thinking#limits-and-feature-compatibility",
        test=f"{_TURNS}::test_thinking_leaves_no_temperature",
    ),
    Report(
        kind="effort that the model has not: max, xhigh, minimal, none",
        report=f"{_GITHUB}/mozilla-ai/any-llm/issues/1107",
        right="the nearest that it has; none is low where thinking is always on",
        source=f"{_DOCS}/build-with-claude/effort#effort-levels",
        test=f"{_TURNS}::test_model_gets_nearest_effort",
    ),
    Report(
        kind="effort with a forced tool",
        report=f"{_GITHUB}/can1357/oh-my-pi/issues/341",
        right="the effort is sent without turning thinking on",
        source="none: doubtful, the documents allow adaptive thinking with a forced tool and a "
        "report of May 2026 shows it rejected; an effort needs no thinking",
        test=f"{_TURNS}::test_forced_tool_takes_effort_without_thinking",
    ),
    Report(
        kind="blank stop sequences, and a seed",
        report=f"{_GITHUB}/BerriAI/litellm/issues/3286",
        right="omitted, and reported in the trace",
        source=_REFERENCE,
        test=f"{_TURNS}::test_blank_stops_and_seed_are_omitted_and_reported",
    ),
    Report(
        kind="a cap above the model's maximum",
        report=f"{_GITHUB}/BerriAI/litellm/issues/8984",
        right="lowered to the maximum",
        source=f"{_DOCS}/about-claude/models/overview",
        test=f"{_TURNS}::test_cap_is_at_most_maximum_of_model",
    ),
    Report(
        kind="n, logprobs, logit_bias, prediction, penalties and sound as an answer",
        report=f"{_GITHUB}/theopenco/llmgateway/pull/1579",
        right="refused by name, unless the value has no effect",
        source=_REFERENCE,
        test="tests/gateway/apis/test_translation_bodies.py"
        "::test_unsupported_fields_that_change_answer_are_refused",
    ),
    # --- texts and turns ---
    Report(
        kind="blank texts, parts and messages",
        report=f"{_GITHUB}/home-assistant/core/issues/175637",
        right="omitted, then empty messages too",
        source='the API\'s message: "text content blocks must contain non-whitespace text"',
        test=f"{_TURNS}::test_blank_texts_and_empty_messages_are_omitted",
    ),
    Report(
        kind="only system messages",
        report=f"{_GITHUB}/langchain-ai/langchain/issues/30764",
        right="the last one is the user's turn",
        source=f"{_GITHUB}/braintrustdata/braintrust-proxy/pull/250",
        test=f"{_TURNS}::test_last_of_only_system_messages_becomes_turn_of_user",
    ),
    Report(
        kind="a last message of the assistant, from 4.6 on",
        report=f"{_DOCS}/api/errors#prefill-not-supported",
        right="a turn of the user follows: OpenAI's models do not continue it either",
        source=f"{_DOCS}/api/errors#prefill-not-supported",
        test=f"{_TURNS}::test_last_turn_of_assistant_is_followed_by_one_of_user",
    ),
    Report(
        kind="space at the end of the assistant's last text",
        report=f"{_GITHUB}/anomalyco/opencode/issues/1295",
        right="omitted where the model continues it",
        source='the API\'s message: "final assistant content cannot end with trailing whitespace"',
        test=f"{_TURNS}::test_older_model_continues_last_turn_without_space_at_its_end",
    ),
    # --- tool calls ---
    Report(
        kind="ids of tool calls that are used again",
        report=f"{_GITHUB}/BerriAI/litellm/issues/23510",
        right="rewritten uniquely, with their results",
        source=_CALLS,
        test=f"{_TURNS}::test_reused_ids_become_unique_and_results_follow",
    ),
    Report(
        kind="ids of tool calls that are empty, or collide once their characters are accepted",
        report=f"{_GITHUB}/anomalyco/opencode/issues/1279",
        right="rewritten uniquely, with their results",
        source=_REFERENCE,
        test=f"{_TURNS}::test_ids_that_collide_or_are_empty_become_unique",
    ),
    Report(
        kind="results that are missing, late, doubled or behind a text",
        report=f"{_GITHUB}/Kilo-Org/kilocode/issues/5163",
        right="every call has one result, right after its turn and before texts",
        source=_CALLS,
        test=f"{_TURNS}::test_every_call_has_one_result_right_after_it",
    ),
    Report(
        kind="earlier calls of tools whose names the vendor rejects, without tools",
        report=f"{_GITHUB}/home-assistant/core/issues/147760",
        right="names with accepted characters, in the call and its declared tool",
        source=_REFERENCE,
        test=f"{_TURNS}::test_names_of_earlier_calls_are_accepted_as_tools",
    ),
    # --- media ---
    Report(
        kind="PDF and text files",
        report=f"{_GITHUB}/cloudwego/eino-ext/issues/918",
        right="document blocks; the title has at most 500 characters",
        source=f"{_DOCS}/build-with-claude/pdf-support",
        test=f"{_TURNS}::test_documents_become_blocks",
    ),
    Report(
        kind="sound, images of other types, and media without data",
        report=f"{_GITHUB}/openclaw/openclaw/issues/102323",
        right="refused by name",
        source=f"{_DOCS}/build-with-claude/vision#supported-formats",
        test=f"{_TURNS}::test_media_without_counterpart_is_refused_by_name",
    ),
    # --- tools ---
    Report(
        kind="names of tools with other characters",
        report=f"{_GITHUB}/home-assistant/core/issues/147760",
        right="refused by name, as OpenAI does",
        source=_TOOLS_GUIDE,
        test=f"{_TOOLS}::test_name_that_anthropic_rejects_is_refused",
    ),
    Report(
        kind="two tools of one name",
        report=f"{_GITHUB}/anthropics/claude-code/issues/10742",
        right="refused by name, as OpenAI does",
        source='the API\'s message: "Tool names must be unique"',
        test=f"{_TOOLS}::test_two_tools_of_one_name_are_refused",
    ),
    Report(
        kind="forced tools of models that cannot be forced",
        report=f"{_DOCS}/models/opus-5-5/whats-new-opus-5-5",
        right="auto, with an instruction; a named tool is the only one sent",
        source=f"{_DOCS}/api/errors",
        test=f"{_TOOLS}::test_forced_tool_is_asked_for_where_it_cannot_be_forced",
    ),
    Report(
        kind="a union at the top of a tool's parameters",
        report=f"{_GITHUB}/anthropics/claude-code/issues/40075",
        right="merged into the properties, and described as text",
        source="none: the documents do not say it; the API's message is \"does not support oneOf, "
        'allOf, or anyOf at the top level"',
        test=f"{_TOOLS}::test_union_at_top_is_merged_and_described",
    ),
    Report(
        kind="parameters without a type, by reference, or of an older draft",
        report=f"{_GITHUB}/dearlordylord/huly-mcp/issues/66",
        right="the same in draft 2020-12, of type object",
        source='the API\'s message: "It must match JSON Schema draft 2020-12"',
        test=f"{_TOOLS}::test_parameters_become_schema_of_object",
    ),
    Report(
        kind="parameters of another type, or with names that are rejected",
        report=f"{_GITHUB}/anthropics/claude-code/issues/79418",
        right="refused with what they must be",
        source=_REFERENCE,
        test=f"{_TOOLS}::test_parameters_without_counterpart_are_refused",
    ),
    Report(
        kind="maps, recursion and large schemas of an answer",
        report=f"{_GITHUB}/BerriAI/litellm/issues/35808",
        right="asked for by an instruction with the schema: a closed map would always be empty",
        source=f"{_OUTPUTS}#json-schema-limitations",
        test=f"{_TOOLS}::test_schema_that_cannot_be_enforced_becomes_instruction",
    ),
    Report(
        kind="maps, recursion and large schemas of strict tools",
        report=f"{_GITHUB}/BerriAI/litellm/issues/35808",
        right="not strict",
        source=f"{_OUTPUTS}#schema-complexity-limits",
        test=f"{_TOOLS}::test_tool_whose_schema_cannot_be_enforced_is_not_strict",
    ),
    Report(
        kind="a schema of the answer for models before 4.5",
        report=f"{_GITHUB}/laurent22/joplin/pull/15801",
        right="asked for by an instruction with the schema",
        source=_OUTPUTS,
        test=f"{_TOOLS}::test_model_before_4_5_gets_schema_as_instruction",
    ),
    # --- cache markers ---
    Report(
        kind="cache_control that is dropped, so that the whole prompt is billed",
        report=f"{_GITHUB}/vellum-ai/vellum-assistant/pull/22191",
        right="sent on tools, system, parts, calls, results and the whole prompt",
        source=_CACHING,
        test=f"{_MARKS}::test_markers_reach_every_place",
    ),
    Report(
        kind="more than four markers",
        report=f"{_GITHUB}/tghamm/Anthropic.SDK/issues/50",
        right="the last four",
        source=_CACHING,
        test=f"{_MARKS}::test_at_most_last_four_markers_are_sent",
    ),
    Report(
        kind="a marker of an hour after one of five minutes",
        report=f"{_CACHING}#mixing-different-ttls",
        right="lowered to five minutes",
        source=f"{_CACHING}#mixing-different-ttls",
        test=f"{_MARKS}::test_hour_after_five_minutes_is_lowered",
    ),
    Report(
        kind="a marker on a blank text",
        report=f"{_CACHING}#what-cannot-be-cached",
        right="on the text before it, or omitted",
        source=f"{_CACHING}#what-cannot-be-cached",
        test=f"{_MARKS}::test_marker_of_blank_text_moves_to_text_before_it_or_is_omitted",
    ),
    Report(
        kind="cache usage in chat completions",
        report=f"{_GITHUB}/mozilla-ai/any-llm/issues/622",
        right="reads and writes are in prompt_tokens_details and within prompt_tokens",
        source=_CACHING,
        test=f"{_MARKS}::test_cache_usage_comes_back_in_prompt_details",
    ),
)
