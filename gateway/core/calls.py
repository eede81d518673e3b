"""What a caller asks for and who asks: the values that travel the whole path of a request."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import UUID

from costs.core.usage import Usage
from gateway.core.errors import Refused

DIMENSIONS: Final = ("user_id", "team_id", "project_id", "app_id", "client_id", "task_type")
DIMENSION_MAX_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: `role` is system, user or assistant; `content` is not empty."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """Whom a request is counted for; None is "not said"."""

    user_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    app_id: str | None = None
    client_id: str | None = None
    task_type: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Return those that are said."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls: the organization, what is fixed for the caller, and by which door it came."""

    org_id: UUID
    fixed: Dimensions
    channel: str
    key_id: UUID | None = None
    key_public: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A chat request before the gateway has looked at its model.

    `refusal` is set when the request could not be read: it then goes only as far as its audit row.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    stream: bool = False
    dimensions: Dimensions = Dimensions()
    idempotency_key: str | None = None
    refusal: Refused | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCall:
    """What a provider is asked: the model id it knows, and the output cap it must keep.

    `max_output_tokens` is None only where no limit applies and the vendor needs no cap.
    """

    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int | None
    temperature: float | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer."""

    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The end of an answer.

    `content` is the whole text of a plain call and empty after deltas. `usage` is None when the
    provider gave none that can be used: the call is then charged at its bound. `raw_usage` is
    the provider's report as it came, for the audit row.
    """

    model: str
    content: str
    finish_reason: str | None
    usage: Usage | None
    raw_usage: dict[str, Any] | None = None
