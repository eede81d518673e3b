"""Our own fake provider: it speaks many servers' wire formats and misbehaves on request."""

from tests.fake_provider.behaviour import FOREVER, VENDORS, Behaviour
from tests.fake_provider.hosts import HOSTS
from tests.fake_provider.records import Call
from tests.fake_provider.thread import FakeProvider, closed_port

__all__ = ["FOREVER", "HOSTS", "VENDORS", "Behaviour", "Call", "FakeProvider", "closed_port"]
