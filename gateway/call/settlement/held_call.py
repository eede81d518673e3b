"""An admitted call: its hold and audit row are committed, and it may be sent."""

from __future__ import annotations

from dataclasses import field

from costs.core.admission import Admitted, ReserveRequest
from gateway.call.stages import BoundedCall
from gateway.core.calls import Call
from gateway.core.seen import SeenOutput
from orgs.core.frozen import frozen


@frozen
class HeldCall:
    """An admitted call: its hold and audit row are committed, and it may be sent.

    `started_s` is when this attempt began, on the monotonic clock; `seen` what was seen of its
    answer, if it is streamed.
    """

    ask: ReserveRequest
    admitted: Admitted
    bounded: BoundedCall
    started_s: float
    seen: SeenOutput = field(default_factory=SeenOutput)

    @property
    def call(self) -> Call:
        """The call as sent to the gateway."""
        return self.bounded.requested.call

    @property
    def provider(self) -> str:
        """The provider that is called."""
        return self.bounded.resolved.model.provider
