"""Before a call is sent, its ids are known; before an answer's ids reach the client, they are kept.

The next call may name them at once, in any process. They are written with the most tokens that the
call can have, which its usage replaces before the answer's end is passed on. A process that dies
between leaves the most.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from costs.core.usage import Usage
from gateway.call.kept import rows
from gateway.call.kept.rows import FoundKept, Owner, find
from gateway.call.reads import read, run_within
from gateway.call.settlement.held_call import HeldCall
from gateway.call.snapshot import OrganizationSnapshot
from gateway.core import bounds
from gateway.core.calls import Call, Completion
from gateway.core.errors import ConversationLocked, ProviderFailed, Refused, Unreachable
from gateway.core.kept import (
    CONVERSATIONS_MAX,
    GIVEN_MAX,
    GivenId,
    Keeping,
    KeptKind,
    KeptTokens,
    is_id,
)
from gateway.core.providers import RESPONSES, ProviderConfig
from gateway.core.seen import SeenOutput
from orgs.threads import KEPT

# An answer is not kept back longer by a database that is away; its ids are unknown then.
WRITTEN_WITHIN_S: Final = 2.0

T = TypeVar("T")
Sizes = Mapping[KeptKind, KeptTokens]

logger = logging.getLogger("pulse.gateway")


async def with_known_ids(
    call: Call, organization: OrganizationSnapshot, providers: Mapping[str, ProviderConfig]
) -> Call:
    """Return the call with what is known of the ids that it names, or with its refusal.

    A call about what is kept goes to the provider that gave its id, and one that begins a
    conversation to OpenAI, or without its key to the first row that keeps any.
    """
    if (named := call.named) is None:
        return call
    try:
        found, keeping = FoundKept(), [name for name, each in providers.items() if each.keeps]
        if named.ids or named.is_new_conversation:
            found = await read(KEPT, organization.id, find, organization.id, named, keeping)
        if not found.has_room:
            sentence = f"An organization can have {CONVERSATIONS_MAX} conversations; delete some"
            raise Refused("invalid_request", sentence, status=400)
    except Refused as exc:
        return replace(call, refusal=exc)
    named = replace(named, found=found.known, stores=organization.stores_answers)
    if call.provider is not None:
        at = _first_keeping(providers) if named.is_new_conversation else named.given_by
        call = replace(call, provider=at or call.provider)
    return replace(call, named=named)


def _first_keeping(providers: Mapping[str, ProviderConfig]) -> str | None:
    """Return the provider of new conversations, if there is any: a vendor before rows."""
    usable = (
        each
        for each in providers.values()
        if each.keeps and each.fault is None and RESPONSES in each.dialects
    )
    first = min(usable, key=lambda each: (each.is_row, each.order, each.name), default=None)
    return first.name if first else None


@asynccontextmanager
async def kept_answer(held: HeldCall, keeping: Keeping | None) -> AsyncIterator[KeptAnswer]:
    """Follow what the provider keeps of a call. Raises ProviderFailed before it is sent."""
    answer = KeptAnswer(keeping, held)
    await answer.begin()
    try:
        yield answer
    except ProviderFailed as exc:
        if exc.nothing_billed:
            await answer.give_back()
        raise


@dataclass(slots=True, eq=False)
class KeptAnswer:
    """What is known to be kept of one call's answer: nothing without a `keeping`."""

    keeping: Keeping | None
    held: HeldCall
    _is_measured: bool = False
    _is_cut: bool = False

    async def begin(self) -> None:
        """Write what must be known before the call is sent. Raises ProviderFailed."""
        if (keeping := self.keeping) is None:
            return
        grows, turn = keeping.grows, keeping.turn
        try:
            if grows is not None:
                await self._do(rows.grow, grows.conversation, grows.tokens)
            if turn is not None and (turn.is_taken or not await self._do(rows.take, turn)):
                raise ConversationLocked
        except Refused as exc:
            raise Unreachable(exc.message) from exc

    async def follow(self, seen: SeenOutput) -> None:
        """Write what was seen of a stream since the last time, before it is passed on."""
        if self.keeping is None:
            return
        if seen.given:
            given, seen.given = seen.given, []
            await self._give(given, self._sizes(None))
        if seen.is_final and not self._is_measured:
            await self._end(self.keeping, seen.usage)

    async def finish(self, completion: Completion) -> None:
        """Write the whole answer, unless it was a stream that was followed to its end."""
        if self.keeping is None or self._is_measured:
            return
        await self._give(completion.given, self._sizes(completion.usage))
        await self._end(self.keeping, completion.usage)

    async def give_back(self) -> None:
        """End a turn of which the provider did nothing."""
        if self.keeping is not None and self.keeping.turn is not None:
            await self._write(rows.give_back, self.keeping.turn)

    async def _give(self, given: Sequence[GivenId], sizes: Sizes) -> None:
        if self.keeping is None or not self.keeping.gives:
            return
        valid = {each.id: each for each in given if is_id(each.id)}
        taken = [*valid.values()][:GIVEN_MAX]
        if not taken:
            return
        if self.keeping.is_measured:
            await self._write(rows.give, taken, sizes)
        else:
            await self._write(rows.give_more, taken, self.keeping.tokens)

    async def _end(self, keeping: Keeping, usage: Usage | None) -> None:
        """Write the end of the answer. Of unknown usage, ids keep their bounds and a conversation
        its turn, so that its tokens are unknown.
        """
        self._is_measured = True
        if usage is not None and (keeping.is_measured or keeping.turn or keeping.forgets):
            await self._write(rows.end, keeping, self._sizes(usage))

    def _sizes(self, usage: Usage | None) -> Sizes:
        """Return what naming the response, or one of its items, adds: at most, without a usage."""
        bounded = self.held.bounded
        model, priced = bounded.resolved.model, bounded.priced
        most_input = bounds.input_with_uses(priced.uses, model, tokens=bounded.input_tokens)
        most = priced.ceiling(input_tokens=most_input + priced.outgoing.more_input_tokens)
        chain, output = most.input_tokens + most.output_tokens, most.output_tokens
        if usage is not None:
            output = usage.output_tokens
            if self.keeping is not None and self.keeping.is_exact:
                chain = usage.input_tokens + output
        return {
            KeptKind.RESPONSE: KeptTokens(tokens=chain, model=model.id),
            KeptKind.ITEM: KeptTokens(tokens=output, model=model.id),
        }

    async def _write(self, write: Callable[..., object], *values: object) -> None:
        """Write in a thread; without the database once, and no more of this answer."""
        if self._is_cut:
            return
        try:
            await self._do(write, *values)
        except Refused:
            self._is_cut = True
            logger.exception("request %s: ids are not kept", self.held.ask.request_id)

    async def _do(self, write: Callable[..., T], *values: object) -> T:
        """Write in a thread. Raises Refused if the database is unavailable."""
        ask = self.held.ask
        owner = Owner(
            org_id=ask.org_id, provider=self.held.provider.name, request_id=ask.request_id
        )
        return await run_within(WRITTEN_WITHIN_S, KEPT, ask.org_id, partial(write, owner, *values))
