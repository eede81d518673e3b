"""`serve`: the production server."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from gateway.provider_rows.reports import unusable
from orgs.console.commands import keep_served_url
from pulse.server.server import LOOPBACK, CannotServe, local_url, open_socket, serve

WORKERS_MAX = 64


class Command(BaseCommand):
    """Serve until stopped."""

    help = "Serve the gateway (ASGI). On SIGTERM, running calls end first."
    # `manage.py check` runs them; here they would load every page before the first request.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=LOOPBACK, help=f"default: {LOOPBACK}")
        parser.add_argument("--port", type=int, default=8000, help="default: 8000")
        parser.add_argument("--workers", type=int, default=1, help="processes; default: 1")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port, workers = options["host"], options["port"], options["workers"]
        if not 1 <= workers <= WORKERS_MAX:
            raise CommandError(f"--workers must be between 1 and {WORKERS_MAX}")
        if not 1 <= port <= 65535:
            raise CommandError("--port must be between 1 and 65535")
        try:
            bound = open_socket(host=host, port=port)
        except CannotServe as exc:
            raise CommandError(str(exc)) from exc
        if not settings.LOCAL:
            call_command("collectstatic", interactive=False, verbosity=0)
        for fault in _unusable_providers():
            self.stderr.write(f"Warning: {fault}")
        keep_served_url(local_url(bound))
        self.stdout.write(f"Serving on {local_url(bound)} - press Ctrl+C to stop.")
        self.stdout.flush()
        serve(bound, workers=workers)


def _unusable_providers() -> list[str]:
    """Return why rows of providers cannot be called; without a database, `/readyz` says so."""
    try:
        return unusable()
    except DatabaseError:
        return []
    finally:
        connections.close_all()
