"""Any chat completion is accepted by Mistral, refused here, or left to its judgement."""

from __future__ import annotations

import re
from typing import Any, Final

from hypothesis import given, settings

from gateway.apis.chat.chat import ChatCompletions
from gateway.core.errors import Refused
from tests.gateway.arrivals import body_of, model, read, sent
from tests.vendor_rules.mistral import body as mistral
from tests.vendor_rules.requests import chat_requests

MODELS: Final = (
    *("mistral-large-latest", "mistral-small-latest", "mistral-small-2506", "mistral-medium-3-5"),
    *(
        "magistral-medium-latest",
        "codestral-latest",
        "devstral-medium-latest",
        "ministral-8b-latest",
    ),
    *("open-mistral-nemo", "pixtral-12b", "mistral-large-4-0"),
    "ft:open-mistral-7b:daf5e488:20240430:c1bed559",
)
# What is wrong with any vendor: results that are missing or in another order, names, schemas.
LEFT_TO_VENDOR: Final = re.compile(
    r"Not the same number of function calls and responses"
    r"|Unexpected or duplicate tool call id in tool results"
    r"|Unexpected role tool after role "
    r"|Expected last role user or tool "  # after tool calls without results
    r"|Function name was |Invalid tool schema of ",
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
    found = [fault for fault in mistral.faults(body_of(relayed)) if not LEFT_TO_VENDOR.match(fault)]
    assert found == []
