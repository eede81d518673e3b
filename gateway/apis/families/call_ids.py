"""Give tool calls and their results the ids that a vendor accepts, the same in both.

Clients keep the ids of whichever vendor answered, and may reuse them; each vendor has its own form.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

# Returns an id of the vendor's form for the hexadecimal digits of a hash.
Made = Callable[[str], str]


def with_call_ids(
    messages: Sequence[Mapping[str, Any]], *, fits: Callable[[str], bool], made: Made
) -> list[Mapping[str, Any]]:
    """Return messages whose ids fit and are distinct within a turn.

    The same id always becomes the same one, so that a conversation's prefix stays in caches.
    """
    names = _Names({each for each in _ids(messages) if fits(each)}, made)
    waiting: defaultdict[str, deque[str]] = defaultdict(deque)
    changed: list[Mapping[str, Any]] = []
    for message in messages:
        if calls := calls_of(message):
            waiting.clear()
            seen: Counter[str] = Counter()
            renamed = []
            for call in calls:
                if isinstance(given := call.get("id"), str):
                    new = names.name(given, seen[given])
                    seen[given] += 1
                    waiting[given].append(new)
                    call = {**call, "id": new} if new != given else call
                renamed.append(call)
            message = {**message, "tool_calls": renamed} if renamed != calls else message
        elif isinstance(given := message.get("tool_call_id"), str):
            new = waiting[given].popleft() if waiting[given] else names.name(given, 0)
            message = {**message, "tool_call_id": new} if new != given else message
        changed.append(message)
    return changed


def calls_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tool calls of a message, none if they are of a wrong type."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        return []
    return calls


class _Names:
    """New ids by the old one and by how often it came before in its turn."""

    def __init__(self, fitting: set[str], made: Made) -> None:
        self._fitting = frozenset(fitting)
        self._taken = fitting
        self._made = made
        self._new: dict[tuple[str, int], str] = {}

    def name(self, given: str, before: int) -> str:
        if before == 0 and given in self._fitting:
            return given
        if (given, before) not in self._new:
            self._new[given, before] = self._free(given, before)
        return self._new[given, before]

    def _free(self, given: str, before: int) -> str:
        attempt = 0
        while True:
            digits = sha256(f"{attempt} {before} {given}".encode()).hexdigest()
            if (new := self._made(digits)) not in self._taken:
                self._taken.add(new)
                return new
            attempt += 1


def _ids(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        given = [message.get("tool_call_id"), *(call.get("id") for call in calls_of(message))]
        yield from (each for each in given if isinstance(each, str))
