"""`up`: what `make run` calls. Migrates, creates a demo on the first run, and serves."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from gateway.demo.first_run import FirstRun, prepare
from pulse.server.server import LOOPBACK, CannotServe, local_url, open_socket

WELCOME = """\
Created a first organization, "Demo". Its credentials are shown only once:

  sign in   {url}/login
  email     {email}
  password  {password}
  API key   {key}

A first request, from another terminal:

  curl {url}/api/ai/request \\
    -H "x-pulse-key: {key}" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "sandbox-small", "prompt": "Say hello"}}'
"""


class Command(BaseCommand):
    """Migrate, create a demo on the first run, and serve."""

    help = "Migrate, create a demo organization on an empty database, and serve on this machine."
    requires_system_checks = ()  # as for `serve`

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="default: 8000")

    def handle(self, *args: Any, **options: Any) -> None:
        port: int = options["port"]
        try:
            with open_socket(host=LOOPBACK, port=port) as bound:
                url = local_url(bound)
            first = prepare()
        except CannotServe as exc:
            raise CommandError(str(exc)) from exc
        except OperationalError as exc:
            reason = str(exc).strip().splitlines()[0]
            raise CommandError(f"The database cannot be used: {reason}") from exc
        if first is not None:
            self.stdout.write(_welcome(first, url=url))
        call_command("serve", port=port)


def _welcome(first: FirstRun, *, url: str) -> str:
    return WELCOME.format(url=url, email=first.email, password=first.password, key=first.key)
