"""An own server priced by the hour: calls are estimates, until its hour is over and divided."""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import Any, Final

import aiohttp
import pytest

from costs.core.hours import HourlyStep, cost_of_hour, hour_of
from orgs.database import as_moment
from tests.system.clients import ClientCall, ask
from tests.system.rows import Rows
from tests.system.servers import Installation

pytestmark = pytest.mark.both_databases

MODEL: Final = "gpt-4o-mini"
OWN: Final = ("--provider", "own")
PRICE: Final = 2_400_000_000
ADD_ROW: Final = """
from gateway.models import Provider
Provider.objects.create(
    name="own", title="own", base_url="{url}", dialects=["chat"], family="openai",
    secret="env:OWN_SECRET", models=["gpt-4o-mini"], weight=1, order=2, allow_loopback=True,
)
"""
# As the ledger's thread does it, three hours later.
CLOSE: Final = """
from datetime import UTC, datetime, timedelta
from costs.ledger.connect import open_store
from costs.ledger.hours.closing import HourCloser
from costs.ledger.ledger import Ledger
from gateway.call.records.journal import AuditJournal
from orgs.fields import new_id
closer = HourCloser(Ledger(journal=AuditJournal(), instance_id=new_id()))
while closer.close(open_store(clock=lambda: datetime.now(UTC) + timedelta(hours=3))).is_more:
    pass
"""
PAGES: Final = """
import json
from django.test import Client
from gateway.models import AiRequestLog
from orgs.models import Membership
client = Client(headers={{"host": "localhost"}})
member = Membership.objects.get(user__email="anna@acme.example")
client.force_login(member.user)
found = client.get("/costs.json", {{"provider": "own", "groupBy": "provider"}}, secure=True)
row = AiRequestLog.objects.get(client_id="{call}")
page = client.get(f"/admin/ai/requests/{{row.id}}", secure=True)
costs = json.loads(b"".join(found.streaming_content))
print(json.dumps([costs, page.content.decode(), row.cost_nanoeur]))
"""


def shown(installation: Installation, call: str) -> tuple[Any, str, int]:
    """Return the line of `/costs`, the page of a request, and its cost."""
    costs, page, cost = json.loads(installation.script(PAGES.format(call=call)))
    [of_provider] = costs["groups"]
    return of_provider, page, cost


CHARGED: Final = """
    SELECT hold.held_at, hold.charged_nanoeur, p.starts_at FROM hold
    JOIN rate_card c ON c.id = hold.rate_card_id
    JOIN hourly_price p ON p.provider = c.rates ->> 'provider'
"""


async def test_server_priced_by_hour_costs_its_hour(installation: Installation, rows: Rows) -> None:
    url = installation.environment["OPENAI_BASE_URL"]
    installation.environment["OWN_SECRET"] = "sk-own"
    installation.script(ADD_ROW.format(url=url))
    installation.members(("acme", "anna@acme.example", "auditor"), password=secrets.token_hex(12))
    [server] = installation.serve()
    installation.run_each(
        ("prices", "set", MODEL, *OWN, "--input", "0.10", "--output", "0.20"),
        ("prices", "set", "*", *OWN, "--eur-per-hour", "2.40", "--source", "lease 7"),
    )
    call, other = (
        ClientCall(call=f"c-{secrets.token_hex(4)}", more={"model": f"own/{MODEL}"}) for _ in "ab"
    )
    async with aiohttp.ClientSession() as session:
        for each in (call, other):
            outcome = await ask(session, server.url, installation.key, each)
            assert outcome.is_answered, outcome
    costs, page, estimate = shown(installation, call.call)
    assert "which is not over: an estimate by the price of its tokens" in page
    assert "2.4 EUR, divided over the hour" in page
    assert costs["estimatedNanoeur"] == costs["amountNanoeur"] > 0

    installation.script(CLOSE)
    costs, page, cost = shown(installation, call.call)
    assert "The difference to its share of the hour." in page
    assert "not over" not in page
    assert cost > estimate
    charged = rows.query(CHARGED)
    assert (costs["amountNanoeur"], costs["estimatedNanoeur"]) == (sum(c[1] for c in charged), 0)
    of_hours: dict[datetime, int] = {}
    for held_at, nanoeur, _ in charged:
        hour = hour_of(as_moment(held_at))
        of_hours[hour] = of_hours.get(hour, 0) + nanoeur
    step = HourlyStep(as_moment(charged[0][2]), PRICE)
    assert of_hours == {hour: cost_of_hour([step], hour) for hour in of_hours}
    assert rows.disagreements() == []
    installation.run("ledger", "verify")
    installation.run("audit", "verify")
    assert "Counted 0 hours" in installation.run("ledger", "hours")
