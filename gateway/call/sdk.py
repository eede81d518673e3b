"""AI requests from Django code: the same pipeline, policies, ledger and rows as over HTTP.

    from gateway.call.sdk import ai_request

    response = ai_request(org_id=org.id, actor_user_id=user.id, model="gpt-4o-mini",
                          input="Say hello", metadata={"team_id": "team-123"}, max_tokens=1000)
    if response.success:
        response.content, response.estimated_cost_eur

`ai_request` and `ai_stream` are for sync code, `aai_request` and `aai_stream` for async code; all
take the arguments of `AiArguments`. Refusals are responses, not exceptions; invalid arguments
raise ValueError or TypeError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypedDict, Unpack
from uuid import UUID

from gateway.call import pipeline
from gateway.call.call_stream import SILENCE, CallStream, Event
from gateway.call.runtime import Gateway, current
from gateway.core.calls import (
    BEGUN,
    OWN_CODE,
    Call,
    CallResult,
    Delta,
    Dimensions,
    Principal,
    Session,
)
from gateway.core.errors import GatewayError, Refused
from gateway.core.request_body import NAME_IN_JSON, call_from_fields, dimension
from orgs.fields import new_id

# Keys of `metadata` besides the dimensions.
SESSION_NAMES: Final = ("session_id", "agent_id")


class _Required(TypedDict):
    """The required arguments."""

    org_id: UUID | str
    model: str
    input: str | Sequence[Mapping[str, str]]


class AiArguments(_Required, total=False):
    """The arguments of every function here.

    `input` is a text or a list of {"role", "content"} with roles system, user and assistant.
    `metadata` holds dimensions: team_id, project_id, app_id, client_id, task_type; and the
    session_id and agent_id of an agent. The charge names `actor_user_id`.
    """

    actor_user_id: UUID | str | int | None
    metadata: Mapping[str, str] | None
    max_tokens: int | None
    temperature: float | None
    idempotency_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AiResponse:
    """The result of a request: an answer, or the same error sentence and code as over HTTP.

    `estimated_cost_eur` is exact to 1e-9 and None without an answer. Token counts are None if the
    provider reported none that are usable. After a stream `content` is empty.
    """

    success: bool
    request_id: UUID
    content: str | None = None
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    estimated_cost_eur: Decimal | None = None
    latency_ms: int | None = None
    error: str | None = None
    code: str | None = None
    retry_after_s: int | None = None


def ai_request(**arguments: Unpack[AiArguments]) -> AiResponse:
    """Send one request and wait for its answer. Raises RuntimeError inside async code."""
    gateway = current()
    return gateway.call_loop.call_sync(_whole(gateway, *_read(arguments, stream=False)))


async def aai_request(**arguments: Unpack[AiArguments]) -> AiResponse:
    """Send one request and await its answer. Being cancelled abandons the call."""
    gateway = current()
    return await gateway.call_loop.call(_whole(gateway, *_read(arguments, stream=False)))


def ai_stream(**arguments: Unpack[AiArguments]) -> Iterator[str | AiResponse]:
    """Yield the pieces of the answer as they arrive, then the AiResponse.

    The call is sent when the first piece is requested. Closing the iterator early abandons it.
    """
    return _pieces(current(), *_read(arguments, stream=True))


def aai_stream(**arguments: Unpack[AiArguments]) -> AsyncIterator[str | AiResponse]:
    """Yield the pieces of the answer as they arrive, then the AiResponse.

    The call is sent when the first piece is requested. Closing the iterator early abandons it.
    """
    return _async_pieces(current(), *_read(arguments, stream=True))


def _pieces(gateway: Gateway, principal: Principal, call: Call) -> Iterator[str | AiResponse]:
    started: list[CallStream] = []
    event: Event | None = None
    try:
        event = gateway.call_loop.call_sync(_first(gateway, principal, call, started))
        yield _piece(event, started[0])
        while isinstance(event, Delta):
            event = gateway.call_loop.call_sync(_next(started[0]))
            yield _piece(event, started[0])
    finally:
        if event is None or isinstance(event, Delta):
            gateway.call_loop.call_soon(partial(_abandon, started))


async def _async_pieces(
    gateway: Gateway, principal: Principal, call: Call
) -> AsyncIterator[str | AiResponse]:
    started: list[CallStream] = []
    event: Event | None = None
    try:
        event = await gateway.call_loop.call(_first(gateway, principal, call, started))
        yield _piece(event, started[0])
        while isinstance(event, Delta):
            event = await gateway.call_loop.call(_next(started[0]))
            yield _piece(event, started[0])
    finally:
        if event is None or isinstance(event, Delta):
            gateway.call_loop.call_soon(partial(_abandon, started))


async def _first(
    gateway: Gateway, principal: Principal, call: Call, started: list[CallStream]
) -> Event:
    """Start the call, append it to `started`, and return its first event.

    In `started`, because a caller that is cancelled while this returns gets no call to abandon.
    """
    started.append(await _started(gateway, principal, call))
    return await _next(started[0])


async def _next(stream: CallStream) -> Event:
    while (event := await stream.next()) in (BEGUN, SILENCE):
        pass
    return event


def _abandon(started: list[CallStream]) -> None:
    for stream in started:
        if not stream.is_abandoned():
            stream.abandon()


async def _whole(gateway: Gateway, principal: Principal, call: Call) -> AiResponse:
    stream = await _started(gateway, principal, call)
    try:
        return _response(await stream.result(), stream)
    except GatewayError as exc:
        return _response(exc, stream)


async def _started(gateway: Gateway, principal: Principal, call: Call) -> CallStream:
    request_id = new_id()
    try:
        return pipeline.start(gateway, principal, call, request_id=request_id)
    except Refused as exc:  # the process stops or is full
        ended = CallStream(request_id=request_id)
        ended.end(exc)
        return ended


def _piece(event: Event, stream: CallStream) -> str | AiResponse:
    if isinstance(event, bytes):
        raise AssertionError("the SDK's calls are not relayed")
    return event.content if isinstance(event, Delta) else _response(event, stream)


def _response(event: CallResult | GatewayError, stream: CallStream) -> AiResponse:
    if isinstance(event, GatewayError):
        return AiResponse(
            success=False,
            request_id=stream.request_id,
            error=event.message,
            code=event.code,
            retry_after_s=event.retry_after_s,
        )
    return AiResponse(
        success=True,
        request_id=event.request_id,
        content=event.completion.content,
        provider=event.provider,
        model=event.model,
        finish_reason=event.completion.finish_reason,
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        estimated_cost_eur=event.cost_eur,
        latency_ms=event.latency_ms,
    )


def _read(arguments: AiArguments, *, stream: bool) -> tuple[Principal, Call]:
    """Return the caller and the call. Raises TypeError or ValueError."""
    required, optional = AiArguments.__required_keys__, AiArguments.__optional_keys__
    unknown, missing = set(arguments) - required - optional, required - set(arguments)
    if unknown or missing:
        name = min(unknown or missing)
        raise TypeError(f"{'unknown' if unknown else 'missing'} argument {name}")
    org_id, actor = arguments["org_id"], arguments.get("actor_user_id")
    if not isinstance(org_id, UUID | str):
        raise TypeError("org_id must be a UUID or its text")
    try:
        user = None if actor is None else dimension(str(actor), "actor_user_id")
        fixed = Dimensions(user_id=user, user_proved=user is not None)
        principal = Principal(
            org_id=UUID(str(org_id)), fixed=fixed, channel=OWN_CODE, session=_session(arguments)
        )
        call = call_from_fields(
            _fields(arguments, stream=stream),
            principal=principal,
            idempotency_key=arguments.get("idempotency_key"),
        )
    except Refused as exc:
        raise ValueError(exc.message) from exc
    return principal, call


def _session(arguments: AiArguments) -> Session | None:
    """Return the session that the metadata names, or None. Raises Refused."""
    metadata = arguments.get("metadata") or {}
    session_id, agent_id = (dimension(metadata.get(name, ""), name) for name in SESSION_NAMES)
    return None if session_id is None else Session(id=session_id, agent_id=agent_id)


def _fields(arguments: AiArguments, *, stream: bool) -> dict[str, Any]:
    """Return the arguments under their names in an HTTP body, without those that are None."""
    given = arguments["input"]
    fields: dict[str, Any] = {"model": arguments["model"], "stream": stream}
    if isinstance(given, str):
        fields["prompt"] = given
    else:
        fields["messages"] = [dict(message) for message in given]
    for name, spelled in (("max_tokens", "maxTokens"), ("temperature", "temperature")):
        if arguments.get(name) is not None:
            fields[spelled] = arguments[name]  # type: ignore[literal-required]  # one of two above
    for name, value in (arguments.get("metadata") or {}).items():
        if name in SESSION_NAMES:
            continue
        if name not in NAME_IN_JSON:
            names = ", ".join((*NAME_IN_JSON, *SESSION_NAMES))
            raise ValueError(f"metadata keys must be among {names}, not {name}")
        fields[NAME_IN_JSON[name]] = value
    return fields
