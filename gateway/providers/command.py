"""`providers list` and `providers check`: which are configured, from where, whether they answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from gateway.core.errors import CredentialsRefused, ProviderFailed
from gateway.providers.registry import SANDBOX, Providers, providers_from_settings
from gateway.providers.variables import VARIABLES
from orgs.console.commands import ActionCommand, add_format, write_rows

CHECK_TIMEOUT_S: Final = 20.0


class Command(ActionCommand):
    """Show and check the providers. No part of a key is ever shown."""

    help = "Show which providers are configured, from where, and whether they answer."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        add_format(add("list", self._list, help="which are configured, and from where"))
        add_format(add("check", self._check, help="call each configured one; exit 1 if one fails"))

    def _list(self, options: dict[str, Any]) -> None:
        rows = [_row(name) for name in (*VARIABLES, SANDBOX)]
        write_rows(self.stdout, rows, format=options["format"])

    def _check(self, options: dict[str, Any]) -> None:
        rows = asyncio.run(_check_all(providers_from_settings()))
        write_rows(self.stdout, rows, format=options["format"])
        failed = [row["provider"] for row in rows if not row["answers"]]
        if failed:
            raise CommandError(f"No valid answer from {', '.join(failed)}")


def _row(name: str) -> dict[str, Any]:
    if name == SANDBOX:
        by = "PULSE_SANDBOX" if "PULSE_SANDBOX" in os.environ else "DEBUG"
        return {
            "provider": name,
            "configured": settings.SANDBOX,
            "key_from": by if settings.SANDBOX else None,
            "base_url": None,
            "base_url_from": None,
        }
    key, base_url = settings.PROVIDERS[name]
    variables = VARIABLES[name]
    return {
        "provider": name,
        "configured": bool(key),
        "key_from": next((each for each in variables.key if os.environ.get(each)), None),
        "base_url": base_url or "the vendor's default",
        "base_url_from": variables.base_url if base_url else None,
    }


async def _check_all(providers: Providers) -> list[dict[str, Any]]:
    try:
        checks = (_ask(providers, name) for name in providers.configured())
        return await asyncio.gather(*checks)
    finally:
        await providers.aclose()


async def _ask(providers: Providers, name: str) -> dict[str, Any]:
    """Return whether the provider answers, and its answer."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            answer = await (await providers.get(name)).check()
    except CredentialsRefused as exc:
        return {"provider": name, "answers": False, "said": f"{exc.message}: {exc.reported}"}
    except ProviderFailed as exc:
        return {"provider": name, "answers": False, "said": exc.message}
    except TimeoutError:
        return {
            "provider": name,
            "answers": False,
            "said": f"no answer within {CHECK_TIMEOUT_S:g} s",
        }
    return {"provider": name, "answers": True, "said": answer}
