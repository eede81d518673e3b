"""Token counting: a call that is free at the vendor, and is checked like any other."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import orjson

from costs.core.usage import Usage
from gateway.core.calls import Completion, Hide
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


def not_streamed(_hide: Hide, _seen: SeenOutput) -> NoReturn:
    """Never called: counts are not streamed."""
    raise AssertionError("counts are not streamed")
