"""Run the fake provider as a process: python -m tests.fake_provider --port P."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from tests.fake_provider.hosts import HOSTS
from tests.fake_provider.hosts.app import make_host_app
from tests.fake_provider.records import Records
from tests.fake_provider.server import make_app
from tests.fake_provider.thread import serve


async def _until_stopped(port: int) -> None:
    sys.stdout.write(f"listening on {port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted; says the port on its first line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fake_provider")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--record", type=Path, help="append a line for each call, and wait for it")
    parser.add_argument(
        "--host", choices=HOSTS, help="one of these servers in place of the vendors"
    )
    options = parser.parse_args()
    records = Records(options.record)
    host = options.host
    app = make_app(records) if host is None else make_host_app(records, HOSTS[host])
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(app, options.port, _until_stopped))


main()
