"""What OpenAI or a row stores: responses and conversations, read, changed, deleted for nothing.

Only the organization's own: the first id of a path is one that it got. An item is looked for in
what that names.

https://developers.openai.com/api/reference/resources/conversations
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import orjson

from costs.core.usage import Usage
from gateway.apis import counting, openai_errors
from gateway.apis.arrival import Arrival, objects, refuse_elsewhere
from gateway.apis.base import Speaker
from gateway.apis.responses.answer import item_ids
from gateway.apis.responses.headers import sent_headers
from gateway.apis.responses.named import (
    NO_IDS,
    NOT_STORED,
    KnownIds,
    Named,
    named_in,
    not_found,
)
from gateway.apis.responses.responses import canonical
from gateway.apis.responses.usage_bound import RULES, usage_bound_of
from gateway.core import bounds
from gateway.core.calls import Call, Completion, RelayRequest
from gateway.core.kept import (
    GivenId,
    Growth,
    Keeping,
    Kept,
    KeptKind,
    KeptTokens,
    NamedIds,
    is_id,
)
from gateway.core.model_names import Model
from gateway.core.providers import OPENAI, RESPONSES
from gateway.core.request_body import invalid
from gateway.core.strict_json import shown
from gateway.core.usage_bound import OutputCap, UsageBound
from gateway.upstream import untrusted_json
from orgs.core.pseudonyms import Pseudonyms
from orgs.core.values import quoted

_DELETE, _POST = "DELETE", "POST"
_ITEMS: Final = "items"
# Of any other field it is not known what it would add to a conversation.
_FIELDS: Final = frozenset({_ITEMS, "metadata"})
# The parameters of lists, and of what is included. A stream would have to be read.
_QUERY: Final = frozenset({"include", "include[]", "limit", "order", "after", "before"})


class Stored:
    """The Dialect of what is stored: `path` has a place for each id, the first one of a `kind`.

    Without ids a conversation is made. `has_items` says that items are sent and answered.
    """

    key_headers: tuple[str, ...] = ()
    refusals = openai_errors.REFUSALS
    error = staticmethod(openai_errors.error)
    error_event = staticmethod(openai_errors.error_event)

    def __init__(self, path: str, kind: KeptKind, *, has_items: bool = False) -> None:
        self.channel = f"{kind}s"
        self._path = path
        self._kind = kind
        self._has_items = has_items

    def read(self, arrival: Arrival) -> Call:
        """Parse a request into a Call. Raises Refused."""
        fields = arrival.fields
        query = _query_of(arrival)
        refuse_elsewhere(fields)
        RULES.buckets_of({name: fields[name] for name in fields.keys() - {_ITEMS}})
        for name in fields.keys() - _FIELDS:
            raise invalid(f"{shown(name)} is not supported at this path")
        items = objects(fields, _ITEMS)
        usage_bound = _usage_bound_of(items)
        named = named_in({}, items)
        for inner in arrival.ids[1:]:
            if not is_id(inner):
                raise not_found(inner, KeptKind.ITEM)
        body = StoredBody(
            arrival=arrival,
            path=self._path.format(*arrival.ids) + query,
            kind=self._kind,
            has_items=self._has_items,
            added=None if named.ids else _tokens_at_most(usage_bound),
        )
        return Call(
            model=self.channel,  # for lists of requests
            provider=OPENAI,  # unless another provider gave the first id
            body=body,
            identity=arrival.identity,
            usage_bound=counting.free(usage_bound),
            dimensions=arrival.dimensions,
            idempotency_key=arrival.idempotency_key,
            named=NamedIds(
                ids=(*arrival.ids[:1], *named.ids),
                known=partial(_known, named),
                is_new_conversation=body.own is None,
            ),
        )

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: all answers are relayed."""
        raise AssertionError("what is stored is relayed")


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A request about what is stored. `added` are the tokens of its items, None if unknown."""

    arrival: Arrival
    path: str
    kind: KeptKind
    has_items: bool
    added: int | None
    known: KnownIds = NO_IDS

    @property
    def own(self) -> str | None:
        """The id of what is read, changed or deleted; None for a new conversation."""
        return self.arrival.ids[0] if self.arrival.ids else None

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay the request."""
        is_posted = self.arrival.method == _POST
        typed = {"content-type": "application/json"} if is_posted else {}
        return RelayRequest(
            dialect=RESPONSES,
            method=self.arrival.method,
            path=self.path,
            body=orjson.dumps(self.arrival.fields) if is_posted else b"",
            output=None,
            headers={**typed, **sent_headers(self.arrival.headers)},
            whole=self._answered,
            reading=counting.not_streamed,
            keeping=self._keeping(),
        )

    def canonical(self) -> object:
        """Return the items, as messages of a response."""
        items = self.arrival.fields.get(_ITEMS)
        return canonical({"input": items}) if items else []

    def _keeping(self) -> Keeping | None:
        added = KeptTokens(tokens=self.added)
        if self.own is None:
            return Keeping(gives=True, tokens=added)
        is_deleted = self.arrival.method == _DELETE
        if not self.has_items:
            return Keeping(forgets=self.own) if is_deleted else None
        if self.arrival.method == _POST:
            growth = Growth(conversation=self.own, tokens=self.added)
            return Keeping(gives=True, tokens=added, grows=growth)
        # Each is part of what it was found in.
        return None if is_deleted else Keeping(gives=True, tokens=self.known.found[self.own].tokens)

    def _answered(self, body: bytes) -> Completion:
        report = untrusted_json.mapping(orjson.loads(body))
        given: list[GivenId] = []
        if self.own is None:
            given = [GivenId(untrusted_json.text(report.get("id")), KeptKind.CONVERSATION)]
        elif self.has_items:
            given = item_ids(report.get("data") or [report])
        return Completion(model="", finish_reason=None, usage=Usage(), given=tuple(given))


def _known(named: Named, call: Call, stores: bool, found: Mapping[str, Kept]) -> Call:
    body = cast("StoredBody", call.body)
    known = KnownIds(stores=stores, found=found)
    is_deleted = body.arrival.method == _DELETE  # also what was stored before it was turned off
    if not stores and not is_deleted:
        raise invalid(NOT_STORED.format(f"/v1{body.path.partition('?')[0]}"))
    if body.own is not None and (body.own not in found or found[body.own].kind is not body.kind):
        raise not_found(body.own, body.kind)
    named.check(known)
    return replace(call, body=replace(body, known=known))


def _usage_bound_of(items: object) -> UsageBound:
    """Return the bound of the items in a body, which may name ids only as a response's may."""
    return usage_bound_of({"input": items}) if items else UsageBound()


def _tokens_at_most(usage_bound: UsageBound) -> int | None:
    """Return the most tokens of items for any model; None if that depends on it."""
    if usage_bound.images or usage_bound.pages or usage_bound.context_reads:
        return None
    frames = bounds.MESSAGE_FRAME_TOKENS * usage_bound.messages
    return bounds.text_bytes(usage_bound) + frames + usage_bound.overhead_tokens


def _query_of(arrival: Arrival) -> str:
    """Return the query that is sent. Raises Refused for a parameter that is not supported."""
    given = parse_qsl(arrival.path.partition("?")[2], keep_blank_values=True)
    for name, _ in given:
        if name not in _QUERY:
            known = ", ".join(sorted(_QUERY))
            raise invalid(f"Unknown parameter {quoted(name)}. Known parameters: {known}")
    return f"?{urlencode(given)}" if given else ""
