"""What a caller asks for and who asks: the values that travel the whole path of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from costs.core.usage import Usage
from gateway.core.errors import Refused
from gateway.core.model_names import Model
from gateway.core.usage_bound import OutputCap, UsageBound
from orgs.core.frozen import frozen

DIMENSIONS: Final = ("user_id", "team_id", "project_id", "app_id", "client_id", "task_type")
DIMENSION_MAX_CHARS: Final = 128


# --- what is sent -----------------------------------------------------------------------------


@frozen
class Image:
    """A picture in a message: `data` is base64 of `media_type`, or `url` is where it lies."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: str | None = None


@frozen
class ToolCall:
    """A tool that a model wants called: `arguments` is JSON as the model wrote it.

    `id` is empty where the vendor gives none. `signature` is base64 of what Google wants to see
    again with the call: what the model thought before it.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: `role` is system, user, assistant or tool.

    `content` is its text. `parts` stand in its place where there is more than one text. An
    assistant may call tools; a tool's turn says which call of which tool it answers.
    """

    role: str
    content: str
    parts: tuple[str | Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    tool_name: str | None = None

    @property
    def pieces(self) -> tuple[str | Image, ...]:
        """Its texts and images, without empty texts."""
        return tuple(piece for piece in self.parts or (self.content,) if piece != "")

    @property
    def text(self) -> str:
        """All its text."""
        return "".join(piece for piece in self.pieces if isinstance(piece, str))


@frozen
class Tool:
    """A function that the caller can run; `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    is_strict: bool | None = None


@frozen
class ResponseFormat:
    """That the answer is JSON, of a schema where there is one."""

    name: str = "answer"
    schema: Mapping[str, Any] | None = None
    description: str | None = None
    is_strict: bool | None = None


# --- who asks ---------------------------------------------------------------------------------


@frozen
class Dimensions:
    """Whom a request is counted for; None where the caller gave nothing."""

    user_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    app_id: str | None = None
    client_id: str | None = None
    task_type: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Return those that are given."""
        return {name: value for name in DIMENSIONS if (value := getattr(self, name)) is not None}


@frozen
class Principal:
    """Who calls: the organization, what is fixed for the caller, and by which door it came."""

    org_id: UUID
    fixed: Dimensions
    channel: str
    key_id: UUID | None = None
    key_public: str | None = None


# --- a call on its way in ---------------------------------------------------------------------


class RequestBody(Protocol):
    """A request in the words of the API by which it came: it knows how it goes out."""

    def outgoing(self, model: Model, cap: OutputCap, *, timeout_s: float) -> Outgoing:
        """Return what `model`'s provider is sent, the cap written in where it must be.

        Raises Refused (400) for what this API does not offer with that model.
        """
        ...

    def canonical(self) -> object:
        """Return the prompt as JSON values, alike for the same prompt by whichever API."""
        ...

    def identity(self) -> object:
        """Return the whole request as JSON values or bytes: what must be alike in a repeat."""
        ...


@frozen
class Call:
    """A request before the gateway has looked at its model.

    `refusal` is set when the request could not be read: it then goes only as far as its audit row.
    """

    model: str
    body: RequestBody
    usage_bound: UsageBound
    stream: bool = False
    dimensions: Dimensions = Dimensions()
    idempotency_key: str | None = None
    refusal: Refused | None = None


class Unread:
    """The body of a request that nobody could read."""

    def outgoing(self, model: Model, cap: OutputCap, *, timeout_s: float) -> Outgoing:
        """Never go out."""
        raise AssertionError("a request that cannot be read is refused")

    def canonical(self) -> object:
        """Say nothing."""
        return []

    def identity(self) -> object:
        """Be like nothing."""
        return None


# --- and on its way out -----------------------------------------------------------------------


@frozen
class ProviderCall:
    """What a provider is asked through its SDK: the model id it knows, the cap it must keep.

    `max_output_tokens` is None only where no limit applies and the vendor needs no cap.
    `tool_choice` is auto, none or required; `required_tool` is the one that is required, where
    it is not any. `reasoning_effort` is in OpenAI's words. A call with `inputs` asks for their
    embeddings and has no messages.

    Those who speak OpenAI's API are relayed what has more than text, so their adapters read of
    a call its model, messages of text, cap, temperature and timeout.
    """

    model: str
    messages: tuple[Message, ...] = ()
    max_output_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    required_tool: str | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    inputs: tuple[str, ...] = ()
    dimensions: int | None = None


@frozen
class RelayRequest:
    """What a provider is sent as bytes, and how the bytes that come back are read.

    `path` goes behind the provider's base URL. `whole` reads a plain answer, `reading` begins
    to read a streamed one, whose content type is one of `streamed_as`.
    """

    path: str
    body: bytes
    headers: Mapping[str, str]
    whole: Callable[[bytes], Completion]
    reading: Callable[[], StreamReading]
    streamed_as: frozenset[str] = frozenset({"text/event-stream"})


Outgoing = ProviderCall | RelayRequest


class StreamReading(Protocol):
    """Reads usage off a stream of bytes that is passed on. Pure, one for each answer."""

    def take(self, chunk: bytes) -> bytes:
        """Take in what came and return what the client gets of it."""
        ...

    def rest(self) -> bytes:
        """Return what is left to be passed on when the provider has ended."""
        ...

    @property
    def is_ended(self) -> bool:
        """Whether the provider has finished its answer, whatever may still come."""
        ...

    def completion(self) -> Completion:
        """Return what is known of the answer so far. Raises ErrorAnswer where it was an error."""
        ...


# --- what comes back --------------------------------------------------------------------------


@frozen
class ToolCallDelta:
    """A piece of the `index`-th tool call: its name once and first, its arguments bit by bit.

    The first piece has the id and the signature too, where there are any.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer: of its text, or of a tool call."""

    content: str = ""
    tool_call: ToolCallDelta | None = None


@frozen
class Completion:
    """The end of an answer.

    `content` is the whole text of a plain call and empty after deltas, as is `tool_calls`.
    `usage` is None when the provider gave none that can be used: the call is then charged at its
    bound. `raw_usage` is the provider's report as it came, for the audit row. `body` is a relayed
    answer as it came. `vectors` are embeddings.
    """

    model: str
    content: str = ""
    finish_reason: str | None
    usage: Usage | None
    raw_usage: dict[str, Any] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
