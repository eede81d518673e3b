"""Calls, callers and completions: the values that pass through the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from costs.core.usage import Usage
from gateway.core.errors import GatewayError
from gateway.core.model_names import Model
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import NO_USES, OutputCap, OutputLimits, ToolUses, UsageBound
from orgs.core.frozen import frozen
from orgs.core.permissions import Permission
from orgs.core.pseudonyms import Pseudonyms

DIMENSIONS: Final = ("user_id", "team_id", "project_id", "app_id", "client_id", "task_type")
DIMENSION_MAX_CHARS: Final = 128


# --- what is sent -----------------------------------------------------------------------------


@frozen
class Image:
    """An image in a message: base64 `data` of `media_type`, or a `url`."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: str | None = None


@frozen
class File:
    """A document or sound in a message: base64 `data` of `media_type`, or a `url`."""

    media_type: str
    data: str | None = None
    url: str | None = None
    name: str | None = None


@frozen
class CacheMark:
    """The end of a prompt's prefix that a vendor is asked to cache, for `ttl` (`5m`, `1h`)."""

    ttl: str | None = None


Part = str | Image | File | CacheMark


@frozen
class ToolCall:
    """A tool call by a model: `arguments` is JSON as the model wrote it.

    `id` is empty if the vendor gives none. `signature` is base64 of Google's thought signature,
    which it requires to be sent back with the call.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: `role` is system, user, assistant or tool.

    `content` is its text. `parts` replaces it if there is more than one text. An assistant may
    call tools; a tool's turn names the call and the tool that it answers.
    """

    role: str
    content: str
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    tool_name: str | None = None

    @property
    def pieces(self) -> tuple[Part, ...]:
        """Its parts, without empty texts."""
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
    cache: CacheMark | None = None


@frozen
class ResponseFormat:
    """JSON output, following a schema if there is one."""

    name: str = "answer"
    schema: Mapping[str, Any] | None = None
    description: str | None = None
    is_strict: bool | None = None


# --- who calls --------------------------------------------------------------------------------


@frozen
class Dimensions:
    """The dimensions that a request is attributed to; None if the caller gave no value.

    `user_proved` says that a session or the key's owner proved the user, or code in this process
    named it; a caller only claims it otherwise.
    """

    user_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    app_id: str | None = None
    client_id: str | None = None
    task_type: str | None = None
    user_proved: bool = False

    @classmethod
    def named(cls, values: Mapping[str, str | None], *, user_proved: bool = False) -> Dimensions:
        """Return the dimensions with these values by name."""
        return cls(**values, user_proved=user_proved)

    def as_dict(self) -> dict[str, str]:
        """Return those that are given."""
        return {name: value for name in DIMENSIONS if (value := getattr(self, name)) is not None}


@frozen
class Principal:
    """The caller: its organization, its fixed dimensions, and the channel of the request.

    `key_lineage` is the first key of the rotations that led to the key. `needs` is the permission
    that the key must have for the request, if it is any.
    """

    org_id: UUID
    fixed: Dimensions
    channel: str
    key_id: UUID | None = None
    key_public: str | None = None
    key_lineage: UUID | None = None
    needs: Permission | None = None


# --- a call on its way in ---------------------------------------------------------------------


class RequestBody(Protocol):
    """A request body in the format of its API, which builds the outgoing request."""

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> Outgoing:
        """Return the request for `model`'s provider, with the cap written in if required.

        The provider gets the user and the cache key under the organization's own `names`.

        Raises Refused (400) for what this API does not support with that model.
        """
        ...

    def canonical(self) -> object:
        """Return the prompt as JSON values, equal for the same prompt through any API."""
        ...

    def identity(self) -> object:
        """Return the whole request as JSON values or bytes, for comparing idempotent repeats."""
        ...


@frozen
class Call:
    """A request before its model is resolved.

    `refusal` is set if the request could not be parsed or checked: only its audit row is then
    written. What takes long for a large one is computed in a thread.
    """

    model: str
    body: RequestBody
    usage_bound: UsageBound
    stream: bool = False
    dimensions: Dimensions = Dimensions()
    idempotency_key: str | None = None
    refusal: GatewayError | None = None
    is_large: bool = False
    body_bytes: int = 0  # in memory; of a large one


class Unread:
    """The body of a request that could not be parsed."""

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> Outgoing:
        """Never called."""
        raise AssertionError("a request that could not be parsed is refused")

    def canonical(self) -> object:
        """Return no messages."""
        return []

    def identity(self) -> object:
        """Return None, which equals no other request."""
        return None


# --- a call on its way out --------------------------------------------------------------------


@frozen
class ProviderCall:
    """A call through a provider's SDK: the provider's own model id and the output cap.

    `max_output_tokens` is None only if no limit applies and the vendor needs no cap.
    `tool_choice` is auto, none or required; `required_tool` names the required one, if it is not
    any. `reasoning_effort` uses OpenAI's values. A call with `inputs` requests their embeddings
    and has no messages. `user` and `cache_key` are the organization's own names.

    `tool_names` are the caller's own names of tools that are sent under another one.

    `adjustments` say what was changed so that the vendor accepts the request, a sentence for each
    kind of change. `more_input_tokens` are those that its input can have beyond the call's usage
    bound.

    Requests with more than text are relayed to providers with OpenAI's API, so their adapters
    read only a call's model, text messages, cap, temperature and timeout.
    """

    model: str
    messages: tuple[Message, ...] = ()
    max_output_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    required_tool: str | None = None
    tool_names: Mapping[str, str] = field(default_factory=dict)
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    inputs: tuple[str, ...] = ()
    dimensions: int | None = None
    user: str | None = None
    cache_key: str | None = None
    cache: CacheMark | None = None  # of the whole prompt
    adjustments: tuple[str, ...] = ()
    more_input_tokens: int = 0
    uses: ToolUses = NO_USES  # always: no adapter asks for a tool that runs at the provider

    @property
    def output(self) -> OutputLimits | None:
        """The output that it allows: no adapter requests thinking beyond the cap."""
        return None if self.inputs else OutputLimits(max_tokens=self.max_output_tokens)


# Returns the JSON value of an error without the provider's key and account.
Hide = Callable[[object], object]


@frozen
class RelayRequest:
    """A request that is sent as bytes, and the readers of its response.

    `path` is appended to the provider's base URL. `output` is what `body` allows, read from its
    final fields, or None if it has no output. `whole` reads a plain response, `reading` starts
    reading a streamed one, whose content type is one of `streamed_as`, with what hides keys in its
    errors and what records its output. `adjustments` are as those of a ProviderCall.
    `more_input_tokens` are those that its input can have beyond the call's usage bound, `uses` what
    tools at the provider can add to it. `count` asks for the usage of a plain response that does
    not report it, which is free.
    """

    path: str
    body: bytes
    output: OutputLimits | None
    headers: Mapping[str, str]
    whole: Callable[[bytes], Completion]
    reading: Callable[[Hide, SeenOutput], StreamReading]
    adjustments: tuple[str, ...] = ()
    more_input_tokens: int = 0
    uses: ToolUses = NO_USES
    streamed_as: frozenset[str] = frozenset({"text/event-stream"})
    count: RelayRequest | None = None


Outgoing = ProviderCall | RelayRequest


class StreamReading(Protocol):
    """Reads usage off a stream of bytes that is passed on. Pure, one for each answer."""

    def take(self, chunk: bytes) -> bytes:
        """Read a chunk and return what is passed on to the client."""
        ...

    def rest(self) -> bytes:
        """Return what remains to be passed on after the provider's last chunk."""
        ...

    def completion(self) -> Completion:
        """Return what is known of the answer so far. Raises ErrorAnswer where it was an error."""
        ...


# --- what comes back --------------------------------------------------------------------------


@frozen
class ToolCallDelta:
    """A delta of the `index`-th tool call: first its name, once, then its arguments in pieces.

    The first delta also has the id and the signature, if there are any.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta of a streamed answer: of its text, or of a tool call."""

    content: str = ""
    tool_call: ToolCallDelta | None = None


# The provider's stream has begun, with nothing of the answer yet.
BEGUN: Final = Delta()


@frozen
class Completion:
    """The end of an answer.

    `content` is the whole text of a plain call and empty after deltas, as is `tool_calls`.
    `usage` is None if the provider reported none that is usable: the call is then charged by what
    was seen of the answer, else at its bound. `raw_usage` is the provider's unchanged report, for
    the audit row. `body` is a relayed answer, unchanged. `vectors` are embeddings. An answer has
    `failed` if its finish reason is an error: only a client that knows the vendor's reasons may get
    it as an answer.
    """

    model: str
    content: str = ""
    finish_reason: str | None
    failed: bool = False
    usage: Usage | None
    raw_usage: dict[str, Any] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
