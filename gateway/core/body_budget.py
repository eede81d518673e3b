"""The memory that request bodies may take while they are received, by owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, Final

MIB: Final = 2**20
# A body's first bytes are free, so that small requests are served while others send large ones.
FREE_BYTES: Final = 64 * 1024
PROCESS_MAX_BYTES: Final = 256 * MIB
ORGANIZATION_MAX_BYTES: Final = 128 * MIB
CALLER_MAX_BYTES: Final = 64 * MIB
# Pages are sent before anything is known of the sender but its address.
PAGES_MAX_BYTES: Final = 32 * MIB
ADDRESS_MAX_BYTES: Final = 8 * MIB

# An owner's most bytes, for each owner of a body.
Shares = Mapping[Any, int]


class BodyBudget:
    """Bytes taken by the bodies that one process is receiving. For one thread.

    Without room a body is refused and not made to wait: what has already come of it would stay
    in memory, and half bodies would wait for one another.
    """

    def __init__(self) -> None:
        self._taken: Counter[Hashable] = Counter()

    def take(self, n_bytes: int, shares: Shares) -> bool:
        """Take bytes for all the owners, or return False if one of them would pass its share."""
        limits = {**shares, None: PROCESS_MAX_BYTES}
        if any(self._taken[owner] + n_bytes > most for owner, most in limits.items()):
            return False
        for owner in limits:
            self._taken[owner] += n_bytes
        return True

    def give_back(self, n_bytes: int, shares: Shares) -> None:
        """Return bytes that were taken for the same owners."""
        self._taken.subtract(dict.fromkeys((*shares, None), n_bytes))
        for owner in shares:
            if not self._taken[owner]:
                del self._taken[owner]
