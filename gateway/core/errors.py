"""All errors of a request: one small tree, each class with its status and code.

GatewayError
├── Refused                 the gateway refused; nothing was sent
│   ├── KeyNotAllowed       403  the key lacks the permission for such a request
│   ├── NoRoom              403  a limit on money leaves no room for it; 429 if it is only held,
│   │                            or over a rate
│   ├── NotKept             404  it names an id that the provider did not give to the organization
│   └── AlreadyDone         409  the Idempotency-Key's request was already completed
└── ProviderFailed          a provider was called, or could not be
    ├── NotConfigured       503  nothing was sent
    ├── ProviderFull        429  it has as many calls as it takes at once: nothing was sent
    ├── Unreachable         503  nothing was sent
    ├── RateLimited         429  the provider refused before it worked
    ├── Rejected            502  the provider answered with an error status: nothing was billed
    ├── CredentialsRefused  502  the provider refused this installation's key: nothing was billed
    ├── NeverSent           499  the client disconnected before the call was sent
    ├── ConversationLocked  409  another call adds to the same conversation: nothing was sent
    ├── Broken              502  sent, without a usable answer: the outcome is unknown
    ├── FailedAnswer        502  the provider ended its answer with an error: billed as it reports
    ├── TimedOut            504  sent, without an answer in time: the outcome is unknown
    └── ClientGone          499  the client disconnected before the answer was complete
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final
from uuid import UUID

from costs.core.usage import Usage

if TYPE_CHECKING:
    from gateway.core.calls import Completion


HELD_CODE: Final = "rate_limited"


class GatewayError(Exception):
    """Base of the tree: `message` is a sentence for the caller, `code` is for programs."""

    status: int = 500
    code: str = "internal_error"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class Refused(GatewayError):
    """The gateway refused; no provider saw the request."""

    def __init__(
        self, code: str, message: str, *, status: int = 403, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.code = code
        self.status = status


class KeyNotAllowed(Refused):
    """The key is valid but lacks the permission for such a request."""

    def __init__(self, permission: str) -> None:
        super().__init__("key_not_allowed", f'The key must have the permission "{permission}"')


class NoRoom(Refused):
    """The request could cost more than is left of a limit.

    `is_held` means that it fits as soon as calls in flight have ended, or its turn in a rate has
    come, for which it waited in vain; otherwise the limit, whose kind `code` says, is spent, or
    smaller than the request.
    """

    def __init__(self, code: str, message: str, *, is_held: bool, retry_after_s: int) -> None:
        code, status = (HELD_CODE, 429) if is_held else (code, 403)
        super().__init__(code, message, status=status, retry_after_s=retry_after_s)
        self.is_held = is_held


class NotKept(Refused):
    """The request names an id that the provider did not give to the organization, or no more.

    `param` is the field that names it, None for a path.
    """

    def __init__(self, message: str, *, param: str | None = None, code: str = "not_found") -> None:
        super().__init__(code, message, status=404)
        self.param = param


def overloaded() -> Refused:
    """Return the refusal of a request that would wait too long; nothing is recorded."""
    sentence = "Too many requests are waiting in this gateway process; retry the request"
    return Refused("overloaded", sentence, status=503, retry_after_s=1)


def internal_error() -> GatewayError:
    """Return the error of a defect before anything was sent."""
    return GatewayError("Internal error of the gateway; nothing was sent")


class AlreadyDone(Refused):
    """The request with this Idempotency-Key is finished; `request_id` is the first one's."""

    def __init__(self, *, request_id: UUID, cost_nanoeur: int) -> None:
        super().__init__(
            "already_done",
            f"A request with this Idempotency-Key was already completed: {request_id}",
            status=409,
        )
        self.request_id = request_id
        self.cost_nanoeur = cost_nanoeur


class ProviderFailed(GatewayError):
    """A provider call failed. `nothing_billed` states whether that is proven, `never_sent` whether
    even that nothing was sent.

    `provider_type` is the type of the provider's own error, empty if it names none; None if the
    answer is no such error. `body` is a relayed error, with keys hidden, and `headers` are those
    of the answer that the client may see.
    """

    nothing_billed: ClassVar[bool] = False
    never_sent: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider_status: int | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.provider_status = provider_status
        self.provider_type: str | None = None
        self.body: bytes | None = None
        self.headers: Mapping[str, str] = {}


class NotConfigured(ProviderFailed):
    """The provider has no key here; nothing was sent."""

    status = 503
    code = "provider_not_configured"
    nothing_billed = True
    never_sent = True


class ProviderFull(ProviderFailed):
    """The provider has as many calls of this process as it takes at once; nothing was sent."""

    status = 429
    code = HELD_CODE
    nothing_billed = True
    never_sent = True

    def __init__(self, title: str) -> None:
        sentence = f'Provider "{title}" has as many calls as it takes at once; nothing was sent'
        super().__init__(sentence, retry_after_s=1)


class Unreachable(ProviderFailed):
    """No connection to the provider was made; nothing was sent."""

    status = 503
    code = "provider_unavailable"
    nothing_billed = True
    never_sent = True


class RateLimited(ProviderFailed):
    """The provider answered 429: it refused before it worked."""

    status = 429
    code = "provider_rate_limited"
    nothing_billed = True


class Rejected(ProviderFailed):
    """The provider answered with an error status before it generated anything."""

    status = 502
    code = "provider_error"
    nothing_billed = True


class CredentialsRefused(ProviderFailed):
    """The provider refused this installation's key, which only its operators can correct.

    `reported` is the provider's own message: it is for operators, since callers would take it to
    be about the key of theirs.
    """

    status = 502
    code = "provider_credentials"
    nothing_billed = True

    def __init__(self, message: str, *, reported: str, provider_status: int) -> None:
        super().__init__(message, provider_status=provider_status)
        self.reported = reported


class ConversationLocked(ProviderFailed):
    """Another call adds to the same conversation, whose size is therefore not known."""

    status = 409
    code = "conversation_locked"
    nothing_billed = True
    never_sent = True

    def __init__(self) -> None:
        sentence = "Another call adds to this conversation; retry when it has ended"
        super().__init__(sentence, retry_after_s=1)


class Broken(ProviderFailed):
    """The request was sent without a usable answer (reset, truncated, malformed, a proxy's).

    `usage` is what a truncated answer that was not streamed reports.
    """

    status = 502
    code = "provider_error"

    def __init__(
        self, message: str, *, provider_status: int | None = None, usage: Usage | None = None
    ) -> None:
        super().__init__(message, provider_status=provider_status)
        self.usage = usage


class FailedAnswer(ProviderFailed):
    """The provider ended its answer with an error, and bills the usage that it reports."""

    status = 502
    code = "provider_error"

    def __init__(self, message: str, *, completion: Completion) -> None:
        super().__init__(message)
        self.completion = completion


class TimedOut(ProviderFailed):
    """The request was sent and not answered in time."""

    status = 504
    code = "provider_timeout"


class NeverSent(ProviderFailed):
    """The client disconnected before its request was sent."""

    status = 499
    code = "client_disconnected"
    nothing_billed = True
    never_sent = True


class ClientGone(ProviderFailed):
    """The client disconnected before the answer was complete; the billed amount is unknown."""

    status = 499
    code = "client_disconnected"
