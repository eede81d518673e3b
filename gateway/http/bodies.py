"""Parse bodies: small ones at once, large ones in a thread, where callers take turns.

Parsing, measuring and hashing 7 MiB takes up to half a second, in which the event loop would
answer no other organization.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gateway.core.calls import Call, Principal
from gateway.core.errors import Refused
from gateway.core.strict_json import values_at_most
from orgs.threads import BODIES, TooManyWaiting

# Together they take 3 ms at most, about as long as the rest of a request.
INLINE_MAX_BYTES: Final = 64 * 1024
INLINE_MAX_VALUES: Final = 2_000
WAITING_MAX: Final = 32  # of one organization


async def parsed(principal: Principal, body: bytes, parse: Callable[[], Call]) -> Call:
    """Return the call that `parse` makes of the body. Raises Refused: 429 if too many wait."""
    if len(body) <= INLINE_MAX_BYTES and values_at_most(body) <= INLINE_MAX_VALUES:
        return parse()
    try:
        call = await BODIES.run(principal.org_id, parse, waiting_max=WAITING_MAX)
    except TooManyWaiting as exc:
        sentence = "Too many large requests of this organization are waiting; try again later"
        raise Refused("rate_limited", sentence, status=429, retry_after_s=1) from exc
    return replace(call, is_large=True)
