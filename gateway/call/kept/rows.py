"""The rows of what providers keep: each function is one short transaction, in a thread."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, Exists, F, OuterRef, QuerySet
from django.db.models.expressions import RawSQL
from django.utils.timezone import now

from costs.ledger.stores.base import Store
from gateway.core.kept import (
    CONVERSATIONS_MAX,
    KEPT_FOR,
    GivenId,
    Keeping,
    Kept,
    KeptKind,
    KeptTokens,
    NamedIds,
    is_id,
)
from gateway.models import AiRequestLog, KeptId
from orgs.core.frozen import frozen

# As many as a busy process may store between two runs, so that none grows a backlog.
FORGOTTEN_AT_ONCE_MAX: Final = 5_000
# As in the conditions of indexes: SQLite compares their texts, and takes none for a value's.
IS_CONVERSATION: Final = RawSQL("kind = 'conversation'", (), BooleanField())
_KEY: Final = ("org_id", "provider", "provider_id")


@frozen
class Owner:
    """The organization that a provider keeps something for, and the request that is about it."""

    org_id: UUID
    provider: str
    request_id: UUID

    @property
    def rows(self) -> QuerySet[KeptId]:
        """All that the provider keeps for the organization."""
        return KeptId.objects.filter(org_id=self.org_id, provider=self.provider)


@frozen
class FoundKept:
    """The named things that are the organization's, and whether it may have more conversations."""

    known: tuple[Kept, ...] = ()
    has_room: bool = True


def find(org_id: UUID, named: NamedIds, providers: Collection[str]) -> FoundKept:
    """Return the organization's things at these providers among the named ids, the newest first.

    The query is the same for an id of another organization and for one that never was.
    """
    known: tuple[Kept, ...] = ()
    if named.ids:
        running = AiRequestLog.objects.filter(id=OuterRef("turn"), status="pending")
        rows = KeptId.objects.filter(
            org_id=org_id,
            provider__in=providers,
            provider_id__in=[id_ for id_ in named.ids if is_id(id_)],
        )
        newest_first = rows.order_by("-created_at", "provider")
        known = tuple(map(_kept, newest_first.annotate(is_taken=Exists(running))))
    if not named.is_new_conversation:
        return FoundKept(known=known)
    conversations = KeptId.objects.filter(IS_CONVERSATION, org_id=org_id)
    has_room = conversations[:CONVERSATIONS_MAX].count() < CONVERSATIONS_MAX
    return FoundKept(known=known, has_room=has_room)


def _kept(row: KeptId) -> Kept:
    tokens = row.tokens if row.turn is None else None
    return Kept(
        id=row.provider_id,
        provider=row.provider,
        kind=KeptKind(row.kind),
        tokens=KeptTokens(tokens=tokens, model=row.model),
        request_id=row.request_id,
        turn=row.turn,
        is_taken=row.is_taken,  # type: ignore[attr-defined]  # annotated by `find`
    )


def give(owner: Owner, given: Iterable[GivenId], tokens: Mapping[KeptKind, KeptTokens]) -> None:
    """Keep the ids of the request's own answer, each with the tokens of its kind.

    An id that is known already, which a provider gives no two answers, is this answer's then.
    """
    KeptId.objects.bulk_create(
        _new(owner, given, tokens),
        update_conflicts=True,
        unique_fields=_KEY,
        update_fields=("kind", "tokens", "model", "request_id", "created_at"),
    )


def give_more(owner: Owner, given: Iterable[GivenId], tokens: KeptTokens) -> None:
    """Keep those ids that are not known yet; known ones keep their tokens."""
    rows = _new(owner, given, dict.fromkeys(KeptKind, tokens))
    KeptId.objects.bulk_create(rows, ignore_conflicts=True)


def _new(
    owner: Owner, given: Iterable[GivenId], tokens: Mapping[KeptKind, KeptTokens]
) -> list[KeptId]:
    moment = now()
    return [
        KeptId(
            org_id=owner.org_id,
            provider=owner.provider,
            provider_id=each.id,
            kind=each.kind,
            tokens=tokens[each.kind].tokens,
            model=tokens[each.kind].model,
            request_id=owner.request_id,
            created_at=moment,
        )
        for each in given
    ]


def end(owner: Owner, keeping: Keeping, tokens: Mapping[KeptKind, KeptTokens]) -> None:
    """Write the end of an answer, of known usage: the tokens of its ids, its turn's, and what the
    provider has deleted.
    """
    with transaction.atomic():
        for kind, counted in tokens.items() if keeping.is_measured else ():
            rows = owner.rows.filter(request_id=owner.request_id, kind=kind)
            rows.update(tokens=counted.tokens, model=counted.model)
        if keeping.turn is not None:
            end_turn(owner, keeping.turn, tokens[KeptKind.RESPONSE])
        if keeping.forgets is not None:
            owner.rows.filter(provider_id=keeping.forgets).delete()


# --- conversations ----------------------------------------------------------------------------


def take(owner: Owner, kept: Kept) -> bool:
    """Take the turn in a conversation, unless it is no more as it was found.

    Its tokens count from 0 then: clients may add to it meanwhile. One whose last turn did not end
    has unknown tokens anyway.
    """
    rows = _conversation(owner, kept.id)
    if kept.turn is not None:
        rows = rows.filter(turn=kept.turn)
    elif kept.tokens.tokens is None:
        rows = rows.filter(turn=None, tokens=None)
    else:
        rows = rows.filter(turn=None, tokens=kept.tokens.tokens)
    is_ours = _conversation(owner, kept.id).filter(turn=owner.request_id)
    return rows.update(turn=owner.request_id, tokens=0) > 0 or is_ours.exists()


def end_turn(owner: Owner, kept: Kept, tokens: KeptTokens) -> None:
    """End the request's turn: the conversation has these tokens, and what clients added."""
    rows = _conversation(owner, kept.id).filter(turn=owner.request_id)
    if tokens.tokens is None:
        rows.update(turn=None, tokens=None, model=tokens.model)
    else:
        rows.update(turn=None, tokens=F("tokens") + tokens.tokens, model=tokens.model)


def give_back(owner: Owner, kept: Kept) -> None:
    """End a turn of which the provider did nothing; one before it may still have no end."""
    if kept.turn is None:
        end_turn(owner, kept, kept.tokens)
    else:
        _conversation(owner, kept.id).filter(turn=owner.request_id).update(turn=kept.turn)


def grow(owner: Owner, id_: str, tokens: int | None) -> None:
    """Add what a client adds to a conversation; None makes its tokens unknown."""
    added = None if tokens is None else F("tokens") + tokens
    _conversation(owner, id_).update(tokens=added)


def _conversation(owner: Owner, id_: str) -> QuerySet[KeptId]:
    return owner.rows.filter(provider_id=id_, kind=KeptKind.CONVERSATION)


def forget_expired(store: Store, *, now: datetime) -> None:
    """Delete the oldest expired ids, at most FORGOTTEN_AT_ONCE_MAX: calls wait meanwhile."""
    store.execute(
        "DELETE FROM kept_id WHERE (org_id, provider, provider_id) IN ("
        "SELECT org_id, provider, provider_id FROM kept_id WHERE NOT (kind = 'conversation') "
        "AND created_at < %s ORDER BY created_at LIMIT %s)",
        now - KEPT_FOR,
        FORGOTTEN_AT_ONCE_MAX,
    )
