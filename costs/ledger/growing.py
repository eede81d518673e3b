"""GROW, the third of the ledger's operations, on the locked rows of a batch.

It checks what RESERVE checks of a limit, against the limit that the period has: that of the last
call which was admitted in it, as the database's trigger does. It does not read the organization:
what runs was admitted, and a switch that is turned off or a key that is revoked ends none of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from costs.core.growth import Grown, HoldGrowth
from costs.core.holds import State
from costs.ledger.batch import Batch
from costs.ledger.stores.base import HoldRow, PeriodRow


def grow(batch: Batch, growth: HoldGrowth) -> Grown:
    """Raise a hold if it is still held and each of its periods has room, else leave it."""
    if not growth.period_ids:
        raise ValueError(f"hold {growth.hold_id} counts in no period")
    hold = batch.locked.holds.get(growth.hold_id)
    if hold is None or hold.state is not State.HELD:
        amount_nanoeur = hold.amount_nanoeur if hold else 0
        return Grown(is_held=False, amount_nanoeur=amount_nanoeur, left_nanoeur=None)
    periods = [batch.locked.periods[id_] for id_ in growth.period_ids]
    more_nanoeur, left_nanoeur = growth.amount_nanoeur - hold.amount_nanoeur, _left(periods)
    if more_nanoeur > 0 and (left_nanoeur is None or more_nanoeur <= left_nanoeur):
        _raise(batch, hold, periods, more_nanoeur)
        left_nanoeur = _left(periods)
    return Grown(is_held=True, amount_nanoeur=hold.amount_nanoeur, left_nanoeur=left_nanoeur)


def _raise(batch: Batch, hold: HoldRow, periods: Iterable[PeriodRow], more_nanoeur: int) -> None:
    hold.amount_nanoeur += more_nanoeur
    for period in periods:
        batch.change(period, held=more_nanoeur)
    batch.grown_holds[hold.id] = {"id": hold.id, "amount_nanoeur": hold.amount_nanoeur}


def _left(periods: Iterable[PeriodRow]) -> int | None:
    """Return what the tightest limit leaves. A period keeps its limit without what it carries."""
    return min(
        (
            max(
                0,
                each.limit_nanoeur
                - each.settled_nanoeur
                - each.overrun_nanoeur
                - each.held_nanoeur,
            )
            for each in periods
            if each.limit_nanoeur is not None
        ),
        default=None,
    )
