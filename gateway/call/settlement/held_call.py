"""An admitted call: its hold and audit row are committed, and it may be sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import field, replace
from functools import partial
from typing import Final

import orjson

from costs.core.admission import Admitted, ReserveRequest
from gateway.call.call_stream import CallStream, Piece
from gateway.call.judgement import bound_within
from gateway.call.slices.sliced_hold import Grow, SlicedHold
from gateway.call.stages import BoundedCall
from gateway.core.calls import Call, Completion, StreamReading
from gateway.core.providers import COMPATIBLE, ProviderConfig
from gateway.core.seen import SeenOutput, all_text
from gateway.upstream import untrusted_json
from orgs.core.frozen import frozen

# Where the APIs have the output of an answer, and what there is none.
_OUTPUT: Final = ("choices", "content", "output", "candidates")
_NO_OUTPUT: Final = frozenset({"id", "type", "role", "status", "finish_reason"})


@frozen
class HeldCall:
    """An admitted call: its hold and audit row are committed, and it may be sent.

    `started_s` is when this attempt began, on the monotonic clock; `seen` what was seen of its
    answer, if it is streamed; `slices` its hold, if that grows with its output.
    """

    ask: ReserveRequest
    admitted: Admitted
    bounded: BoundedCall
    started_s: float
    seen: SeenOutput = field(default_factory=SeenOutput)
    slices: SlicedHold | None = None

    @property
    def call(self) -> Call:
        """The call as sent to the gateway."""
        return self.bounded.requested.call

    @property
    def provider(self) -> ProviderConfig:
        """The provider that is called."""
        return self.bounded.resolved.model.served_by

    @property
    def amount_nanoeur(self) -> int:
        """What is held now, as far as this process knows."""
        return self.slices.amount_nanoeur if self.slices else self.ask.amount_nanoeur or 0

    def counted(self, answer: Completion) -> Completion:
        """Return an answer; without a usage, a compatible server's is counted by its text.

        A usage of no tokens is none: no prompt has so few.
        """
        is_reported = answer.usage is not None and answer.usage.total_tokens > 0
        if is_reported or self.provider.family != COMPATIBLE:
            return answer
        if not self.seen.has_begun and (text := _text_of(answer)) is not None:
            self.seen.take_unreported(text, time.monotonic())
        return replace(answer, usage=None)

    # --- in slices ----------------------------------------------------------------------------

    def growing(self, limit: asyncio.Timeout) -> list[asyncio.Task[None]]:
        """Start what lets the hold grow, or ends the stream by its `limit`."""
        return [asyncio.create_task(self.slices.follow(limit))] if self.slices else []

    def passing(
        self, stream: CallStream, reading: StreamReading | None = None
    ) -> Callable[[Piece], Awaitable[None]]:
        """Return what passes pieces to the client."""
        if self.slices is None:
            return stream.put
        self.slices.reading = reading
        return self.slices.put

    def cut(self) -> Completion | None:
        """End the client's stream if its hold could not grow; return the answer."""
        if self.slices is None or not self.slices.is_cut or self.slices.stream.is_cut():
            return None
        return self.slices.ended()


def _text_of(answer: Completion) -> str | None:
    """Return all output of an answer that came as a whole, None if it is not one."""
    body = untrusted_json.mapping(orjson.loads(untrusted_json.strict(answer.body or b"{}")))
    written = all_text([body.get(name) for name in _OUTPUT], _NO_OUTPUT) or answer.content
    called = "".join(call.name + call.arguments for call in answer.tool_calls)
    is_answer = written or called or answer.finish_reason or body.get("data")
    return written + called if is_answer else None


def in_slices(held: HeldCall, stream: CallStream, grow: Grow) -> HeldCall:
    """Return the call with a hold that grows, if its is one."""
    slice_tokens = held.bounded.slice_tokens
    if slice_tokens is None:
        return held
    slices = SlicedHold(
        ask=held.ask,
        admitted=held.admitted,
        bounded=held.bounded,
        seen=held.seen,
        stream=stream,
        grow=grow,
        amount_of=partial(bound_within, held.bounded),
        slice_tokens=slice_tokens,
    )
    return replace(held, slices=slices)
