"""Access tokens: fetched from a token server, and kept until they expire."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from gateway.core.providers import Reach, TimeLimits
from gateway.upstream import untrusted_json
from gateway.upstream.http_client import BrokenOff, HttpClient, NotSent, UpstreamResponse, address

# A token is renewed so long before it expires, while it still counts and no call has to wait.
# Google's metadata server hands out the same one until its last four minutes.
RENEWED_BEFORE_S: Final = 225.0
# What is left of a token must last until the provider has checked it.
LEFT_MIN_S: Final = 15.0
LIFE_MAX_S: Final = 24 * 3600.0
LIFE_UNKNOWN_S: Final = 300.0
TOKEN_LIMITS: Final = TimeLimits(connect_s=10, first_byte_s=10, idle_s=10, total_s=20)
ANSWER_MAX_BYTES: Final = 64 * 1024

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_CODE: Final = re.compile(r"[a-z_]{1,40}")  # `invalid_client`: RFC 6749, section 5.2

logger = logging.getLogger("pulse.providers")


class NoToken(NotSent):
    """No credentials could be had, so that the request that needs them was not sent."""

    def __init__(self, obstacle: str) -> None:
        super().__init__(obstacle, obstacle=obstacle)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that can be in a header, and when it expires, in seconds since 1970."""

    text: str = field(repr=False)
    expires_at: float

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not _TOKEN.fullmatch(self.text):
            raise NoToken("the token server sent no usable token")


@dataclass(slots=True, eq=False)
class TokenCache:
    """A token that is fetched by one request for all that wait for it on their event loop."""

    fetch: Callable[[HttpClient], Awaitable[AccessToken]]
    clock: Callable[[], float] = time.time
    _token: AccessToken | None = None
    _before: AccessToken | None = None
    _fetching: dict[asyncio.AbstractEventLoop, asyncio.Task[AccessToken]] = field(
        default_factory=dict
    )

    def hidden(self) -> tuple[str, ...]:
        """The tokens that answers may repeat and messages must not: this one and the last."""
        return tuple(token.text for token in (self._token, self._before) if token)

    async def get(self, http: HttpClient) -> str:
        """Return the token; wait for a new one only if the last has expired. Raises NotSent."""
        token, now = self._token, self.clock()
        if token is not None and now < token.expires_at - RENEWED_BEFORE_S:
            return token.text
        fetching = self._fetched(http)
        if token is not None and now < token.expires_at - LEFT_MIN_S:
            return token.text
        with nothing_sent():
            # Shielded: a cancelled caller must not fail the others.
            return (await asyncio.shield(fetching)).text

    def _fetched(self, http: HttpClient) -> asyncio.Task[AccessToken]:
        """Return the running request for a token, else begin one."""
        loop = asyncio.get_running_loop()
        task = self._fetching.get(loop)
        if task is None:
            task = self._fetching[loop] = loop.create_task(self._fetch(http))
            task.add_done_callback(self._ended)
        return task

    async def _fetch(self, http: HttpClient) -> AccessToken:
        try:
            async with asyncio.timeout(TOKEN_LIMITS.total_s):
                token = await self.fetch(http)
        except TimeoutError as exc:
            raise NoToken("the token server did not answer in time") from exc
        self._token, self._before = token, self._token
        return token

    def _ended(self, task: asyncio.Task[AccessToken]) -> None:
        del self._fetching[task.get_loop()]
        # No call may have waited for it.
        if not task.cancelled() and (failure := task.exception()):
            logger.warning("no access token: %s", failure)


@contextmanager
def nothing_sent() -> Iterator[None]:
    """Let a cancellation inside the block prove that the provider was sent nothing."""
    try:
        yield
    except asyncio.CancelledError as exc:
        raise exc from NoToken("no credentials were had in time")


@dataclass(frozen=True, slots=True)
class TokenServerAnswer:
    """A whole answer of a token server; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)


async def requested(
    http: HttpClient, url: str, *, form: Mapping[str, str], now: float, reach: Reach | None = None
) -> AccessToken:
    """Request a token by an OAuth form (RFC 6749, section 4.4). Raises NotSent.

    `reach` None checks no address: for those that no tenant chooses.
    """
    found = await answer_of(
        http,
        url,
        headers={
            "accept": "application/json",
            "content-type": "application/x-www-form-urlencoded",
        },
        body=urlencode(form).encode(),
        reach=reach,
    )
    answer = untrusted_json.mapping(_json(found.data))
    if found.status != HTTPStatus.OK:
        code = untrusted_json.text(answer.get("error"))
        because = f" ({code})" if _CODE.fullmatch(code) else ""
        raise NoToken(f"the token server answered with status {found.status}{because}")
    return AccessToken(
        untrusted_json.text(answer.get("access_token")),
        expires_at=now + _life_s(answer.get("expires_in")),
    )


async def answer_of(  # noqa: PLR0913  keyword-only; all that a request has
    http: HttpClient,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    method: str = "POST",
    reach: Reach | None = None,
) -> TokenServerAnswer:
    """Send one request to a token server and read the answer. Raises NotSent."""
    try:
        response = await http.send(
            address(url),
            headers=headers,
            body=body,
            method=method,
            limits=TOKEN_LIMITS,
            reach=reach,
        )
        try:
            read = await _body(response)
        finally:
            response.release()
    except NoToken:
        raise
    except NotSent as exc:
        obstacle = exc.obstacle or "its address is not valid"
        raise NoToken(f"the token server could not be reached: {obstacle}") from exc
    except BrokenOff as exc:
        raise NoToken("the token server sent no complete answer") from exc
    return TokenServerAnswer(response.status, response.headers, read)


async def _body(response: UpstreamResponse) -> bytes:
    body = b""
    while chunk := await response.next():
        body += chunk
        if len(body) > ANSWER_MAX_BYTES:
            raise NoToken("the token server sent an answer above the size limit")
    return body


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _life_s(value: object) -> float:
    """Return for how many seconds a token counts; Entra's older servers send a text."""
    try:
        life_s = float(value) if isinstance(value, int | float | str) else LIFE_UNKNOWN_S
    except (ValueError, OverflowError):
        return LIFE_UNKNOWN_S
    return min(life_s, LIFE_MAX_S) if life_s > 0 else LIFE_UNKNOWN_S
