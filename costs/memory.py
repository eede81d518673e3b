"""What a process knows of the ledger's rows from its own commits, so that a batch may expect them.

Nothing is decided by it alone: the database looks whether it is so, under the same locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from costs.batch import Batch
from costs.core.admission import Ask, Settlement
from costs.stores.base import Expected, HoldRow, Locked, OrganizationRow, PeriodRow

# Where several processes serve an organization, its sums are seldom what one of them remembers,
# and a batch that expected them is decided twice. So they have to be right so many times before,
# and twice as many after each time that they were not.
TRUSTED_AFTER: Final = 8
TRUSTED_AFTER_MAX: Final = 1024


@dataclass(slots=True, eq=False)
class Memory:
    """Rows as the last commits left them."""

    _times_right: int = 0
    _trusted_after: int = TRUSTED_AFTER
    _prices_version: int = 0
    _organizations: dict[UUID, OrganizationRow] = field(default_factory=dict)
    _in_force: dict[tuple[UUID, str], PeriodRow] = field(default_factory=dict)
    # The open holds of this process, with their periods.
    _placed: dict[UUID, tuple[HoldRow, Sequence[PeriodRow]]] = field(default_factory=dict)

    def expected(self, asks: Sequence[Ask], settlements: Sequence[Settlement]) -> Expected | None:
        """Return copies of what a batch will find; None where that is not known well enough."""
        if asks and self._times_right < self._trusted_after:
            return None
        try:
            organizations = {ask.org_id: self._organizations[ask.org_id] for ask in asks}
            asked = [
                self._in_force[ask.org_id, limit.scope] for ask in asks for limit in ask.limits
            ]
            placed = [self._placed[settlement.hold_id] for settlement in settlements]
        except KeyError:
            return None
        settled = [self._latest(period) for _, its_periods in placed for period in its_periods]
        # What asks looks at the sums of all its periods, and those of a day that is over are old.
        if asks and not all(map(self._is_in_force, settled)):
            return None
        return Expected(
            prices_version=self._prices_version,
            organizations=organizations,
            periods={row.id: row.copy() for row in (*asked, *settled)},
            holds={hold.id: hold.copy() for hold, _ in placed},
        )

    def _latest(self, period: PeriodRow) -> PeriodRow:
        known = self._in_force.get((period.org_id, period.scope), period)
        return known if known.id == period.id else period

    def _is_in_force(self, period: PeriodRow) -> bool:
        return self._in_force.get((period.org_id, period.scope)) is period

    def was_wrong(self) -> None:
        """Say that a batch did not find what was expected."""
        self._times_right = 0
        self._trusted_after = min(TRUSTED_AFTER_MAX, 2 * self._trusted_after)

    def compare(self, locked: Locked) -> None:
        """Count how many times in a row what a batch found is what was remembered of it."""
        is_right = (
            locked.prices_version == self._prices_version
            and all(
                self._organizations.get(id_) == row for id_, row in locked.organizations.items()
            )
            and all(
                self._in_force.get((row.org_id, row.scope)) == row
                for row in locked.periods.values()
                if row.starts_at <= locked.now < row.ends_at
            )
        )
        self._times_right = self._times_right + 1 if is_right else 0

    def keep(self, locked: Locked, batch: Batch, settlements: Sequence[Settlement]) -> None:
        """Remember what a commit left."""
        if locked.organizations:
            self._prices_version = locked.prices_version
            self._organizations.update(locked.organizations)
        for row in (*locked.periods.values(), *batch.new_periods):
            if row.starts_at <= locked.now < row.ends_at:
                self._in_force[row.org_id, row.scope] = row
        for hold, periods in batch.placed_now:
            self._placed[hold.id] = hold, periods
        for settlement in settlements:
            self._placed.pop(settlement.hold_id, None)
