"""Any chat completion is accepted by OpenAI, refused here, or left to its judgement."""

from __future__ import annotations

import re
from typing import Any, Final

from hypothesis import given, settings

from gateway.apis.chat.chat import ChatCompletions
from gateway.core.errors import Refused
from tests.gateway.arrivals import body_of, model, read, sent
from tests.vendor_rules.openai import body as openai
from tests.vendor_rules.requests import chat_requests

MODELS: Final = (
    *("gpt-4o-mini", "gpt-4.1", "gpt-3.5-turbo", "gpt-4", "gpt-4o-search-preview"),
    *("o1", "o1-mini", "o3-mini", "o3", "o4-mini", "o3-pro"),
    *("gpt-5", "gpt-5-mini", "gpt-5-chat-latest", "gpt-5-codex", "gpt-5.1", "gpt-5.2-chat-latest"),
    *("gpt-5.4", "gpt-5.5", "gpt-5.6-sol", "gpt-6-luna", "gpt-6-astra", "gpt-6.1-sol"),
    "ft:gpt-4o-mini-2024-07-18:acme::abc",
)
# What gives the answer another meaning, has a field at this vendor, and is answered by its 400,
# which names it; or what is wrong with any vendor: results that are missing, names, an empty list.
LEFT_TO_VENDOR: Final = re.compile(
    r".* does not take (?:n|logprobs|top_logprobs|logit_bias|prediction|web_search_options|audio"
    r"|modalities|stop|tools|functions)(?: as it reasons)?$"
    r"|.* takes no (?:tools|response_format)$|.* does not take a json_schema$"
    r"|.* takes messages of user and assistant only$|.* does not read images$"
    r"|.* is not accepted with a prediction$"
    r"|messages must contain the word json for a json_object$"
    r"|.* is the result of no preceding call$|.* comes before the result of |.* has no result$"
    r"|tools\[\d+\]\.function\.name must be letters"
    r"|messages(?:\[\d+\])?.* (?:must have at least 1 entries|is empty|or )"
    r"|tool_choice needs tools$",
    re.DOTALL,  # names and ids may have line breaks
)


@given(chat_requests(MODELS))
@settings(max_examples=400)
def test_any_chat_completion_is_accepted_or_refused(fields: dict[str, Any]) -> None:
    to = model(fields["model"])
    try:
        relayed = sent(read(ChatCompletions(), fields), to)
    except Refused as refused:
        assert refused.status == 400
        return
    found = [fault for fault in openai.faults(body_of(relayed)) if not LEFT_TO_VENDOR.match(fault)]
    assert found == []
