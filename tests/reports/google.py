"""Kinds of reports about Gemini: how its answers end, and what its models take."""

from __future__ import annotations

from typing import Final

from tests.reports.case import Report

_GITHUB: Final = "https://github.com"
_API: Final = "https://ai.google.dev/api/generate-content"
_REASONS: Final = f"{_API}#FinishReason"
_CALLS: Final = "https://ai.google.dev/gemini-api/docs/function-calling"
_DECLARATIONS: Final = "https://ai.google.dev/api/caching#FunctionDeclaration"
_CONFIG: Final = f"{_API}#v1beta.GenerationConfig"
_LEVELS: Final = "https://ai.google.dev/gemini-api/docs/generate-content/thinking#thinking-levels"
_ENDINGS: Final = "tests/gateway/apis/test_google_endings.py"
_TESTS: Final = "tests/gateway/apis/test_translated_to_google.py"
_TOOLS: Final = "tests/gateway/apis/test_translated_tools_to_google.py"
_ANY: Final = "tests/vendor_rules/google/test_translated.py"

REPORTS: Final = (
    Report(
        kind="Any request that OpenAI's schema allows, sent to Gemini",
        report=f"{_GITHUB}/BerriAI/litellm/issues/18921",
        right="accepted by a checker of the documented rules, or refused with a sentence",
        source=_API,
        test=f"{_ANY}::test_any_request_is_accepted_or_refused_with_sentence",
    ),
    # --- how answers end
    Report(
        kind="A stream of Gemini that ends without a finishReason",
        report=f"{_GITHUB}/google-gemini/gemini-cli/issues/7851",
        right="an error for every client; unknown, and charged as what was seen or reported",
        source=_REASONS,
        test=f"{_ENDINGS}::test_stream_without_finish_reason_is_cut_off",
    ),
    Report(
        kind="A whole answer of Gemini without a finishReason",
        report=f"{_GITHUB}/google-gemini/gemini-cli/issues/8073",
        right="502; unknown, and charged as what it reports, else at its bound",
        source=_REASONS,
        test=f"{_ENDINGS}::test_answer_without_finish_reason_is_cut_off",
    ),
    Report(
        kind="A lone [DONE] from Gemini",
        report=f"{_GITHUB}/SamSaffron/term-llm/pull/954",
        right="no answer: an error, and the client gets no [DONE]",
        source="none: the API has no such event",
        test=f"{_ENDINGS}::test_done_alone_of_google_is_no_answer",
    ),
    Report(
        kind="A chat stream of OpenAI or Mistral without a finish reason, or with [DONE] alone",
        report=f"{_GITHUB}/can1357/oh-my-pi/issues/9433",
        right="cut off: an error, and the client gets no [DONE]; compatible servers that end "
        "without one (qualcomm/GenieX#1243) fail at strict clients too",
        source="https://developers.openai.com/api/reference/resources/chat",
        test=f"{_ENDINGS}::test_chat_stream_without_finish_reason_is_cut_off",
    ),
    Report(
        kind="MALFORMED_FUNCTION_CALL, OTHER and other errors that end as an empty stop",
        report=f"{_GITHUB}/use-brian/use-brian/pull/258",
        right="an error with the reason, charged by the reported usage",
        source=_REASONS,
        test=f"{_ENDINGS}::test_error_of_model_is_no_answer_and_is_billed",
    ),
    Report(
        kind="A call in an answer that ends with MALFORMED_FUNCTION_CALL",
        report=f"{_GITHUB}/NousResearch/hermes-agent/pull/83886",
        right="not passed on: it must not be run",
        source="none: the documents do not describe the content of such an answer",
        test=f"{_ENDINGS}::test_call_in_malformed_answer_is_not_passed_on",
    ),
    Report(
        kind="Reasons of filters that are newer than a client",
        report=f"{_GITHUB}/maximhq/bifrost/pull/2732",
        right="content_filter, also LANGUAGE: what would be written may not be",
        source=_REASONS,
        test=f"{_ENDINGS}::test_other_reasons_are_those_that_clients_know",
    ),
    Report(
        kind="A finishReason in the middle of a stream",
        report=f"{_GITHUB}/0xPlaygrounds/rig/pull/2328",
        right="the last one counts",
        source="none: reported for Google's own tools only",
        test=f"{_ENDINGS}::test_last_of_several_reasons_counts",
    ),
    # --- turns
    Report(
        kind="Only system messages",
        report=f"{_GITHUB}/NousResearch/hermes-agent/pull/57942",
        right="sent as the user's",
        source=_API,
        test=f"{_TESTS}::test_only_system_messages_are_users",
    ),
    Report(
        kind="Empty texts",
        report=f"{_GITHUB}/router-for-me/CLIProxyAPI/issues/1293",
        right="omitted; blank ones are accepted",
        source="none: the error's own text",
        test=f"{_TESTS}::test_empty_texts_are_omitted",
    ),
    Report(
        kind="A history that begins with the assistant",
        report=f"{_GITHUB}/google-gemini/gemini-cli/issues/11814",
        right="a turn of the user before it",
        source=_CALLS,
        test=f"{_TESTS}::test_history_that_begins_with_assistant_has_user_before_it",
    ),
    Report(
        kind="Several messages of the assistant after each other, with calls",
        report=f"{_GITHUB}/google-gemini/gemini-cli/issues/26486",
        right="one turn, with all results in the next",
        source=_CALLS,
        test=f"{_TESTS}::test_turns_of_assistant_are_merged",
    ),
    Report(
        kind="Results in another order than their calls",
        report=f"{_GITHUB}/langchain-ai/langchain/issues/27799",
        right="in the order of the calls, which older models match by place",
        source="none: by id from 3 on, by place before",
        test=f"{_TESTS}::test_results_are_in_order_of_their_calls",
    ),
    Report(
        kind="Calls without an id",
        report=f"{_GITHUB}/WordPress/ai-provider-for-google/issues/45",
        right="a made id for the call and its result",
        source="https://ai.google.dev/gemini-api/docs/whats-new-gemini-3.7",
        test=f"{_TESTS}::test_calls_without_id_get_one_with_their_results",
    ),
    Report(
        kind="Calls without results, results elsewhere or twice",
        report=f"{_GITHUB}/microsoft/vscode/issues/299295",
        right="refused by name, as by OpenAI",
        source=_CALLS,
        test=f"{_TESTS}::test_calls_without_results_are_refused",
    ),
    Report(
        kind="A last turn of the assistant",
        report=f"{_GITHUB}/LibreChat-AI/agents/pull/323",
        right="a turn of the user after it, for models that do not continue their own",
        source="https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/"
        "3-5-flash-lite",
        test=f"{_TESTS}::test_models_that_do_not_continue_their_turn_get_one_of_user",
    ),
    Report(
        kind="Instructions for Gemma 3",
        report=f"{_GITHUB}/lobehub/lobehub/issues/7128",
        right="sent as the user's",
        source="none: the error's own text",
        test=f"{_TESTS}::test_old_gemma_gets_instructions_as_users_and_no_signature",
    ),
    # --- files
    Report(
        kind="PDF, text and sound in chat completions for Gemini",
        report=f"{_GITHUB}/BerriAI/litellm/issues/9798",
        right="sent as inlineData",
        source="https://ai.google.dev/gemini-api/docs/document-processing",
        test=f"{_TESTS}::test_files_of_users_and_tools_are_sent",
    ),
    Report(
        kind="Images of other types, empty ones, and addresses for models that read none",
        report=f"{_GITHUB}/Mai-with-u/MaiBot/issues/1435",
        right="refused by name",
        source="https://ai.google.dev/gemini-api/docs/image-understanding",
        test=f"{_TESTS}::test_images_that_models_do_not_read_are_refused",
    ),
    # --- tools and formats
    Report(
        kind="Names of tools that Gemini rejects",
        report=f"{_GITHUB}/maximhq/bifrost/issues/1979",
        right="replaced everywhere, each by one of its own",
        source=_DECLARATIONS,
        test=f"{_TOOLS}::test_rejected_names_of_tools_are_replaced_everywhere",
    ),
    Report(
        kind="Replaced names of tools in answers",
        report=f"{_GITHUB}/kaitranntt/ccs/issues/25",
        right="the caller's own names",
        source=_DECLARATIONS,
        test=f"{_TOOLS}::test_answer_has_callers_own_names",
    ),
    Report(
        kind="Schemas without properties, and keywords beside $ref",
        report=f"{_GITHUB}/NousResearch/hermes-agent/issues/98928",
        right="sent as parametersJsonSchema; the reference goes into an anyOf",
        source=_CONFIG,
        test=f"{_TOOLS}::test_schema_is_never_dropped",
    ),
    Report(
        kind="Parameters that describe no object, and references to nothing",
        report=f"{_GITHUB}/google-gemini/gemini-cli/issues/13326",
        right="refused by name",
        source=_DECLARATIONS,
        test=f"{_TOOLS}::test_parameters_that_are_none_are_refused",
    ),
    Report(
        kind="A schema that requires itself",
        report=f"{_GITHUB}/juspay/juspay-mcp/pull/132",
        right="refused by name",
        source=_CONFIG,
        test=f"{_TOOLS}::test_schema_that_requires_itself_is_refused",
    ),
    Report(
        kind="A response format beside tools before Gemini 3",
        report=f"{_GITHUB}/googleapis/python-genai/issues/867",
        right="an instruction; enforced where no tool may be called",
        source="none: the error's own text",
        test=f"{_TOOLS}::test_format_beside_tools_is_instruction_on_older_models",
    ),
    # --- settings
    Report(
        kind="temperature and top_p of models that have none",
        report=f"{_GITHUB}/langchain-ai/langchain-google/issues/1897",
        right="omitted",
        source="https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/"
        "3-5-flash-lite",
        test=f"{_TESTS}::test_temperature_and_top_p_are_omitted_where_model_has_none",
    ),
    Report(
        kind="Seeds beyond 32 bits",
        report=f"{_GITHUB}/pollinations/pollinations/pull/6867",
        right="another seed, always the same",
        source=_CONFIG,
        test=f"{_TESTS}::test_seed_is_sent_within_32_bits",
    ),
    Report(
        kind="Penalties",
        report=f"{_GITHUB}/google-gemini/cookbook/issues/1290",
        right="sent to 2.0 and 1.5-002, refused by name elsewhere; 0 has no effect",
        source=f"{_CONFIG}; below 2 as at Vertex AI: this API's documents give no range",
        test=f"{_TESTS}::test_penalties_are_sent_where_models_have_them",
    ),
    Report(
        kind="More than five stop sequences",
        report=f"{_GITHUB}/BerriAI/litellm/issues/18921",
        right="refused by name: without one of them the answer is another",
        source=_CONFIG,
        test=f"{_TESTS}::test_more_than_five_stops_are_refused",
    ),
    Report(
        kind="Efforts that a model does not have",
        report=f"{_GITHUB}/vercel/ai/issues/8027",
        right="the nearest level or budget",
        source=_LEVELS,
        test=f"{_TESTS}::test_effort_is_nearest_that_model_has",
    ),
    Report(
        kind="Token lists for Google's embeddings",
        report=f"{_GITHUB}/langchain-ai/langchain/issues/12854",
        right="sent as their text",
        source="https://ai.google.dev/api/embeddings",
        test="tests/gateway/apis/test_embeddings.py::test_google_gets_text_of_tokens",
    ),
)
