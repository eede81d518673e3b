"""Ask Anthropic how many tokens the input of a request has, which is free.

https://platform.claude.com/docs/en/build-with-claude/token-counting
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.apis import counting
from gateway.apis.messages.request import VERSION_WITH_SAMPLING, headers_from, request_from
from gateway.core.calls import ProviderCall, RelayRequest
from gateway.core.providers import MESSAGES

COUNT_PATH: Final = "/v1/messages/count_tokens"
# The vendor answers 400 to every other field: `MessageCountTokensParams` of the anthropic SDK.
_COUNTED: Final = frozenset(
    {
        *("model", "messages", "system", "tools", "tool_choice", "thinking", "cache_control"),
        *("context_management", "output_config", "output_format", "speed"),
    }
)


def input_count(fields: Mapping[str, Any], *, headers: Mapping[str, str]) -> RelayRequest:
    """Return the request for the input tokens of a body of `/v1/messages`."""
    counted = {name: value for name, value in fields.items() if name in _COUNTED}
    return counting.input_count(
        MESSAGES,
        COUNT_PATH,
        orjson.dumps(counted),
        headers=headers,
        model=fields["model"],
        reported_as="input_tokens",
    )


def input_count_of(call: ProviderCall) -> RelayRequest:
    """Return the request for the input tokens of a call."""
    headers = {
        "content-type": "application/json",
        "anthropic-version": VERSION_WITH_SAMPLING,
        **headers_from(call),
    }
    return input_count(request_from(call), headers=headers)
