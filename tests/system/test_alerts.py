"""Servers send alerts by themselves: a budget is exceeded, and a webhook gets it once."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any, Final

import pytest

from tests.gateway.receiver import Receiver
from tests.system.clients import until
from tests.system.rows import Rows
from tests.system.servers import Installation

pytestmark = pytest.mark.both_databases

OFTEN: Final = {"PULSE_ALERTS_EVERY_S": "0.5", "PULSE_ALERTS_RETRY_S": "0.5"}
BODY: Final = {"model": "sandbox-small", "prompt": "Say hello", "maxTokens": 10}


def ask(url: str, key: str) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310
        f"{url}/api/ai/request",
        data=json.dumps(BODY).encode(),
        headers={"x-pulse-key": key, "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        answer_json: dict[str, Any] = json.load(answer)
        return answer_json


async def test_two_servers_send_budget_alert_once_without_delaying_requests(
    installation: Installation, rows: Rows
) -> None:
    with Receiver(statuses=[503, 200]) as receiver:
        receiver.may_answer.clear()
        installation.run_each(
            ("alerts", "add-channel", "acme", "Ops", "--webhook", receiver.url),
            (
                "budgets",
                "create",
                "acme",
                "Tiny",
                "--limit",
                "0.00000001",
                "--per",
                "month",
                "--warn",
            ),
        )
        servers = installation.serve(2, PULSE_SANDBOX="on", **OFTEN)
        ask(servers[0].url, installation.key)
        await until(lambda: len(receiver.received) == 1)
        # The receiver does not answer yet; requests do not wait for it.
        for server in servers:
            assert ask(server.url, installation.key)["success"]
        receiver.may_answer.set()
        body = json.loads(receiver.received[0].body)
        assert (body["event"], body["percent"]) == ("budget.threshold", 100)
        assert 'Budget "Tiny" is spent' in body["text"]
        assert "Say hello" not in receiver.received[0].body.decode()
        await until(lambda: rows.value("SELECT state FROM alert_delivery") == "delivered")
        assert rows.value("SELECT count(*) FROM alert") == 1
        assert len({got.headers["idempotency-key"] for got in receiver.received}) == 1
        for server in servers:
            server.terminate()
        codes = [await asyncio.to_thread(server.wait) for server in servers]
        assert codes == [0, 0]
    assert "Traceback" not in installation.logs()
