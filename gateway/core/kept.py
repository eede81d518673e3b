"""What a provider keeps for an organization: responses, their items, conversations.

A call names them by the ids that the provider gave. The gateway knows which organization got each,
and the most tokens that naming it adds to a call's input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID

from gateway.core.model_names import Model
from orgs.core.frozen import frozen

if TYPE_CHECKING:
    from gateway.core.calls import Call

ID_MAX_CHARS: Final = 128
_ID: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{ID_MAX_CHARS}}}")
# Of one answer; items beyond are not known later.
GIVEN_MAX: Final = 1000
# Of one organization. Nothing but their deletion ends them.
CONVERSATIONS_MAX: Final = 10_000
# The vendor keeps responses for 30 days, conversations until they are deleted:
# https://developers.openai.com/api/docs/guides/conversation-state
KEPT_FOR: Final = timedelta(days=30)


class KeptKind(StrEnum):
    """What an id names."""

    RESPONSE = "response"
    ITEM = "item"
    CONVERSATION = "conversation"


def is_id(text: object) -> bool:
    """Whether a text can be an id: it also becomes part of a provider's address."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class GivenId:
    """An id in a provider's answer."""

    id: str
    kind: KeptKind = KeptKind.ITEM


@frozen
class KeptTokens:
    """The most tokens that something kept has: counted for `model`; without one, for any.

    None is unknown: as many as fit in a context.
    """

    tokens: int | None
    model: str = ""

    def at_most(self, model: Model) -> int:
        """Return the most tokens for a model: another one's tokenizer may make more of them."""
        if self.tokens is None or self.model not in ("", model.id):
            return model.context_tokens
        return min(self.tokens, model.context_tokens)


@frozen
class Kept:
    """One thing that a provider keeps, as the database has it.

    What one request made known of one kind is counted once: `tokens` are those of all together.
    `turn` is the request that last began to add to a conversation, if its end is not known;
    `is_taken` says that it still runs.
    """

    id: str
    provider: str
    kind: KeptKind
    tokens: KeptTokens
    request_id: UUID
    turn: UUID | None = None
    is_taken: bool = False


@frozen
class NamedIds:
    """The ids that a call names of what its provider keeps.

    `known` returns the call as it is checked, given whether its organization lets the provider
    keep anything and which of the ids are its own. Raises Refused for others. `found` are those
    of the ids that any provider gave to the organization, the newest first, and `stores` whether
    it lets providers keep anything.
    """

    ids: tuple[str, ...]
    known: Callable[[Call, bool, Mapping[str, Kept]], Call]
    is_new_conversation: bool = False
    found: tuple[Kept, ...] = ()
    stores: bool = False

    @property
    def given_by(self) -> str | None:
        """The provider that gave the first id of those that are known; None if none is."""
        given = (kept.provider for id_ in self.ids for kept in self.found if kept.id == id_)
        return next(given, None)

    def at(self, call: Call, provider: str) -> Call:
        """Return the call as it is checked at a provider, which knows the ids that it gave.

        Raises Refused for others.
        """
        found = {kept.id: kept for kept in self.found if kept.provider == provider}
        return self.known(call, self.stores, found)


@frozen
class Growth:
    """Tokens that a client adds to a conversation by itself; None is an unknown number."""

    conversation: str
    tokens: int | None


@frozen
class Keeping:
    """What a call changes in what is known to be kept.

    `gives` says that the answer's ids are kept. They have these `tokens`, or without any the whole
    input and output of the call, which its usage reports if it `is_exact`. The answer is added to
    `turn`, a conversation that no other call may use meanwhile. `forgets` is what the call deletes.
    """

    gives: bool = False
    tokens: KeptTokens | None = None
    is_exact: bool = True
    turn: Kept | None = None
    grows: Growth | None = None
    forgets: str | None = None

    @property
    def is_measured(self) -> bool:
        """Whether the usage says how many tokens the ids have that the answer gives."""
        return self.gives and self.tokens is None


def tokens_of(kept: Iterable[Kept]) -> tuple[KeptTokens, ...]:
    """Return the tokens that naming these, each once, adds to a call's input."""
    most: dict[tuple[UUID, KeptKind], KeptTokens] = {}
    for each in kept:
        key = (each.request_id, each.kind)
        most[key] = _larger(most.get(key, each.tokens), each.tokens)
    return tuple(most.values())


def _larger(one: KeptTokens, other: KeptTokens) -> KeptTokens:
    if one.tokens is None or other.tokens is None:
        return one if one.tokens is None else other
    return one if one.tokens >= other.tokens else other
