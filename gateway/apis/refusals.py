"""What kind a refusal by a limit is: each vendor's clients have a status and words for it.

Agents and libraries decide by these whether to repeat a call, and what to show: of a 403 many say
that signing in failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.core.errors import AlreadyDone, GatewayError, NoRoom, Refused


class Kind(Enum):
    """Why a call is refused: for its model, its size, or for money that is spent or held."""

    MODEL = "model"
    REQUEST = "request"
    SPENT = "spent"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Words:
    """How a vendor says it: a status, a type, and a code of its own if it has one.

    `sentence_header` is where a client reads the sentence that shows no other.
    """

    status: int
    type: str
    code: str | None = None
    sentence_header: str | None = None


Wordings = Mapping[Kind, Words]
# Statuses of refusals that a later call may not get.
_PASSING: Final = frozenset({408, 409, 429, 503})
_KINDS: Final = {
    "model_blocked": Kind.MODEL,
    "model_not_allowed": Kind.MODEL,
    "token_limit": Kind.REQUEST,
    "model_unpriced": Kind.REQUEST,
    "web_search_limit": Kind.REQUEST,
}


def words_for(error: GatewayError, wordings: Wordings) -> Words | None:
    """Return a vendor's words for a refusal; None for any other error, which keeps its status."""
    if isinstance(error, NoRoom):
        return wordings[Kind.HELD if error.is_held else Kind.SPENT]
    kind = _KINDS.get(error.code) if isinstance(error, Refused) else None
    return None if kind is None else wordings[kind]


def is_final(error: GatewayError) -> bool:
    """Whether a repeated call would be refused as well.

    Only time or a person can change that: the end of a limit's period, an administrator, the
    caller.
    """
    if isinstance(error, NoRoom):
        return not error.is_held
    is_passing = error.status in _PASSING and not isinstance(error, AlreadyDone)
    return isinstance(error, Refused) and not is_passing
