"""Token counting: a call that is free at the vendor, and is checked like any other.

The gateway itself asks for the count of a request for which there is little room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

import orjson

from costs.core.usage import Usage
from gateway.core.calls import Completion, Hide, RelayRequest
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import UsageBound
from gateway.upstream import untrusted_json


def free(usage_bound: UsageBound) -> UsageBound:
    """Return the bound of counting a request: no usage and no output."""
    return replace(usage_bound, is_free=True, output=None, unbounded=None)


def counted(body: bytes, *, model: str) -> Completion:
    """Parse a vendor's count. Raises ErrorAnswer for an error with a success status."""
    untrusted_json.raise_for_error(orjson.loads(body))
    return Completion(model=model, finish_reason=None, usage=Usage())


def input_count(  # noqa: PLR0913  what a request has
    dialect: str,
    path: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    model: str,
    reported_as: str,
) -> RelayRequest:
    """Return the gateway's own request for a count, which the vendor's answer has `reported_as`.

    Its usage are the counted tokens, None if the answer has no such number.
    """

    def read(answer: bytes) -> Completion:
        report = untrusted_json.mapping(orjson.loads(answer))
        untrusted_json.raise_for_error(report)
        usage = untrusted_json.usable(
            report, lambda found: Usage(input_uncached=untrusted_json.count(found, reported_as))
        )
        return Completion(model=model, finish_reason=None, usage=usage)

    return RelayRequest(
        dialect=dialect,
        path=path,
        body=body,
        output=None,
        headers=headers,
        whole=read,
        reading=not_streamed,
    )


def not_streamed(_hide: Hide, _seen: SeenOutput) -> NoReturn:
    """Never called: counts are not streamed."""
    raise AssertionError("counts are not streamed")
