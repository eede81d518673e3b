"""Database outage: every call is refused, nothing is sent, and the process still responds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from orgs.core import keys
from tests.fake_provider import closed_port

pytestmark = pytest.mark.both_databases

# In a process of its own: this one's database is there.
SCRIPT = """
import json, sys
import pulse.asgi
from tests.gateway.wire import send_to_api
key = sys.argv[1]
sent_headers = {"host": "localhost", "x-pulse-key": key, "content-type": "application/json"}
body = b'{"model": "sandbox-small", "prompt": "hi"}'
replies = [
    send_to_api("POST", "/api/ai/request", body=body, headers=sent_headers),
    send_to_api("POST", "/api/ai/quote", body=body, headers=sent_headers),
    send_to_api("GET", "/api/ai/requests", headers=sent_headers),
    send_to_api("GET", "/readyz", headers=sent_headers),
    send_to_api("GET", "/healthz", headers=sent_headers),
]
sys.stdout.write(json.dumps([[reply.status, dict(reply.headers), reply.json] for reply in replies]))
"""


def test_unavailable_database_refuses_every_request() -> None:
    environment = os.environ | {
        "DATABASE_URL": f"postgresql://user@127.0.0.1:{closed_port()}/none",
    }
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, keys.new_key(settings.API_KEY_PEPPER).text],
        env=environment,
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        timeout=240,
        check=True,
    )
    *asked, ready, alive = json.loads(ended.stdout)
    for status, headers, body in asked:
        assert (status, body["code"]) == (503, "ledger_unavailable")
        assert body["error"] == "The gateway's database is unavailable; nothing was sent"
        assert headers["retry-after"] == "1"
    assert (ready[0], ready[2]) == (
        503,
        {"status": "not ready", "database": "away", "ledger": "ok"},
    )
    assert (alive[0], alive[2]) == (200, {"status": "ok"})
