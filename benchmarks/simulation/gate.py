"""Admission by the product's own code: `judge`, `reserve` and the waiting room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from benchmarks.simulation.holds import Hold
from benchmarks.simulation.ledger import VERSION, MemoryLedger
from benchmarks.simulation.load import Turn
from benchmarks.simulation.prices import CATALOG, DAY, ORG_ID, price_book
from costs.core.admission import Admitted, Limit
from costs.ledger.writer import Writer
from gateway.call.call_stream import CallStream
from gateway.call.candidates import Candidate
from gateway.call.judgement import judge
from gateway.call.reservation import RunningCall, reserve
from gateway.call.runtime import Gateway
from gateway.call.snapshot import Directory, OrganizationSnapshot
from gateway.call.stages import BoundedCall, RequestedCall
from gateway.call.waiting.line import Waiter
from gateway.call.waiting.room import WaitingRoom
from gateway.core.attempts import Trail
from gateway.core.calls import Call, Principal
from gateway.guards.policies import Rule
from gateway.guards.rule_sets import RuleIndex
from gateway.providers.registry import Providers
from gateway.providers.rows import ProviderBook
from orgs.core.pseudonyms import keyed_by
from orgs.fields import new_id


@dataclass(frozen=True, slots=True)
class AdmittedCall:
    """A call that has its hold in these limits, and its output cap."""

    bounded: BoundedCall
    limits: tuple[Limit, ...]
    held_nanoeur: int
    cap_tokens: int


@dataclass(slots=True)
class Gate:
    """An organization with limits, and the process that all its calls come to."""

    ledger: MemoryLedger
    rules: Sequence[Rule]
    hold: Hold
    room: WaitingRoom = field(init=False)
    gateway: Gateway = field(init=False)
    organization: OrganizationSnapshot = field(init=False)

    def __post_init__(self) -> None:
        self.room = WaitingRoom(self.ledger.read)
        self.gateway = Gateway(
            catalog=CATALOG,
            directory=Directory(CATALOG),
            providers=Providers({}, sandbox=False),
            writer=cast(Writer, self.ledger),
            waiting_room=self.room,
        )
        self.organization = OrganizationSnapshot(
            id=ORG_ID,
            name="Acme",
            timezone="UTC",
            drains=False,
            stores_answers=False,
            config_version=VERSION,
            rules=RuleIndex(self.rules),
            prompt_mac=keyed_by(b"simulation", ORG_ID),
        )

    async def admit(
        self, principal: Principal, call: Call, turn: Turn
    ) -> tuple[AdmittedCall | None, float]:
        """Return the call with its hold, None if it is refused, and how long it has waited."""
        stream, trail = CallStream(request_id=new_id()), Trail()
        waiter = Waiter(org_id=ORG_ID, key=principal.caller, request_id=stream.request_id)
        running = RunningCall(
            gateway=self.gateway,
            principal=principal,
            call=call,
            stream=stream,
            trail=trail,
            waiter=waiter,
        )
        try:
            reserved = None
            while reserved is None:
                reserved = await reserve(running, await self._judged(principal, call, turn))
        finally:
            self.room.leave(waiter)
        chosen, ask, answer = reserved
        bounded = chosen.judged
        if not isinstance(answer, Admitted) or not isinstance(bounded, BoundedCall):
            return None, waiter.waited_s
        held = ask.amount_nanoeur or 0
        admitted = AdmittedCall(bounded, ask.limits, held, bounded.priced.sent_cap or 0)
        return admitted, waiter.waited_s

    def settle(self, admitted: AdmittedCall, *, held_nanoeur: int, cost_nanoeur: int) -> None:
        """Charge a call that has ended, and let others have its room."""
        self.ledger.settle(admitted.limits, held_nanoeur, cost_nanoeur)
        self.room.settled(ORG_ID)

    async def _judged(self, principal: Principal, call: Call, turn: Turn) -> Candidate:
        requested = RequestedCall(
            call=call,
            principal=principal,
            organization=self.organization,
            prices=price_book(),
            judged_at=DAY,
            providers=ProviderBook(version=0, by_name=self.gateway.providers.vendors),
        )
        judged = await judge(requested, call.model, catalog=CATALOG)
        if not isinstance(judged, BoundedCall):
            raise judged.refusal
        held = self.hold(judged, turn)
        return Candidate(alias=None, place=0, name=call.model, judged=held)
