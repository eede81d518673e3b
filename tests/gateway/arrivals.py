"""Requests read by a dialect, without a gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson
import pytest

from gateway.apis.arrival import Arrival, fields_of
from gateway.apis.base import Dialect
from gateway.core.calls import Call, Dimensions, RelayRequest
from gateway.core.errors import Refused
from gateway.core.model_names import Model
from gateway.core.usage_bound import OutputCap, UsesLimit
from gateway.providers.catalog import load_catalog
from orgs.core.pseudonyms import Pseudonyms, keyed_by

CATALOG: Final = load_catalog(sandbox=False)
TIMEOUT_S: Final = 5.0
NAMES: Final = Pseudonyms(keyed_by(b"a secret for tests", UUID(int=1)))


def model(name: str) -> Model:
    """Return a model of the catalog."""
    found = CATALOG.find(name)
    assert found is not None
    return found


def arrived(fields: Mapping[str, Any], **more: Any) -> Arrival:
    """Return the arrival of a body, parsed from its bytes."""
    raw = json.dumps(fields).encode()
    ordinary: dict[str, Any] = {"headers": {}, "dimensions": Dimensions()}
    return Arrival(raw=raw, fields=fields_of(raw), **ordinary | more)


def read(dialect: Dialect, fields: Mapping[str, Any], **more: Any) -> Call:
    """Return the call of a body."""
    return dialect.read(arrived(fields, **more))


def refusal(dialect: Dialect, fields: Mapping[str, Any], **more: Any) -> str:
    """Return the sentence with which a body is refused, with or without limits."""
    with pytest.raises(Refused) as refused:
        read(dialect, fields, **more)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    return refused.value.message


def sent(
    call: Call,
    to: Model,
    *,
    cap: int | None = None,
    is_limited: bool = False,
    searches: UsesLimit | None = None,
) -> RelayRequest:
    """Return the request that is sent, with the given cap written into it, and limits of tools."""
    tokens = cap or to.max_output_tokens
    written = OutputCap(
        tokens, is_written=cap is not None, is_limited=is_limited, searches=searches
    )
    request = call.body.outgoing(to, written, timeout_s=TIMEOUT_S, names=NAMES)
    assert isinstance(request, RelayRequest)
    return request


def unchanged(error: object) -> object:
    """Return an error of a stream as it is: there is no key to hide."""
    return error


def body_of(request: RelayRequest) -> Any:
    """Return the parsed body that is sent."""
    return orjson.loads(request.body)
