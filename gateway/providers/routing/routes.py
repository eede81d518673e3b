"""Order the provider rows that serve one model, for one request."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar


class Row(Protocol):
    """A provider row, as far as its place among others goes: rows of the lowest `order` share the
    calls by `weight`, which is positive, and the next ones are for when these fail.
    """

    @property
    def name(self) -> str:
        """The name, which no other row has."""
        ...

    @property
    def weight(self) -> int:
        """The share of the calls, relative to the others of its order."""
        ...

    @property
    def order(self) -> int:
        """Lower ones are called first."""
        ...


R = TypeVar("R", bound=Row)


def ordered(
    rows: Iterable[R],
    *,
    affinity: str | None,
    failing_until_s: Callable[[str], float | None],
    chance: random.Random,
) -> tuple[R, ...]:
    """Return the rows in the order in which a request calls them.

    Failing ones come last, the one that may work soonest before the others; `failing_until_s`
    returns until when a row is failing, by name, or None. Requests with the same `affinity` get the
    same order, and if a row is added or removed, only those that it gets or had move to another one
    (https://en.wikipedia.org/wiki/Rendezvous_hashing#Weighted_rendezvous_hash); without one it is
    drawn by chance.
    """

    def rank(row: R) -> tuple[bool, float, int, float]:
        until_s = failing_until_s(row.name)
        drawn = chance.random() if affinity is None else _drawn(affinity, row.name)
        # Of exponential variates, each is the least in the share of its rate.
        wait = -math.log1p(-drawn) / row.weight
        return until_s is not None, until_s or 0.0, row.order, wait

    return tuple(sorted(rows, key=rank))


def _drawn(affinity: str, name: str) -> float:
    """Return a number in [0, 1) that only the two decide."""
    text = f"{name} {affinity}".encode(errors="surrogatepass")
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53  # as many bits as a float has
