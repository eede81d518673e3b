"""What a failed call means: an SDK's exception becomes one of our errors, and what it proves."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import httpx2

from gateway.core.errors import (
    Broken,
    ProviderFailed,
    RateLimited,
    Rejected,
    TimedOut,
    Unreachable,
)
from gateway.providers.formats import hostile

logger = logging.getLogger("pulse.providers")

MESSAGE_MAX_CHARS: Final = 500
RETRY_AFTER_MAX_S: Final = 24 * 3600
# A proxy's timeout (524 is Cloudflare's) proves nothing: the vendor may have worked and billed.
TIMEOUT_STATUSES: Final = frozenset({408, 504, 524})

# What the vendors' keys look like; OpenAI repeats a refused key with asterisks in its middle.
_KEY = re.compile(
    r"\b(?:sk|pk|rk)-[\w*.-]{4,}|\bAIza[\w-]{8,}|\bAQ\.[\w-]{8,}|\bpulse_\w{8,}|\bBearer\s+\S+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a call goes to: the name for sentences, and the key that must never be in one."""

    title: str
    secret: str

    def said(self, text: str) -> str:
        """Return a vendor's text fit to be shown: on one line, bounded, without keys."""
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        hidden = _KEY.sub("[key]", line.replace(self.secret, "[key]") if self.secret else line)
        if len(hidden) <= MESSAGE_MAX_CHARS:
            return hidden
        return hidden[: MESSAGE_MAX_CHARS - 1] + "…"

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Turn whatever an SDK raises inside the block into a ProviderFailed."""
        try:
            yield
        except ProviderFailed:
            raise
        except Exception as exc:
            # An SDK fed with hostile input can raise anything, and the call may have been billed.
            if isinstance(exc, TypeError | AttributeError | LookupError):
                # Its words may hold a prompt or a key; its kind is enough to start from.
                logger.error(
                    "%s: an SDK or our use of it raised %s", self.title, type(exc).__name__
                )
            raise failure_from(exc, peer=self) from exc


def failure_from(exc: Exception, *, peer: Peer) -> ProviderFailed:
    """Return what the failure means.

    The SDKs wrap httpx2's exceptions and keep the vendor's answer, so the chain of causes and the
    answer's own status decide, never an exception's class or words. What is not proven is unknown.
    """
    chain = list(_causes(exc))
    answer = next((found for link in chain if (found := _answer_of(link)) is not None), None)
    if answer is not None:
        return _judged(answer, exc, peer=peer)
    if any(isinstance(link, httpx2.ConnectError) for link in chain):
        return Unreachable(f'Provider "{peer.title}" could not be reached; nothing was sent')
    if any(isinstance(link, TimeoutError | httpx2.TimeoutException) for link in chain):
        return TimedOut(f'Provider "{peer.title}" did not answer in time')
    return _broken(_said_in(exc), peer=peer)


def _judged(answer: httpx2.Response, exc: Exception, *, peer: Peer) -> ProviderFailed:
    status = answer.status_code
    body = _json(answer)
    if status in TIMEOUT_STATUSES:
        message = f'Provider "{peer.title}" timed out with status {status}'
        return TimedOut(message, provider_status=status)
    if status < HTTPStatus.BAD_REQUEST:
        # A success or a redirect that holds no answer, or an error inside a stream.
        return _broken(hostile.error_message(body) or _said_in(exc), peer=peer, status=status)
    said = peer.said(hostile.error_message(body) or "")
    message = said or f'Provider "{peer.title}" answered with status {status}'
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after_s = _retry_after_s(answer.headers, body)
        return RateLimited(message, provider_status=status, retry_after_s=retry_after_s)
    return Rejected(message, provider_status=status)


def _broken(said: str, *, peer: Peer, status: int | None = None) -> Broken:
    sentence = f'Provider "{peer.title}" broke off before its answer was complete'
    reason = peer.said(said)
    return Broken(f"{sentence}: {reason}" if reason else sentence, provider_status=status)


def _said_in(exc: Exception) -> str:
    """Return what the vendor said in an error event, which the SDKs keep as `body` or `details`."""
    if isinstance(exc, hostile.ErrorAnswer):
        return str(exc)
    events = (getattr(exc, "body", None), getattr(exc, "details", None))
    return next((said for event in events if (said := hostile.error_message(event))), "")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    # Causes only: the context may be an earlier call's failure, and proves nothing for this one.
    link: BaseException | None = exc
    while link is not None:
        yield link
        link = link.__cause__


def _answer_of(exc: BaseException) -> httpx2.Response | None:
    for name in ("response", "raw_response"):  # Mistral's SDK has its own name for it
        found = getattr(exc, name, None)
        if isinstance(found, httpx2.Response):
            return found
    return None


def _json(answer: httpx2.Response) -> object:
    try:
        return json.loads(answer.content)
    except (httpx2.ResponseNotRead, ValueError, RecursionError):
        return None


def _retry_after_s(headers: Mapping[str, str], body: object) -> int | None:
    """Return how long the vendor asks to wait, in whole seconds rounded up.

    OpenAI has `retry-after-ms` too; Google says it in the body, as `"retryDelay": "34s"`:
    https://ai.google.dev/gemini-api/docs/rate-limits
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    candidates = (
        None if milliseconds is None else milliseconds / 1000,
        _number(headers.get("retry-after")),
        _seconds_until(headers.get("retry-after")),
        _number(hostile.retry_delay(body).removesuffix("s")),
    )
    seconds = next((candidate for candidate in candidates if candidate is not None), None)
    if seconds is None:
        return None
    return min(max(math.ceil(seconds), 1), RETRY_AFTER_MAX_S)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _seconds_until(date: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0)
