"""Calls, callers and completions: the values that pass through the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from costs.core.usage import Usage
from gateway.core.errors import GatewayError
from gateway.core.kept import GivenId, Keeping, NamedIds
from gateway.core.messages import CacheMark, Message, ResponseFormat, Tool, ToolCall
from gateway.core.model_names import Model
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import (
    NO_USES,
    NOTHING,
    OutputCap,
    OutputLimits,
    ToolUses,
    UsageBound,
)
from orgs.core.frozen import frozen
from orgs.core.permissions import Permission
from orgs.core.pseudonyms import Pseudonyms

DIMENSIONS: Final = ("user_id", "team_id", "project_id", "app_id", "client_id", "task_type")
DIMENSION_MAX_CHARS: Final = 128
OWN_CODE: Final = "sdk"  # the channel of calls by code in this process
# The channels of calls, each with where they come in.
CHANNELS: Final = {
    "api": "/api/ai/request",
    "browser": "a signed-in browser",
    OWN_CODE: "code in this process",
    "chat.completions": "/v1/chat/completions",
    "responses": "/v1/responses",
    "responses.compact": "/v1/responses/compact",
    "responses.input_tokens": "/v1/responses/input_tokens",
    "conversations": "/v1/conversations",
    "embeddings": "/v1/embeddings",
    "messages": "/v1/messages",
    "messages.count_tokens": "/v1/messages/count_tokens",
    **{
        method: f"/v1beta/models/*:{method}"
        for method in (
            *("generateContent", "streamGenerateContent", "countTokens"),
            *("embedContent", "batchEmbedContents"),
        )
    },
}


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
class Session:
    """An agent's session, and the subagent in it if it is one, as the client names them."""

    id: str
    agent_id: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Return what is named, by column."""
        return {"session_id": self.id} | ({"agent_id": self.agent_id} if self.agent_id else {})


@frozen
class Principal:
    """The caller: its organization, its fixed dimensions, and the channel of the request.

    `key_lineage` is the first key of the rotations that led to the key, `needs` the permission that
    it must have for the request, if any, `client_from` a source (`orgs.core.client_sources`).
    `key_name` and `user_name` are what people call the key and the proved user.
    """

    org_id: UUID
    fixed: Dimensions
    channel: str
    key_id: UUID | None = None
    key_public: str | None = None
    key_lineage: UUID | None = None
    needs: Permission | None = None
    client_from: str | None = None
    session: Session | None = None
    key_name: str | None = None
    user_name: str | None = None

    @property
    def names(self) -> Mapping[str, str | None]:
        """What people call the key and the user, by column."""
        return {"key_id": self.key_name, "user_id": self.user_name}

    @property
    def proves_client(self) -> bool:
        """Whether the key, or code in this process, names a call's client, not its caller."""
        return self.fixed.client_id is not None or self.channel == OWN_CODE

    @property
    def caller(self) -> UUID | str | None:
        """The key or person, who takes turns with others and has a share of what they use."""
        return self.key_id or self.fixed.user_id


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


def _no_identity() -> object:
    """Return the identity of a request that could not be read, which equals no other's."""
    return None


@frozen
class Call:
    """A request before its model is resolved.

    `identity` returns the whole request as JSON values or bytes, for comparing idempotent repeats.
    `refusal` is set if the request could not be parsed or checked: only its audit row is then
    written. What takes long for a large one is computed in a thread. `named` are ids of what the
    provider keeps. A call to a `provider` is about what it keeps: its `model` is none.
    """

    model: str
    body: RequestBody
    usage_bound: UsageBound
    identity: Callable[[], object] = _no_identity
    stream: bool = False
    dimensions: Dimensions = Dimensions()
    idempotency_key: str | None = None
    refusal: GatewayError | None = None
    named: NamedIds | None = None
    provider: str | None = None
    is_large: bool = False
    body_bytes: int = 0  # in memory; of a large one

    def unread(self, refusal: GatewayError) -> Call:
        """Return the call without its request: it only leaves an audit row."""
        return replace(
            self, body=Unread(), identity=_no_identity, usage_bound=NOTHING, refusal=refusal
        )


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
    sent_model: str = ""  # its name at the provider, if that is another
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
    def sent_name(self) -> str:
        """The model's name at the provider."""
        return self.sent_model or self.model

    @property
    def output(self) -> OutputLimits | None:
        """The output that it allows: no adapter requests thinking beyond the cap."""
        return None if self.inputs else OutputLimits(max_tokens=self.max_output_tokens)


# Returns the JSON value of an error without the provider's key and account.
Hide = Callable[[object], object]


@frozen
class RelayRequest:
    """A request that is sent as bytes, and the readers of its response.

    `path` is that of the API that the `dialect` is. `output` is what `body` allows, read from its
    final fields, or None if it has no output. `whole` reads a plain response, `reading` starts
    reading a streamed one, whose content type is one of `streamed_as`, with what hides keys in its
    errors and what records its output. `adjustments` are as those of a ProviderCall.
    `more_input_tokens` are those that its input can have beyond the call's usage bound, `uses` what
    tools at the provider can add to it. `count` asks for the usage of a plain response that does
    not report it, which is free. `input_count` returns the request for the tokens of the input,
    also free, where the vendor has one. `keeping` is what the answer changes in what is known to be
    kept. Output `is_shown` if all of it comes as it is produced: nothing of it is hidden thinking.
    """

    dialect: str
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
    input_count: Callable[[], RelayRequest] | None = None
    method: str = "POST"
    keeping: Keeping | None = None
    is_shown: bool = False


Outgoing = ProviderCall | RelayRequest


class StreamReading(Protocol):
    """Reads usage off a stream of bytes that is passed on. Pure, one for each answer."""

    def take(self, chunk: bytes) -> bytes:
        """Read a chunk and return what is passed on to the client."""
        ...

    def rest(self) -> bytes:
        """Return what remains to be passed on after the provider's last chunk."""
        ...

    def cut(self, *, input_tokens: int, output_tokens: int) -> bytes:
        """Return the end of an answer that the gateway ends here, as at its output cap.

        The tokens are the most that there can be, for a format that requires a usage. Only a
        stream that is sliced (`SeenOutput`) can be ended.
        """
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
    it as an answer. `given` are the ids of a relayed answer that was not streamed. One that
    `is_cut` was ended by the gateway, since its hold could not grow.
    """

    model: str
    content: str = ""
    finish_reason: str | None
    failed: bool = False
    is_cut: bool = False
    usage: Usage | None
    raw_usage: dict[str, Any] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    given: tuple[GivenId, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@frozen
class CallResult:
    """A finished call with its `completion`, charged and recorded.

    `cost_eur` is None if the database was not available: the call is charged when it is.
    """

    request_id: UUID
    provider: str
    model: str
    completion: Completion
    input_tokens: int | None
    output_tokens: int | None
    cost_eur: Decimal | None
    latency_ms: int
