"""Prices that are set on a page of one process are charged by another at its next request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from itertools import count
from typing import Final

import pytest

from tests.system.browser import Browser
from tests.system.clients import MODELS, ClientCall, ask_one, warm_up
from tests.system.console import PASSWORD
from tests.system.rows import Rows
from tests.system.servers import Installation, Server

pytestmark = pytest.mark.both_databases

OPERATOR: Final = "ops@acme.example"
MODEL: Final = MODELS["openai"]
SET: Final = f"/models/set?provider=openai&name={MODEL}"
FACTOR: Final = f"/models/factor?provider=openai&name={MODEL}"
PRICE: Final = {
    "form-TOTAL_FORMS": "1",
    "form-INITIAL_FORMS": "0",
    "form-0-service_tier": "standard",
    "form-0-above_input_tokens": "0",
    "form-0-input_usd_per_mtok": "0.123456789",
    "form-0-output_usd_per_mtok": "0.987654321",
    "source": "contract 12",
    "starts_at": "",
}
DISCOUNT: Final = {
    **{"kind": "discount", "amount": "33.3333", "place": "", "scope": "provider"},
    **{"source": "letter of May", "starts_at": ""},
}
OPERATES: Final = f"""
from orgs.models import User
User.objects.filter(email="{OPERATOR}").update(is_staff=True, is_superuser=True)
"""


@pytest.fixture(scope="module")
def servers(installation: Installation) -> list[Server]:
    """Two processes on one database, which both have called the model; an operator."""
    installation.members(("acme", OPERATOR, "member"), password=PASSWORD)
    installation.script(OPERATES)
    started = installation.serve(2)
    for server in started:
        asyncio.run(warm_up(server.url, installation.key))
    return started


async def confirmed(operator: Browser, path: str, typed: Mapping[str, str]) -> None:
    """Preview a change, and confirm it."""
    page = await operator.send("POST", path, fields={**typed, "action": "preview"})
    found = re.search(r'name="version" value="(\d+)"', page.body)
    assert found, page.body
    fields = {**typed, "action": "set", "version": found[1]}
    assert (await operator.send("POST", path, fields=fields)).status == 302


async def test_change_on_page_counts_at_next_request_of_other_process(
    installation: Installation, servers: list[Server], rows: Rows
) -> None:
    (shows, calls), numbers = servers, count()

    async def charges() -> int:
        """Check that a call of the other process costs what the page shows, and return that."""
        page = (await operator.send("GET", f"/models/openai/{MODEL}")).body
        shown = re.findall(r'<th scope="row">(\w+)</th>\D*<data value="(\d+)"', page)
        prices = {name: int(nanoeur) for name, nanoeur in reversed(shown)}  # the first band's
        asked = ClientCall(call=f"call-{next(numbers)}")
        assert (await ask_one(calls.url, installation.key, asked)).is_answered
        [(cost, given, written)] = rows.query(
            "SELECT cost_nanoeur, input_tokens, output_tokens FROM ai_request_log "
            "WHERE client_id = %s",
            asked.call,
        )
        exact = int(given) * prices["input"] + int(written) * prices["output"]
        assert int(cost) == -(-exact // 10**6)
        return int(cost)

    async with Browser(shows.url) as operator:
        await operator.sign_in(OPERATOR, PASSWORD)
        listed = await charges()
        await confirmed(operator, SET, PRICE)
        by_hand = await charges()
        await confirmed(operator, FACTOR, DISCOUNT)
        discounted = await charges()
        history = (await operator.send("GET", f"/models/openai/{MODEL}")).body
        for undone in re.findall(r'name="id" value="([^"]+)"', history):
            page = await operator.send("POST", f"/models/undo?id={undone}", fields={})
            assert page.status == 302, page.body
        assert await charges() == listed
    assert discounted < by_hand
    assert by_hand != listed
