"""Counting tokens: a call that a vendor answers for nothing, and that is judged all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import orjson

from costs.core.usage import Usage
from gateway.core.calls import Completion
from gateway.core.usage_bound import UsageBound
from gateway.upstream import untrusted_json


def free(usage_bound: UsageBound) -> UsageBound:
    """Return the bound of counting what would be asked: nothing is used, nothing is written."""
    return replace(usage_bound, is_free=True, has_output=False, unbounded=None)


def counted(body: bytes, *, model: str) -> Completion:
    """Read a vendor's count. Raises ErrorAnswer for an error that came as a success."""
    untrusted_json.raise_for_error(orjson.loads(body))
    return Completion(model=model, finish_reason=None, usage=Usage())


def not_streamed() -> NoReturn:
    """Stand for a reading where there is no stream."""
    raise AssertionError("a count comes whole")
