"""The ids in a body of the Responses API: those that its provider gave to the organization work.

All organizations of an installation share one account at OpenAI, in which every id would work.

https://developers.openai.com/api/docs/guides/conversation-state
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol, cast

from gateway.core.calls import Call, RequestBody
from gateway.core.errors import NotKept
from gateway.core.kept import ID_MAX_CHARS, Kept, KeptKind, NamedIds, tokens_of
from gateway.core.request_body import invalid
from orgs.core.frozen import frozen

NOT_STORED: Final = (
    "{} is not supported: this organization's answers are not stored at the provider; send the "
    "conversation as input, or let an admin turn storage on (Settings, or: manage.py orgs store "
    "SLUG on)"
)
_PREVIOUS, _CONVERSATION, _INPUT = "previous_response_id", "conversation", "input"
# The vendor's words, which clients know.
_WORDS: Final = {
    KeptKind.RESPONSE: "Response with id '{}' not found.",
    KeptKind.ITEM: "Item with id '{}' not found.",
    KeptKind.CONVERSATION: "Conversation with id '{}' not found.",
}


@frozen
class KnownIds:
    """What is known of a body's ids: those of the organization, and whether it stores answers."""

    stores: bool = False
    found: Mapping[str, Kept] = field(default_factory=dict)

    def sent(self, items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the items that are sent: reasoning of which nothing is kept is not needed."""
        return [item for item in items if not is_only_an_id(item) or item.get("id") in self.found]


NO_IDS: Final = KnownIds()


class NamingBody(RequestBody, Protocol):
    """A body that may name ids: built again once they are known."""

    def with_known(self, known: KnownIds) -> RequestBody:
        """Return the body with what is known of its ids."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """The ids of a body: of a response, a conversation, of items, and of items of reasoning.

    Clients send their reasoning as it came. Where nothing of it was kept, it is not needed.
    """

    previous: str | None
    conversation: str | None
    items: tuple[str, ...]
    reasoning: tuple[str, ...]
    needs_reasoning: bool

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them."""
        first = (id_ for id_ in (self.previous, self.conversation) if id_ is not None)
        return (*first, *self.items, *self.reasoning)

    @property
    def first_field(self) -> str | None:
        """The first field that names what must have been kept."""
        if self.previous is not None:
            return _PREVIOUS
        if self.conversation is not None:
            return _CONVERSATION
        return "item_reference in input" if self.items else None

    def check(self, known: KnownIds) -> None:
        """Raise Refused for an id that is not the organization's."""
        if not known.stores and (first := self.first_field) is not None:
            raise invalid(NOT_STORED.format(first))
        for id_, kind, param in self._needed(stores=known.stores):
            found = known.found.get(id_)
            if found is None or found.kind is not kind:
                raise not_found(id_, kind, param=param)

    def _needed(self, *, stores: bool) -> Iterator[tuple[str, KeptKind, str]]:
        if self.previous is not None:
            yield self.previous, KeptKind.RESPONSE, _PREVIOUS
        if self.conversation is not None:
            yield self.conversation, KeptKind.CONVERSATION, _CONVERSATION
        needed = (*self.items, *(self.reasoning if stores and self.needs_reasoning else ()))
        for id_ in needed:
            yield id_, KeptKind.ITEM, _INPUT


def named_in(fields: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> Named:
    """Return the ids that a body and its items name. Raises Refused, which names the field."""
    references: list[str] = []
    reasoning: list[str] = []
    for item in items:
        if is_reference(item):
            references.append(_text(item.get("id"), "item_reference.id"))
        elif is_only_an_id(item) and isinstance(item.get("id"), str):
            reasoning.append(item["id"])
    conversation = fields.get(_CONVERSATION)
    if isinstance(conversation, dict):
        conversation = _text(conversation.get("id"), f"{_CONVERSATION}.id")
    return Named(
        previous=_optional(fields.get(_PREVIOUS), _PREVIOUS),
        conversation=_optional(conversation, _CONVERSATION),
        items=tuple(references),
        reasoning=tuple(reasoning),
        needs_reasoning=fields.get("store") is not False,
    )


def is_reference(item: Mapping[str, Any]) -> bool:
    """Whether an item is only the id of a stored one."""
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "role" not in item)


def is_only_an_id(item: Mapping[str, Any]) -> bool:
    """Whether a reasoning item has only its id: its content would have to be stored."""
    return item.get("type") == "reasoning" and not item.get("encrypted_content")


def naming(call: Call, named: Named) -> Call:
    """Return the call with the ids that its body names."""
    ids = NamedIds(ids=named.ids, known=partial(_known, named))
    return replace(call, named=ids)


def _known(named: Named, call: Call, stores: bool, found: Mapping[str, Kept]) -> Call:
    known = KnownIds(stores=stores, found=found)
    named.check(known)
    own = [id_ for id_ in named.ids if stores and id_ in found]
    if len({*own}) < len(own):  # the vendor refuses them too; each is counted once
        raise invalid("input must not name the same item twice")
    kept = tokens_of(found[id_] for id_ in own)
    return replace(
        call,
        body=cast("NamingBody", call.body).with_known(known),
        usage_bound=replace(call.usage_bound, kept=kept),
    )


def not_found(id_: str, kind: KeptKind, *, param: str | None = None) -> NotKept:
    """Return the refusal of an id: the same of another organization's and of one that never was."""
    shown = id_[:ID_MAX_CHARS]
    if param == _PREVIOUS:
        sentence = f"Previous response with id '{shown}' not found."
        return NotKept(sentence, param=param, code="previous_response_not_found")
    return NotKept(_WORDS[kind].format(shown), param=param)


def _optional(value: object, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"{where} must be a string")
    return value
