"""Our own fake provider: it speaks four vendors' wire formats and misbehaves on request."""

from tests.fake_provider.behaviour import FOREVER, VENDORS, Behaviour
from tests.fake_provider.records import Call
from tests.fake_provider.thread import FakeProvider, closed_port

__all__ = ["FOREVER", "VENDORS", "Behaviour", "Call", "FakeProvider", "closed_port"]
