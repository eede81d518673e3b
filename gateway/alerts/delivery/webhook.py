"""Sends one signed POST: to the address that was checked, within a time limit, no redirects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from gateway.core.providers import Reach
from gateway.upstream.reach import NOT_VALID, AddressRefused, CheckedResolver, fault_of_url

TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
# Without the address: names of an inside network are not for an organization.
NOT_PUBLIC: Final = "The name resolves to an address that is not public."
# Of 4xx, those that may pass by themselves.
PASSING: Final = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one try, as a short text. `may_pass` means that a retry may succeed."""

    is_delivered: bool
    detail: str
    may_pass: bool = False


def post(url: str, body: bytes, headers: Mapping[str, str], reach: Reach) -> Outcome:
    """Send the body and return what came of it. Blocks, for TIMEOUT_S at most."""
    if fault := fault_of_url(url, reach):
        return Outcome(is_delivered=False, detail=fault)
    return asyncio.run(_post(url, body, headers, reach))


async def _post(url: str, body: bytes, headers: Mapping[str, str], reach: Reach) -> Outcome:
    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(reach), force_close=True, use_dns_cache=False
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
            session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            # The rest of the answer is not read: it may come from another network.
            return _of_status(answer.status)
    except aiohttp.ClientConnectorError as exc:
        if isinstance(exc.os_error, AddressRefused):
            return Outcome(is_delivered=False, detail=NOT_PUBLIC)
        return _failed(f"no connection: {_reason(exc)}")
    except aiohttp.InvalidURL:
        return Outcome(is_delivered=False, detail=NOT_VALID)
    except TimeoutError:
        return _failed(f"no answer within {TIMEOUT_S:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return _failed(f"no answer: {type(exc).__name__}")


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
