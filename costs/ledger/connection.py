"""The connection of the ledger's thread: opened when needed, with a backoff after failures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from costs.ledger.stores.base import Store, StoreUnavailable

BACKOFF_MIN_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0

logger = logging.getLogger("pulse.ledger")


@dataclass(slots=True, eq=False)
class LedgerConnection:
    """A store that is opened again after every failure. While it is away, nothing is tried."""

    open_store: Callable[[], Store]
    store: Store | None = None
    away_until: float = 0.0
    _backoff_s: float = 0.0

    @property
    def is_away(self) -> bool:
        """Whether the last failure is so recent that another try would fail too."""
        return time.monotonic() < self.away_until

    def opened(self) -> Store:
        """Return the store. Raises StoreUnavailable after starting a backoff."""
        if self.store is None:
            try:
                self.store = self.open_store()
            except StoreUnavailable as exc:
                self.start_backoff(exc)
                raise
        return self.store

    def drop(self) -> None:
        """Close the store."""
        store, self.store = self.store, None
        if store is not None:
            store.close()

    def start_backoff(self, exc: StoreUnavailable) -> None:
        """Start a backoff; until it ends, reservations fail immediately."""
        logger.warning("the ledger's database is unavailable: %s", exc)
        self._backoff_s = min(BACKOFF_MAX_S, max(BACKOFF_MIN_S, self._backoff_s * 2))
        self.away_until = time.monotonic() + self._backoff_s

    def end_backoff(self) -> None:
        """Let the next backoff be a short one."""
        self._backoff_s = 0.0
