"""The hold of a stream in slices: it grows ahead of what is seen, or the stream is ended."""

from __future__ import annotations

import asyncio
import logging
import math
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from costs.core.admission import Admitted, ReserveRequest
from costs.core.growth import Grown, HoldGrowth
from costs.ledger.writer import LedgerUnavailable
from gateway.call.call_stream import CallStream, Piece
from gateway.call.slices.text_tokens import text_tokens
from gateway.call.stages import BoundedCall
from gateway.core import bounds
from gateway.core.calls import Completion, StreamReading
from gateway.core.seen import SeenOutput, SeenText, arrived

# Output is also counted by time: while it is hidden or comes in bursts, or its client is behind.
LOOK_EVERY_S: Final = 0.5
# A growth is awaited for so long after the end of its slice.
GROWN_WITHIN_S: Final = 0.5
# What is held beyond what was seen and is on its way when a stream is ended: what the model can
# produce until it is stopped, at its fastest known rate.
STOPPED_WITHIN_S: Final = 0.15
LENGTH: Final = "length"

Grow = Callable[[HoldGrowth], Awaitable[Grown]]

logger = logging.getLogger("pulse.gateway")


@dataclass(slots=True)
class _CountedText:
    """How much of a kind of output has been counted by a tokenizer; a token for each byte else."""

    text: SeenText
    counted_bytes: int = 0
    counted_tokens: int = 0

    @property
    def at_most(self) -> int:
        return self.counted_tokens + len(self.text.kept) - self.counted_bytes


@dataclass(slots=True, eq=False)
class SlicedHold:
    """The hold of one running stream, which covers its input and `tokens` of output.

    Its first `slice_tokens` are held at admission. Once half of a slice is left, it is to grow by
    another one, or by what is left of its limits. That is tried again as more comes; where what was
    seen reaches the end of what is held, the stream `is_cut`.
    """

    ask: ReserveRequest
    admitted: Admitted
    bounded: BoundedCall
    seen: SeenOutput
    stream: CallStream
    grow: Grow
    amount_of: Callable[[int], int]
    slice_tokens: int
    tokens: int = 0
    is_cut: bool = False
    reading: StreamReading | None = None
    _due_tokens: int = 0
    _is_due: asyncio.Event = field(default_factory=asyncio.Event)
    _text: _CountedText = field(init=False)
    _thoughts: _CountedText = field(init=False)

    def __post_init__(self) -> None:
        self.seen.is_sliced = True
        self._text, self._thoughts = _CountedText(self.seen.text), _CountedText(self.seen.thoughts)
        self._hold(self.slice_tokens)

    @property
    def amount_nanoeur(self) -> int:
        """What is held."""
        return self.amount_of(self.tokens)

    async def put(self, piece: Piece) -> None:
        """Pass a piece to the client, whose output was seen."""
        if self._at_most(monotonic()) >= self._due_tokens:
            self._is_due.set()
        self.seen.is_behind = True
        await self.stream.put(piece)
        self.seen.is_behind = False

    async def follow(self, limit: asyncio.Timeout) -> None:
        """Let the hold grow until all of the answer is held; else end the stream by its `limit`."""
        try:
            await self._follow()
        except Exception:  # a bug: what is not held must not be produced
            logger.exception("request %s: its hold cannot grow", self.ask.request_id)
            self.is_cut = True
        if self.is_cut:
            await arrived(self.seen, events_max=math.inf)
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    def ended(self) -> Completion:
        """End the client's stream, and return the answer that the gateway cut."""
        reported = self.seen.usage
        most_input = self.bounded.capped.counted_tokens or self.bounded.input_tokens
        if self.reading is not None:
            self.stream.append(
                self.reading.cut(
                    input_tokens=reported.input_tokens if reported else most_input,
                    output_tokens=min(self._at_most(monotonic()), self._cap),
                )
            )
        return Completion(
            model=self.bounded.resolved.model.id,
            finish_reason=LENGTH,
            usage=None,
            is_cut=True,
            headers=self.stream.headers,
        )

    # --- growing ------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while self.tokens < self._cap:
            await self._due()
            seen = await self._counted(self._due_tokens)
            if seen < self._due_tokens:
                continue
            if await self._has_grown(min(max(seen, self.tokens) + self.slice_tokens, self._cap)):
                continue
            seen = await self._counted(self._end)
            if seen >= self._end:
                self.is_cut = True
                return
            self._due_tokens = min(seen + self.slice_tokens // 8, self._end)

    async def _due(self) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(LOOK_EVERY_S, self._is_due.set)
        await self._is_due.wait()
        timer.cancel()
        self._is_due.clear()

    async def _has_grown(self, tokens: int) -> bool:
        """Ask for a hold of so many tokens of output; without room, for what is left."""
        grown = await self._asked(tokens)
        if self.tokens < tokens and grown is not None and grown.left_nanoeur:
            room = range(self.tokens, tokens)
            amount_nanoeur = grown.amount_nanoeur + grown.left_nanoeur
            most = room[bisect_right(room, amount_nanoeur, key=self.amount_of) - 1]
            if most >= self.tokens + self.slice_tokens // 8:
                await self._asked(most)
        return self.tokens >= tokens

    async def _asked(self, tokens: int) -> Grown | None:
        """Ask the ledger, and wait for it while there is time."""
        growing = asyncio.ensure_future(self.grow(self._growth(tokens)))
        waited_s = 0.0
        while not (await asyncio.wait([growing], timeout=GROWN_WITHIN_S / 5))[0]:
            is_at_end = await self._counted(self._end) >= self._end
            waited_s += GROWN_WITHIN_S / 5 if is_at_end else 0.0
            if waited_s >= GROWN_WITHIN_S:
                growing.cancel()
                return None
        try:
            grown = growing.result()
        except LedgerUnavailable:
            logger.warning("request %s: the ledger is unavailable", self.ask.request_id)
            return None
        if not grown.is_held:
            return None
        if grown.amount_nanoeur >= self.amount_of(tokens):
            self._hold(tokens)
        return grown

    def _growth(self, tokens: int) -> HoldGrowth:
        ask = self.ask
        return HoldGrowth(
            hold_id=ask.id,
            request_id=ask.request_id,
            org_id=ask.org_id,
            period_ids=self.admitted.period_ids,
            amount_nanoeur=self.amount_of(tokens),
        )

    def _hold(self, tokens: int) -> None:
        self.tokens = tokens
        self._due_tokens = tokens - self.slice_tokens // 2

    # --- what was seen ------------------------------------------------------------------------

    @property
    def _cap(self) -> int:
        return self.bounded.priced.sent_cap or 0

    @property
    def _tokens_per_s(self) -> float:
        resolved = self.bounded.resolved
        return bounds.tokens_per_s(resolved.model, resolved.usage_bound.service_tier)

    @property
    def _end(self) -> int:
        """How much may have been produced when the stream is to be ended."""
        return self.tokens - math.ceil(STOPPED_WITHIN_S * self._tokens_per_s)

    def _at_most(self, now_s: float) -> int:
        """Return the most tokens that can have been produced, as far as they are counted."""
        return self.seen.output_tokens_at_most(
            text=self._text.at_most,
            thoughts=self._thoughts.at_most,
            tokens_per_s=self._tokens_per_s,
            now_s=now_s,
        )

    async def _counted(self, due_tokens: int) -> int:
        """Return the most tokens; what may be as many as are due is counted before."""
        if self._at_most(monotonic()) >= due_tokens:
            await self._count(self._text)
            await self._count(self._thoughts)
        return self._at_most(monotonic())

    async def _count(self, counted: _CountedText) -> None:
        new = bytes(counted.text.kept[counted.counted_bytes :])
        if new:
            tokens = await text_tokens(self.bounded, self.seen, new)
            counted.counted_bytes += len(new)
            counted.counted_tokens += min(tokens, len(new))
