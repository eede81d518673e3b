"""Commands use the proxy, authorities and client certificate of the environment."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.commands import manage
from tests.gateway.upstream.certificates import Certificates, make_certificates
from tests.gateway.upstream.proxy_server import ProxyServer, proxy_server
from tests.gateway.upstream.raw_server import HOST, OK, RawServer, raw_server

KEY = "sk-canary0123456789"
USER, PASSWORD = "user", "canary-password"
pytestmark = pytest.mark.django_db(transaction=True)

MODELS = b'{"object": "list", "data": []}'


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


async def _checked(
    certificates: Certificates, proxy: ProxyServer, server: RawServer, **variables: str
) -> tuple[dict[str, Any], str]:
    """Run `providers check` behind the proxy; return its row and all that it printed."""
    environment = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"https://localhost:{server.port}/v1",
        "HTTPS_PROXY": f"http://{USER}:{PASSWORD}@{HOST}:{proxy.port}",
        "SSL_CERT_FILE": str(certificates.authority),
        "PULSE_CLIENT_CERT_FILE": str(certificates.client),
        "PULSE_SANDBOX": "off",
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
    }
    command = asyncio.to_thread(
        manage, "providers", "check", "--format", "json", variables=environment | variables
    )
    ended = await command
    (row,) = json.loads(ended.stdout)
    return row, ended.stdout + ended.stderr


async def _lists_models(server: RawServer) -> None:
    visit = await server.asked()
    head = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(MODELS)
    await visit.say(OK + head + MODELS)


async def test_provider_uses_proxy_of_environment(certificates: Certificates) -> None:
    context = certificates.server_context(asks_client=True)
    async with raw_server(tls=context) as server, proxy_server() as proxy:
        proxy.authorization = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        answering = asyncio.create_task(_lists_models(server))
        row, printed = await _checked(certificates, proxy, server)
        assert row["answers"], printed
        await answering
        assert len(proxy.heads) == 1
        answering = asyncio.create_task(_lists_models(server))
        row, printed = await _checked(certificates, proxy, server, NO_PROXY="localhost")
        assert row["answers"], printed
        await answering
        assert len(proxy.heads) == 1


async def test_proxy_refusal_is_reported_without_password(certificates: Certificates) -> None:
    async with raw_server(tls=certificates.server_context()) as server, proxy_server() as proxy:
        proxy.authorization = "another"
        row, printed = await _checked(certificates, proxy, server)
        assert not row["answers"]
        assert "the proxy refused the connection with status 407" in row["message"]
        assert PASSWORD not in printed
        assert len(proxy.heads) == 1
        assert server.visits == []
