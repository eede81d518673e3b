"""The memory and time that request bodies may take, by owner: while received, and during calls.

The text that is kept of a long streamed answer counts as its request's body does.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from gateway.core.calls import Principal
from gateway.core.errors import Refused

# How long a body may take to arrive.
BODY_MAX_S: Final = 60.0
MIB: Final = 2**20
# A body's first bytes are free, so that small requests are served while others send large ones.
FREE_BYTES: Final = 64 * 1024
PROCESS_MAX_BYTES: Final = 256 * MIB
ORGANIZATION_MAX_BYTES: Final = 128 * MIB
CALLER_MAX_BYTES: Final = 64 * MIB
# Pages are sent before anything is known of the sender but its address.
PAGES_MAX_BYTES: Final = 32 * MIB
ADDRESS_MAX_BYTES: Final = 8 * MIB

# Refused bodies that are read and dropped at once: those of one process, and of one address.
DROPPED_MAX: Final = 8
DROPPED_OF_ADDRESS_MAX: Final = 2

# Messages of a WebSocket that arrive take up to twice their bytes: one buffer each, which grows.
ARRIVING_OF_CALLER_MAX_BYTES: Final = CALLER_MAX_BYTES // 2
# What WebSockets remember between their turns. It has a budget of its own: a conversation that is
# idle must not keep a body out, and without room its client sends the whole again.
CONVERSATIONS_MAX_BYTES: Final = 64 * MIB
CONVERSATIONS_OF_ORGANIZATION_MAX_BYTES: Final = 32 * MIB
CONVERSATIONS_OF_CALLER_MAX_BYTES: Final = 8 * MIB
# Open WebSockets. Each takes some 35 KiB besides; a key is often a whole team's.
WEBSOCKETS_MAX: Final = 2_000
WEBSOCKETS_OF_ORGANIZATION_MAX: Final = 1_000
WEBSOCKETS_OF_CALLER_MAX: Final = 250

# An owner's most bytes, for each owner of a body.
Shares = Mapping[Any, int]


class BodyBudget:
    """What the bodies that one process has take of `most` bytes. Safe to use from any thread.

    A body is counted while it is received, and from the start of its call to its end, which may be
    an hour later. Without room it is refused and not made to wait: what has already come of it
    would stay in memory, and half bodies would wait for one another.
    """

    def __init__(self, most: int = PROCESS_MAX_BYTES) -> None:
        self._most = most
        self._taken: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def take(self, n_bytes: int, shares: Shares) -> bool:
        """Take bytes for all the owners, or return False if one of them would pass its share."""
        limits = {**shares, None: self._most}
        with self._lock:
            if any(self._taken[owner] + n_bytes > most for owner, most in limits.items()):
                return False
            for owner in limits:
                self._taken[owner] += n_bytes
            return True

    @contextmanager
    def holding(self, n_bytes: int, shares: Shares) -> Iterator[None]:
        """Take bytes until the block ends. Raises Refused (503) without room."""
        if not self.take(n_bytes, shares):
            raise no_room()
        try:
            yield
        finally:
            self.give_back(n_bytes, shares)

    def give_back(self, n_bytes: int, shares: Shares) -> None:
        """Return bytes that were taken for the same owners."""
        with self._lock:
            self._taken.subtract(dict.fromkeys((*shares, None), n_bytes))
            for owner in shares:
                if not self._taken[owner]:
                    del self._taken[owner]


def shares_of(
    principal: Principal,
    *,
    organization: int = ORGANIZATION_MAX_BYTES,
    caller: int = CALLER_MAX_BYTES,
) -> Shares:
    """Return the shares of a caller's organization and of its key or person."""
    return {
        principal.org_id: organization,
        principal.caller: caller,
    }


def no_room() -> Refused:
    """Return the refusal of a body that its owner has no room for."""
    sentence = "Too many large request bodies are in memory; retry in a moment"
    return Refused("overloaded", sentence, status=503, retry_after_s=1)
