"""An installation with two tenants: Acme, which is measured, and a rival with a year of data."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.system.clients import ClientCall, ask_one, warm_up
from tests.system.databases import Databases, at_upstream, prepare
from tests.system.rows import Rows
from tests.system.servers import HOST, Installation, Server
from tests.system.upstream import Upstream
from tests.worst.wire import Target

PASSWORD: Final = "correct horse battery staple"
ADMIN: Final = "admin@rival.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A prepared installation, whose servers come and go."""

    installation: Installation
    rivals_upstream: Upstream
    temporary: Path  # the servers' temporary folder
    rivals_key: str

    @contextmanager
    def server(self) -> Iterator[Server]:
        """A new server process that has called every vendor, each of which behaves."""
        self.rivals_upstream.reset()
        # An earlier attack's wrong passwords must not keep the admin's from signing in.
        Rows(self.installation.database_url).execute("DELETE FROM sign_in_counter")
        [server] = self.installation.serve(TMPDIR=str(self.temporary))
        try:
            asyncio.run(warm_up(server.url, self.installation.key))
            rivals = ClientCall(call="first", more={"model": "sandbox-small"})
            asyncio.run(ask_one(server.url, self.rivals_key, rivals))
            yield server
        finally:
            server.kill()

    def target(self, server: Server) -> Target:
        """Return what attackers need."""
        return Target(
            port=server.port,
            provider_port=self.rivals_upstream.port,
            key=self.rivals_key,
            email=ADMIN,
            password=PASSWORD,
        )


@contextmanager
def prepared(*, requests: int) -> Iterator[Stage]:
    """Make the installation; the rival has so many requests of a year."""
    with tempfile.TemporaryDirectory(prefix="pulse-worst-") as name:
        folder = Path(name)
        databases = Databases(folder)
        database = databases.make()
        upstream, rivals_upstream = (Upstream(folder / f"calls-{n}.jsonl") for n in range(2))
        # What the rival's provider is busy with must not delay the provider of the others.
        mistral = {"MISTRAL_BASE_URL": f"http://{HOST}:{rivals_upstream.port}/mistral"}
        installation = Installation(
            database_url=databases.url(database),
            folder=folder / "servers",
            environment={
                **at_upstream(upstream.port),
                **mistral,
                "PULSE_ALERTS_PRIVATE_HOSTS": "on",
            },
        )
        temporary = folder / "temporary"
        temporary.mkdir()
        installation.folder.mkdir()
        try:
            installation.key = prepare(installation)
            key = _rival(installation, requests)
            yield Stage(
                installation=installation,
                rivals_upstream=rivals_upstream,
                temporary=temporary,
                rivals_key=key,
            )
        finally:
            installation.kill_all()
            upstream.stop()
            rivals_upstream.stop()
            databases.drop(database)


def _rival(installation: Installation, requests: int) -> str:
    output = installation.run_each(
        ("invent", "rival", "--requests", str(requests)),
        ("policies", "create", "rival", "--name", "Tokens", "--max-tokens", "1000000"),
        ("keys", "create", "rival", "--name", "attacks"),
    )
    installation.members(("rival", ADMIN, "admin"), password=PASSWORD)
    return next(line for line in output.splitlines() if line.startswith("pulse_"))
