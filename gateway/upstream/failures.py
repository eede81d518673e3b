"""Translate a failed call, or an SDK's exception, into one of our errors and what it proves."""

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

# The format of the vendors' keys; OpenAI repeats a rejected key with asterisks in the middle.
_KEY = re.compile(
    r"\b(?:sk|pk|rk)-[\w*.-]{4,}|\bAIza[\w-]{8,}|\bAQ\.[\w-]{8,}|\bpulse_\w{8,}|\bBearer\s+\S+",
    re.IGNORECASE,
)
# The vendors name the account in messages about its limits: OpenAI's organization and project,
# Anthropic's organization and workspace, Google's project. All tenants share it.
_ACCOUNT = re.compile(
    r"\borg-\w{12,}|\bproj_\w{8,}|\bwrkspc_\w{8,}|\bapikey_\w{8,}"
    r"|\bproject_number:\s*\d+|\bprojects/[\w-]+"
    r"|(?<=\b(?:org))\W{1,4}_UUID|(?<=organization)\W{1,4}_UUID|(?<=workspace)\W{1,4}_UUID".replace(
        "_UUID", r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Peer:
    """A call's provider: its name for messages, and its key, which no message may contain."""

    title: str
    secret: str

    def shown(self, text: str) -> str:
        """Return a vendor's text for a message: on one line, bounded, without keys."""
        hidden = self.hidden(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
        if len(hidden) <= MESSAGE_MAX_CHARS:
            return hidden
        return hidden[: MESSAGE_MAX_CHARS - 1] + "…"

    def hidden(self, text: str) -> str:
        """Return a vendor's text with everything that looks like a key or an account hidden."""
        known = text.replace(self.secret, "[key]") if self.secret else text
        return _ACCOUNT.sub("[account]", _KEY.sub("[key]", known))

    def hidden_in(self, value: object) -> object:
        """Return a vendor's error as JSON with keys and accounts hidden."""
        if isinstance(value, str):
            return self.hidden(value)
        if isinstance(value, list):
            return [self.hidden_in(each) for each in value]
        if isinstance(value, dict):
            return {self.hidden(name): self.hidden_in(each) for name, each in value.items()}
        return value

    def without_secret(self, answer: bytes) -> bytes:
        """Return an answer without the provider's own key, otherwise unchanged."""
        secret = self.secret.encode()
        return answer.replace(secret, b"[key]") if secret and secret in answer else answer

    def broke_off(self, reported: str) -> str:
        """Return the sentence for a truncated answer, with the error that it reported."""
        sentence = f'Provider "{self.title}" closed the connection before its answer was complete'
        shown = self.shown(reported)
        return f"{sentence}: {shown}" if shown else sentence

    @contextmanager
    def failures(self, traffic: Traffic) -> Iterator[None]:
        """Translate what an SDK raises inside the block, which makes `traffic`, into our errors."""
        try:
            yield
        except ProviderFailed:
            raise
        except Exception as exc:
            # An SDK can raise anything on malformed input, and the call may have been billed.
            if isinstance(exc, TypeError | AttributeError | LookupError):
                # Its message may contain a prompt or a key; its type is enough to start from.
                logger.error(
                    "%s: an SDK, or our use of it, raised %s", self.title, type(exc).__name__
                )
            raise failure_from(exc, traffic, peer=self) from exc


def failure_from(exc: Exception, traffic: Traffic, *, peer: Peer) -> ProviderFailed:
    """Classify the failure.

    Only what was sent and answered decides: an answer's status, else whether the request was sent.
    An SDK's exception classes and messages decide nothing. What is not proven is unknown.
    """
    if traffic.answers:
        return _answered(traffic.answers[-1], exc, peer=peer)
    if traffic.was_sent:
        return _timed_out(peer) if _is_timeout(exc) else _broken(exc, peer=peer)
    if _is_timeout(exc) or any(isinstance(link, httpx2.ConnectError) for link in causes_of(exc)):
        return Unreachable(f'Provider "{peer.title}" could not be reached; nothing was sent')
    return Rejected(
        f'The request could not be encoded for provider "{peer.title}"; nothing was sent'
    )


def _answered(answer: UpstreamResponse, exc: Exception, *, peer: Peer) -> ProviderFailed:
    status = answer.status
    if status in TIMEOUT_STATUSES:
        return _timed_out(peer, status=status)
    if status < HTTPStatus.BAD_REQUEST:
        # A success or a redirect that the SDK could not parse, or an error inside a stream.
        if _is_timeout(exc):
            return _timed_out(peer, status=status)
        return _broken(exc, peer=peer, status=status)
    return _refusal(status, answer.headers, _body_in(exc), peer=peer)


def answered_with(
    status: int, headers: Mapping[str, str], raw: bytes, *, peer: Peer
) -> ProviderFailed:
    """Classify an answer with an error status; keep its body if it is JSON."""
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
    """Return an error's body unchanged, or re-encoded with keys and accounts hidden."""
    shown = peer.hidden_in(body)
    if shown == body:
        return raw
    return json.dumps(shown, ensure_ascii=False).encode(errors="replace")


def _refusal(
    status: int, headers: Mapping[str, str], body: object, *, peer: Peer
) -> RateLimited | Rejected:
    shown = peer.shown(untrusted_json.error_message(body) or "")
    message = shown or f'Provider "{peer.title}" answered with status {status}'
    retry_after_s = _retry_after_s(headers, body)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(message, provider_status=status, retry_after_s=retry_after_s)
    return Rejected(message, provider_status=status, retry_after_s=retry_after_s)


def _timed_out(peer: Peer, *, status: int | None = None) -> TimedOut:
    return TimedOut(f'Provider "{peer.title}" did not answer in time', provider_status=status)


def _broken(exc: Exception, *, peer: Peer, status: int | None = None) -> Broken:
    if isinstance(exc, untrusted_json.ErrorAnswer):
        return Broken(peer.broke_off(str(exc)), provider_status=status, usage=exc.usage)
    body = _body_in(exc)
    reported = body if isinstance(body, str) else untrusted_json.error_message(body) or ""
    return Broken(peer.broke_off(reported), provider_status=status)


def _is_timeout(exc: BaseException) -> bool:
    return any(isinstance(link, TimeoutError | httpx2.TimeoutException) for link in causes_of(exc))


def _body_in(exc: Exception) -> object:
    """Return the vendor's error as JSON, from the SDK's exception; None if it is not JSON.

    OpenAI and Anthropic have it in `body`, Mistral as text. Google has it in `details`, with a
    body that is not JSON under `message`.
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
    """Return the vendor's requested delay in whole seconds, rounded up.

    OpenAI also sends `retry-after-ms`; Google sends it in the body, as `"retryDelay": "34s"`:
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
