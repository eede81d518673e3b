"""The result of a call, for its client."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from gateway.core.calls import Completion
from orgs.core.frozen import frozen


@frozen
class CallResult:
    """A finished call with its `completion`, charged and recorded.

    `cost_eur` is None if the database was not available: the call is charged when it is.
    """

    request_id: UUID
    provider: str
    model: str
    completion: Completion
    input_tokens: int | None
    output_tokens: int | None
    cost_eur: Decimal | None
    latency_ms: int
