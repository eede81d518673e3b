"""Translate a failed call, or an SDK's exception, into one of our errors and what it proves."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import quote_plus

import httpx2

from gateway.core.errors import (
    Broken,
    CredentialsRefused,
    ProviderFailed,
    RateLimited,
    Rejected,
    TimedOut,
    Unreachable,
)
from gateway.core.providers import GENERATE, ProviderConfig
from gateway.upstream import untrusted_json
from gateway.upstream.http_client import (
    BrokenOff,
    NotSent,
    Silent,
    UpstreamResponse,
    causes_of,
)
from gateway.upstream.returned_headers import UPSTREAM_ID_HEADER, returned
from gateway.upstream.signing.signers import signer_of
from gateway.upstream.transport import Traffic

logger = logging.getLogger("pulse.providers")

MESSAGE_MAX_CHARS: Final = 500
# Servers that check no key are given a word (`EMPTY`, `ollama`), which answers have in them.
SECRET_MIN_CHARS: Final = 8
# A timeout proves nothing, not even the vendor's own: it may have worked and billed. 524 is
# Cloudflare's.
TIMEOUT_STATUSES: Final = frozenset({408, 504, 524})

_WRONG_KEY: Final = "Incorrect API key provided"

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
    """A call's provider: its name for messages, and its key, which no message may contain.

    `made` returns what a signer put into requests besides: tokens, for example.
    """

    title: str
    secret: str
    made: Callable[[], Sequence[str]] = tuple

    @classmethod
    def of(cls, config: ProviderConfig) -> Self:
        """Return the peer that a provider is."""
        signer = signer_of(config)
        return cls(config.title, config.secret, made=signer.hidden if signer else tuple)

    def shown(self, text: str) -> str:
        """Return a vendor's text for a message: on one line, bounded, without keys."""
        hidden = self.hidden(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
        if len(hidden) <= MESSAGE_MAX_CHARS:
            return hidden
        return hidden[: MESSAGE_MAX_CHARS - 1] + "…"

    def hidden(self, text: str) -> str:
        """Return a vendor's text with everything that looks like a key or an account hidden."""
        return _ACCOUNT.sub("[account]", _KEY.sub("[key]", self.without_key(text)))

    def without_key(self, text: str) -> str:
        """Return the text of an answer without the provider's own key, otherwise unchanged."""
        for secret in self._secrets():
            text = text.replace(secret, "[key]")
        return text

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
        for secret in self._secrets():
            answer = answer.replace(secret.encode(), b"[key]")
        return answer

    def _secrets(self) -> list[str]:
        return [*_forms_of(self.secret), *filter(None, self.made())]

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


@lru_cache(maxsize=1_000)
def _forms_of(secret: str) -> tuple[str, ...]:
    """Return how a secret can be in answers: proxies repeat URLs, and JSON in JSON."""
    if len(secret) < SECRET_MIN_CHARS:
        return ()
    return tuple(dict.fromkeys((secret, quote_plus(secret), json.dumps(secret)[1:-1])))


def failure_from(exc: Exception, traffic: Traffic, *, peer: Peer) -> ProviderFailed:
    """Classify the failure.

    Only what was sent and answered decides: an answer's status and body, else whether the request
    was sent. An SDK's exception classes and messages decide nothing. What is not proven is unknown.
    """
    if traffic.answers:
        return _answered(traffic, exc, peer=peer)
    if traffic.was_sent:
        return _timed_out(peer, exc) if _is_timeout(exc) else _broken(exc, peer=peer)
    if _is_timeout(exc) or any(isinstance(link, httpx2.ConnectError) for link in causes_of(exc)):
        return unreachable(exc, peer=peer)
    return Rejected(
        f'The request could not be encoded for provider "{peer.title}"; nothing was sent'
    )


def broken_off(exc: BrokenOff, *, peer: Peer, status: int | None = None) -> Broken | TimedOut:
    """Return the failure of a request that was sent, and whose answer did not come to its end."""
    if isinstance(exc, Silent):
        return _timed_out(peer, exc, status=status)
    return Broken(peer.broke_off(""), provider_status=status)


def unreachable(exc: Exception, *, peer: Peer) -> Unreachable:
    """Return the failure of a request that was not sent, and log what was in the way."""
    not_sent = next((link for link in causes_of(exc) if isinstance(link, NotSent)), None)
    logger.warning("%s: %s", peer.title, not_sent or "no connection was made in time")
    obstacle = not_sent.obstacle if not_sent else "no connection was made in time"
    because = f": {obstacle}" if obstacle else ""
    return Unreachable(f'Provider "{peer.title}" could not be reached{because}; nothing was sent')


def _answered(traffic: Traffic, exc: Exception, *, peer: Peer) -> ProviderFailed:
    answer = traffic.answers[-1]
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return answered_with(answer, traffic.error, peer=peer, dialect=None)
    # A success or a redirect that the SDK could not parse, or an error inside a stream.
    if _is_timeout(exc):
        return _timed_out(peer, exc, status=answer.status)
    return _broken(exc, peer=peer, status=answer.status)


def answered_with(
    answer: UpstreamResponse, raw: bytes, *, peer: Peer, dialect: str | None
) -> ProviderFailed:
    """Classify an answer with an error status.

    One that is relayed keeps its body if it is an error that clients of its `dialect` can read.

    A 5xx proves that nothing was billed only if it is the vendor's own error. Proxies on the way
    answer with 502, 503 and 520 to 530 too, also after the vendor has worked:
    https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
    """
    body, headers = _json(raw), returned(answer.headers, peer.hidden)
    failure = _classified(answer, body, peer=peer)
    if isinstance(failure, CredentialsRefused | Unreachable):
        failure.headers = {name: headers[name] for name in headers.keys() & {UPSTREAM_ID_HEADER}}
        return failure
    own = untrusted_json.own_error(body)
    failure.headers, failure.provider_type = headers, own and peer.shown(own)
    is_shown = failure.nothing_billed and untrusted_json.error_message(body) is not None
    if dialect and _is_error_in(dialect, body) and (is_shown or own is not None):
        failure.body = _without_keys(raw, body, peer)
    return failure


def _is_error_in(dialect: str, body: object) -> bool:
    """Whether a JSON value has the form of an error for a dialect's clients.

    xAI's and TGI's `error` is a sentence; Vertex AI has a list in chat, as Google in its streams.
    """
    if isinstance(body, list):
        return dialect == GENERATE
    return not isinstance(untrusted_json.mapping(body).get("error"), str)


def _classified(answer: UpstreamResponse, body: object, *, peer: Peer) -> ProviderFailed:
    status, is_own = answer.status, untrusted_json.own_error(body) is not None
    reported = peer.shown(untrusted_json.error_message(body) or "")
    message = reported or f'Provider "{peer.title}" answered with status {status}'
    kind = RateLimited if status == HTTPStatus.TOO_MANY_REQUESTS else Rejected
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        obstacle = f"the proxy refused the connection with status {status}"
        return unreachable(NotSent(obstacle, obstacle=obstacle), peer=peer)
    if _is_about_our_key(status, body):
        return _credentials_refused(message, status, peer=peer)
    if status in TIMEOUT_STATUSES:
        sentence = message if is_own else f'Provider "{peer.title}" did not answer in time'
        return TimedOut(sentence, provider_status=status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not is_own:
        sentence = f'Provider "{peer.title}", or a proxy, answered with status {status}'
        return Broken(f"{sentence}; the outcome is unknown", provider_status=status)
    retry_after_s = _retry_after_s(answer.headers, body)
    return kind(message, provider_status=status, retry_after_s=retry_after_s)


def _is_about_our_key(status: int, body: object) -> bool:
    """Whether a refusal is about this installation's key, account or network.

    Vendors know nothing of our callers, so a 401 or 403 is never about the caller's key; OpenAI's
    403 of a model that our project may not use is about the request's model.
    https://developers.openai.com/api/docs/guides/error-codes (401; 403: unsupported country)
    https://platform.claude.com/docs/en/api/errors (401 authentication_error, 403 permission_error)
    https://ai.google.dev/gemini-api/docs/troubleshooting (403 PERMISSION_DENIED)
    Google's invalid or expired key is a 400 with a reason:
    https://cloud.google.com/apis/design/errors and google/api/error_reason.proto
    xAI's wrong key is a 400 with only a sentence: https://docs.x.ai/docs/key-information/debugging
    """
    error = untrusted_json.error_in(body)
    if status == HTTPStatus.FORBIDDEN:
        return error.get("code") != "model_not_found"
    if status == HTTPStatus.BAD_REQUEST:
        details = untrusted_json.items(error.get("details"))
        sentence = untrusted_json.text(untrusted_json.mapping(body).get("error"))
        return sentence.startswith(_WRONG_KEY) or any(
            untrusted_json.mapping(each).get("reason") == "API_KEY_INVALID" for each in details
        )
    return status == HTTPStatus.UNAUTHORIZED


def _credentials_refused(reported: str, status: int, *, peer: Peer) -> CredentialsRefused:
    # Not its message, which may repeat the prompt; `providers check` shows it.
    logger.warning("%s refused this installation's key with status %s", peer.title, status)
    sentence = f'Provider "{peer.title}" refused the credentials of this gateway (status {status})'
    return CredentialsRefused(
        f"{sentence}; an operator must correct them", reported=reported, provider_status=status
    )


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _without_keys(raw: bytes, body: object, peer: Peer) -> bytes:
    """Return an error's body unchanged, or re-encoded with keys and accounts hidden."""
    shown = peer.hidden_in(body)
    if shown == body:
        return raw
    return json.dumps(shown, ensure_ascii=False).encode(errors="replace")


def _timed_out(peer: Peer, exc: Exception, *, status: int | None = None) -> TimedOut:
    silent = next((link for link in causes_of(exc) if isinstance(link, Silent)), None)
    what = f"{silent}" if silent else "did not answer in time"
    return TimedOut(f'Provider "{peer.title}" {what}', provider_status=status)


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
    return _json(body.encode(errors="replace")) if isinstance(body, str) else body


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
    return max(math.ceil(seconds), 1)


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
