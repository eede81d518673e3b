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
from gateway.upstream import untrusted_json
from gateway.upstream.http_client import UpstreamResponse, causes_of
from gateway.upstream.transport import Traffic

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
        hidden = self.hidden(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
        if len(hidden) <= MESSAGE_MAX_CHARS:
            return hidden
        return hidden[: MESSAGE_MAX_CHARS - 1] + "…"

    def hidden(self, text: str) -> str:
        """Return a vendor's text without anything that is or looks like a key."""
        return _KEY.sub("[key]", text.replace(self.secret, "[key]") if self.secret else text)

    def broke_off(self, told: str) -> str:
        """Return the sentence for an answer that ended before its end, and what it told."""
        sentence = f'Provider "{self.title}" broke off before its answer was complete'
        said = self.said(told)
        return f"{sentence}: {said}" if said else sentence

    @contextmanager
    def failures(self, traffic: Traffic) -> Iterator[None]:
        """Turn whatever an SDK raises inside the block, which makes `traffic`, into our errors."""
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
            raise failure_from(exc, traffic, peer=self) from exc


def failure_from(exc: Exception, traffic: Traffic, *, peer: Peer) -> ProviderFailed:
    """Return what the failure means.

    What was sent and answered decides: an answer's status, else whether the request was sent. An
    SDK's classes and words decide nothing. What is not proven is unknown.
    """
    if traffic.answers:
        return _judged(traffic.answers[-1], exc, peer=peer)
    if traffic.was_sent:
        return _timed_out(peer) if _is_timeout(exc) else _broken(exc, peer=peer)
    if _is_timeout(exc) or any(isinstance(link, httpx2.ConnectError) for link in causes_of(exc)):
        return Unreachable(f'Provider "{peer.title}" could not be reached; nothing was sent')
    return Rejected(f'Provider "{peer.title}" cannot be asked this; nothing was sent')


def _judged(answer: UpstreamResponse, exc: Exception, *, peer: Peer) -> ProviderFailed:
    status = answer.status
    if status in TIMEOUT_STATUSES:
        return _timed_out(peer, status=status)
    if status < HTTPStatus.BAD_REQUEST:
        # A success or a redirect that the SDK could not read, or an error inside a stream.
        if _is_timeout(exc):
            return _timed_out(peer, status=status)
        return _broken(exc, peer=peer, status=status)
    return _refusal(status, answer.headers, _body_in(exc), peer=peer)


def answered_with(
    status: int, headers: Mapping[str, str], raw: bytes, *, peer: Peer
) -> ProviderFailed:
    """Return what an answer with an error status means, with its body where that is JSON."""
    if status in TIMEOUT_STATUSES:
        return _timed_out(peer, status=status)
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return _refusal(status, headers, None, peer=peer)
    refusal = _refusal(status, headers, body, peer=peer)
    refusal.body = _without_keys(raw, body, peer)
    return refusal


def _without_keys(raw: bytes, body: object, peer: Peer) -> bytes:
    """Return an error's body as it came, or written anew where a key is in it."""
    text = raw.decode(errors="replace")
    if peer.hidden(text) == text:
        return raw
    return json.dumps(_hidden_in(body, peer), ensure_ascii=False).encode(errors="replace")


def _hidden_in(value: object, peer: Peer) -> object:
    if isinstance(value, str):
        return peer.hidden(value)
    if isinstance(value, list):
        return [_hidden_in(each, peer) for each in value]
    if isinstance(value, dict):
        return {peer.hidden(name): _hidden_in(each, peer) for name, each in value.items()}
    return value


def _refusal(
    status: int, headers: Mapping[str, str], body: object, *, peer: Peer
) -> RateLimited | Rejected:
    said = peer.said(untrusted_json.error_message(body) or "")
    message = said or f'Provider "{peer.title}" answered with status {status}'
    retry_after_s = _retry_after_s(headers, body)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(message, provider_status=status, retry_after_s=retry_after_s)
    return Rejected(message, provider_status=status, retry_after_s=retry_after_s)


def _timed_out(peer: Peer, *, status: int | None = None) -> TimedOut:
    return TimedOut(f'Provider "{peer.title}" did not answer in time', provider_status=status)


def _broken(exc: Exception, *, peer: Peer, status: int | None = None) -> Broken:
    told = str(exc) if isinstance(exc, untrusted_json.ErrorAnswer) else _body_in(exc)
    said = told if isinstance(told, str) else untrusted_json.error_message(told) or ""
    return Broken(peer.broke_off(said), provider_status=status)


def _is_timeout(exc: BaseException) -> bool:
    return any(isinstance(link, TimeoutError | httpx2.TimeoutException) for link in causes_of(exc))


def _body_in(exc: Exception) -> object:
    """Return the vendor's error as JSON, from where the SDKs keep it: None when it is not JSON.

    `body` is OpenAI's and Anthropic's, and Mistral's as text. `details` is Google's, which puts
    a body that is not JSON under `message`.
    """
    body = getattr(exc, "body", None)
    details = untrusted_json.mapping(getattr(exc, "details", None))
    if body is None and "error" in details:
        return details
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
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
        _number(untrusted_json.retry_delay(body).removesuffix("s")),
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
