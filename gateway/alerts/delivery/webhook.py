"""Sends one signed POST: to the address that was checked, within a time limit, no redirects."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.alerts.delivery.addresses import Reach, fault_of_address, fault_of_url, literal_address

TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
NO_URL: Final = "Not a valid URL."
# Of 4xx, those that may pass by themselves.
PASSING: Final = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one try, as a short text. `may_pass` means that a retry may succeed."""

    is_delivered: bool
    detail: str
    may_pass: bool = False


class AddressRefused(OSError):
    """The name resolves to an address that webhooks must not reach."""


def post(url: str, body: bytes, headers: Mapping[str, str], reach: Reach) -> Outcome:
    """Send the body and return what came of it. Blocks, for TIMEOUT_S at most."""
    if fault := fault_of_url(url, reach) or _fault_as_sent(url, reach):
        return Outcome(is_delivered=False, detail=fault)
    return asyncio.run(_post(url, body, headers, reach))


def _fault_as_sent(url: str, reach: Reach) -> str | None:
    """Return what is wrong with the URL as the client that sends it reads it."""
    try:
        host = URL(url).host
    except ValueError:
        return NO_URL
    address = literal_address(host or "")
    return None if address is None else fault_of_address(address, reach)


async def _post(url: str, body: bytes, headers: Mapping[str, str], reach: Reach) -> Outcome:
    connector = aiohttp.TCPConnector(
        resolver=_Resolver(reach), force_close=True, use_dns_cache=False
    )
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            # The rest of the answer is not read: it may come from another network.
            return _of_status(answer.status)
    except AddressRefused as exc:
        return Outcome(is_delivered=False, detail=str(exc))
    except aiohttp.ClientConnectorError as exc:
        if isinstance(exc.os_error, AddressRefused):
            return Outcome(is_delivered=False, detail=str(exc.os_error))
        return _failed(f"no connection: {_reason(exc)}")
    except aiohttp.InvalidURL:
        return Outcome(is_delivered=False, detail=NO_URL)
    except TimeoutError:
        return _failed(f"no answer within {TIMEOUT_S:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return _failed(f"no answer: {type(exc).__name__}")


class _Resolver(AbstractResolver):
    """Resolve names by the system's resolver and reject non-public addresses.

    The connection goes to the addresses that were checked here: a name that is changed in between
    is of no use. Where one of several is refused, all are.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results = []
        for kind, _, protocol, _, place in found:
            text = f"{place[0]}"
            address = literal_address(text.partition("%")[0])
            if address is None:
                raise AddressRefused(f"{host} does not resolve to a valid address.")
            if fault := fault_of_address(address, self._reach):
                raise AddressRefused(f"{host} resolves to a blocked address: {fault}")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is kept."""


def _of_status(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(is_delivered=True, detail=f"{status}")
    if 300 <= status < 400:
        detail = f"{status}: a redirect, which is not followed"
        return Outcome(is_delivered=False, detail=detail)
    return Outcome(
        is_delivered=False, detail=f"{status}", may_pass=status >= 500 or status in PASSING
    )


def _failed(detail: str) -> Outcome:
    return Outcome(is_delivered=False, detail=detail, may_pass=True)


def _reason(exc: aiohttp.ClientConnectorError) -> str:
    return exc.os_error.strerror or type(exc.os_error).__name__
