"""Kinds of reports about requests to Mistral."""

from __future__ import annotations

from typing import Final

from tests.reports.case import Report

_CHAT: Final = "https://docs.mistral.ai/api/endpoint/chat"
_VALIDATOR: Final = (
    "https://github.com/mistralai/mistral-common/blob/main/src/mistral_common/protocol/instruct/"
    "validator.py"
)
_TESTS: Final = "tests/gateway/apis/test_relayed_mistral.py"
_EMBEDDINGS: Final = "tests/gateway/apis/test_embeddings.py"

REPORTS: Final = (
    Report(
        kind="Any request that OpenAI's schema allows, sent to Mistral",
        report="https://github.com/BerriAI/litellm/issues/8978",
        right="accepted by a checker of the documented rules, or refused here with a sentence; "
        "what is wrong with any vendor (missing results, names, schemas) is left to its 400",
        source=_CHAT,
        test="tests/vendor_rules/mistral/test_translated.py"
        "::test_any_chat_completion_is_accepted_or_refused",
    ),
    Report(
        kind="user, store, verbosity and other fields that do not change the answer",
        report="https://github.com/lofcz/LLMTornado/pull/159",
        right="omitted, and reported",
        source=_CHAT,
        test=f"{_TESTS}::test_field_without_influence_on_answer_is_omitted",
    ),
    Report(
        kind="logit_bias, sound as answers and other fields without a counterpart",
        report="https://github.com/BerriAI/litellm/issues/8978",
        right="refused by name before the call",
        source=_CHAT,
        test=f"{_TESTS}::test_field_with_influence_on_answer_is_refused_by_name",
    ),
    Report(
        kind="seed",
        report="https://github.com/simonw/llm-mistral/issues/2",
        right="sent as random_seed, a negative one as one that is not",
        source=_CHAT,
        test=f"{_TESTS}::test_seed_is_random_seed",
    ),
    Report(
        kind="temperature above 1.5, top_p of 0 or beside a temperature of 0",
        report="https://github.com/SillyTavern/SillyTavern/pull/4856",
        right="within the limits, and reported",
        source=_CHAT,
        test=f"{_TESTS}::test_sampling_is_within_limits",
    ),
    Report(
        kind="reasoning_effort",
        report="https://github.com/dust-tt/dust/pull/27613",
        right="none or high where it can be set, omitted where not; unknown models are left alone",
        source="https://docs.mistral.ai/inference/conversations/reasoning",
        test=f"{_TESTS}::test_nearest_accepted_effort_is_sent",
    ),
    Report(
        kind="The role developer",
        report="https://github.com/danny-avila/LibreChat/issues/4866",
        right="sent as system",
        source=_CHAT,
        test=f"{_TESTS}::test_developer_is_system",
    ),
    Report(
        kind="name, refusal, reasoning_content and cache_control of messages",
        report="https://github.com/charmbracelet/crush/issues/1590",
        right="omitted, a refusal as the text that it is",
        source=_CHAT,
        test=f"{_TESTS}::test_fields_of_other_vendors_messages_are_omitted",
    ),
    Report(
        kind="A system message after an answer or a result",
        report="https://github.com/swarmauri/swarmauri-sdk/issues/162",
        right="put first; as the last of several it may stay (not certain)",
        source=_VALIDATOR,
        test=f"{_TESTS}::test_system_message_after_answer_is_put_first",
    ),
    Report(
        kind="An assistant's message as the last, or as the only one",
        report="https://github.com/huggingface/smolagents/issues/757",
        right="a prefix, after a question",
        source=_VALIDATOR,
        test=f"{_TESTS}::test_last_answer_goes_on_as_it_does_at_other_vendors",
    ),
    Report(
        kind="An assistant's message without text and calls",
        report="https://github.com/OpenHands/OpenHands/issues/8685",
        right="omitted",
        source=_VALIDATOR,
        test=f"{_TESTS}::test_empty_answer_is_omitted",
    ),
    Report(
        kind="Text and calls in one message to old models",
        report="https://github.com/langchain-ai/langchain/issues/21196",
        right="two messages",
        source=_VALIDATOR,
        test=f"{_TESTS}::test_old_models_get_text_and_calls_in_turns",
    ),
    Report(
        kind="Tool call ids that are not nine letters and digits, or collide",
        report="https://github.com/anomalyco/opencode/issues/1680",
        right="replaced alike in call and result, distinct within a turn, the same in each turn",
        source=_VALIDATOR,
        test=f"{_TESTS}::test_ids_of_tool_calls_are_nine_letters_and_digits",
    ),
    Report(
        kind="PDF files, sound and image details in OpenAI's form",
        report="https://github.com/BerriAI/litellm/issues/25531",
        right="document_url, a text of base64, and a detail that exists",
        source=_CHAT,
        test=f"{_TESTS}::test_part_has_form_of_mistral",
    ),
    Report(
        kind="Tools without parameters, $schema and $id in schemas",
        report="https://github.com/BerriAI/litellm/pull/13389",
        right="empty parameters, no identities",
        source=_CHAT,
        test=f"{_TESTS}::test_tools_have_parameters_without_identities",
    ),
    Report(
        kind="tool_choice with allowed_tools",
        report="https://github.com/BerriAI/litellm/pull/39737",
        right="only these tools are sent",
        source=_CHAT,
        test=f"{_TESTS}::test_only_allowed_tools_are_sent",
    ),
    Report(
        kind="user in embeddings",
        report="https://github.com/garrytan/gbrain/pull/3001",
        right="omitted, as are null fields",
        source="https://docs.mistral.ai/api/endpoint/embeddings",
        test=f"{_EMBEDDINGS}::test_mistral_gets_no_field_that_it_refuses",
    ),
    Report(
        kind="dimensions of mistral-embed",
        report="https://github.com/garrytan/gbrain/pull/3001",
        right="1024 is omitted, any other refused by name",
        source="none: the documents give the model one length and do not say what it refuses",
        test=f"{_EMBEDDINGS}::test_only_dimensions_of_first_mistral_model_are_accepted",
    ),
    Report(
        kind="Embeddings of tokens",
        report="https://github.com/langchain-ai/langchain/issues/12854",
        right="decoded, and held by the text's bytes",
        source="https://docs.mistral.ai/api/endpoint/embeddings",
        test=f"{_EMBEDDINGS}::test_mistral_gets_text_of_tokens",
    ),
)
