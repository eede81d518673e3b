"""Ask vendors how many tokens the input of a request has: free, and bounded like all that is sent.

The count is a closer bound than the bytes, asked for where a limit of money has no room for these.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Final, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from gateway.apis.generate import input_count as generate
from gateway.apis.messages import input_count as messages
from gateway.core.calls import Completion, Outgoing, ProviderCall, RelayRequest
from gateway.core.errors import ProviderFailed, Rejected
from gateway.core.providers import GENERATE, MESSAGES, ProviderConfig
from orgs.core.frozen import frozen

_OF_CALLS: Final[Mapping[str, Callable[[ProviderCall], RelayRequest]]] = {
    MESSAGES: messages.input_count_of,
    GENERATE: generate.input_count_of,
}
# A call waits no longer for its count, with the wait for its turn.
COUNT_MAX_S: Final = 3.0
OF_ORGANIZATION_MAX: Final = 4
AT_ONCE_MAX: Final = 16
# A call asks once: again after its wait, or by a client that repeats it, it is known.
KNOWN_FOR_S: Final = 600.0
KNOWN_MAX: Final = 5_000
# After a failure that is not the request's own, the organization's calls do not ask for this long.
PAUSE_S: Final = 10.0
_OWN_FAULTS: Final = (400, 413, 422)

K = TypeVar("K")
V = TypeVar("V")

logger = logging.getLogger("pulse.gateway")


@frozen
class InputCount:
    """A request for a count, and what is hashed of it."""

    provider: ProviderConfig
    request: RelayRequest
    digest: bytes


def has_count(outgoing: Outgoing, provider: ProviderConfig) -> bool:
    """Whether the vendor counts the input of such a request."""
    return _asking(outgoing, provider) is not None


def input_count_of(outgoing: Outgoing, provider: ProviderConfig) -> InputCount | None:
    """Return the request for the count, None if the vendor has none."""
    asking = _asking(outgoing, provider)
    if asking is None:
        return None
    request = asking()
    hashed = blake2b(request.body, digest_size=16)
    hashed.update(repr((provider.name, request.path, sorted(request.headers.items()))).encode())
    return InputCount(provider=provider, request=request, digest=hashed.digest())


def _asking(outgoing: Outgoing, provider: ProviderConfig) -> Callable[[], RelayRequest] | None:
    if isinstance(outgoing, RelayRequest):
        return outgoing.input_count
    if outgoing.inputs or not provider.counts_input:
        return None
    found = (of_call for dialect, of_call in _OF_CALLS.items() if dialect in provider.dialects)
    of_call = next(found, None)
    return of_call and partial(of_call, outgoing)


@frozen
class _Known:
    tokens: int | None
    until_s: float


@dataclass(slots=True, eq=False)
class InputCounts:
    """The counts of one process. `ask` sends a request to a provider."""

    ask: Callable[[ProviderConfig, RelayRequest], Awaitable[Completion]]
    max_s: float = COUNT_MAX_S
    known_max: int = KNOWN_MAX
    _known: OrderedDict[tuple[UUID, bytes], _Known] = field(default_factory=OrderedDict)
    _paused: OrderedDict[tuple[UUID, str], float] = field(default_factory=OrderedDict)
    _of_organization: WeakValueDictionary[UUID, asyncio.Semaphore] = field(
        default_factory=WeakValueDictionary
    )
    _at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE_MAX))

    async def tokens(self, asked: InputCount, *, org_id: UUID) -> int | None:
        """Return the vendor's count, None if it cannot be had in time: after one try."""
        now_s, key, peer = time.monotonic(), (org_id, asked.digest), (org_id, asked.provider.name)
        known = self._known.get(key)
        if known is not None and known.until_s > now_s:
            return known.tokens
        if self._paused.get(peer, now_s) > now_s:
            return None
        turns = self._of_organization.setdefault(org_id, asyncio.Semaphore(OF_ORGANIZATION_MAX))
        was_asked, tokens = False, None
        try:
            async with asyncio.timeout(self.max_s), turns, self._at_once:
                was_asked = True
                tokens = _tokens_in(await self.ask(asked.provider, asked.request))
        except (ProviderFailed, TimeoutError) as exc:
            logger.info("%s: counting the input of a request failed: %r", asked.provider.name, exc)
            if was_asked and not _is_own_fault(exc):
                _keep(self._paused, peer, time.monotonic() + PAUSE_S, most=self.known_max)
        if was_asked:
            found = _Known(tokens=tokens, until_s=time.monotonic() + KNOWN_FOR_S)
            _keep(self._known, key, found, most=self.known_max)
        return tokens


def _tokens_in(completion: Completion) -> int | None:
    """Return the counted tokens; no input has none."""
    return (completion.usage.input_tokens or None) if completion.usage else None


def _is_own_fault(exc: Exception) -> bool:
    """Whether the vendor does not count this request, but may count others."""
    return isinstance(exc, Rejected) and exc.provider_status in _OWN_FAULTS


def _keep(kept: OrderedDict[K, V], key: K, value: V, *, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
