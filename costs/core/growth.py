"""GROW: a running call's hold takes more from its limits, as its output comes."""

from __future__ import annotations

from uuid import UUID

from orgs.core.frozen import frozen


@frozen
class HoldGrowth:
    """A request to raise a hold to `amount_nanoeur`, in the periods that it counts in.

    It names the whole amount, so that a hold grows once where the same growth is written twice.
    """

    hold_id: UUID
    request_id: UUID
    org_id: UUID
    period_ids: tuple[UUID, ...]
    amount_nanoeur: int


@frozen
class Grown:
    """What a hold has after a growth, granted or not: all of it, or what it had before.

    `left_nanoeur` is what the tightest of its limits leaves beside it, None without any limit. One
    that is not `is_held` any more was settled meanwhile, by a reaper: it does not grow.
    """

    is_held: bool
    amount_nanoeur: int
    left_nanoeur: int | None
