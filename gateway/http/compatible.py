"""The vendor-compatible endpoints: existing clients change only their base URL and key."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from gateway.apis.arrival import Arrival, fields_of
from gateway.apis.base import Dialect, Speaker
from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.embeddings.embeddings import Embeddings
from gateway.apis.generate.embedding import EMBED, EMBED_BATCH, EmbedContents
from gateway.apis.generate.generate import COUNT, GENERATE, STREAM, VERSIONS, Generate
from gateway.apis.messages.messages import Messages
from gateway.apis.refusals import is_final, words_for
from gateway.apis.responses.responses import Responses
from gateway.call.runtime import current
from gateway.core.calls import Call, Delta, Principal
from gateway.core.errors import (
    AlreadyDone,
    CredentialsRefused,
    GatewayError,
    NotConfigured,
    ProviderFailed,
    Refused,
    Rejected,
)
from gateway.core.request_body import checked_idempotency_key, dimensions_in_headers, scoped
from gateway.core.results import CallResult
from gateway.http.answers import (
    CODE_HEADER,
    JSON_TYPE,
    encoded,
    finished,
    link_to_request,
    with_error_headers,
)
from gateway.http.bodies import parsed
from gateway.http.callers import NotAllowed, authenticate
from gateway.http.headers import header, headers_of
from gateway.http.outside import error_outside, only
from gateway.http.serving import read_or_refuse, serve, unread
from gateway.providers import tokens
from gateway.upstream.returned_headers import UPSTREAM_ID_HEADER
from orgs.core.permissions import Permission
from orgs.fields import new_id

COST_HEADER: Final = "x-pulse-cost-eur"
# OpenAI's and Anthropic's libraries obey it.
RETRY_HEADER: Final = "x-should-retry"
_CLIENT_ERRORS: Final = range(400, 500)

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def endpoint(dialect: Dialect) -> View:
    """Return the view of an API's endpoint."""

    @csrf_exempt  # the token is checked for callers with a session
    @only("POST")
    async def view(
        request: HttpRequest, *, model: str | None = None, streams: bool | None = None
    ) -> HttpResponseBase:
        return await _serve(dialect, request, model=model, streams=streams)

    return view


async def _serve(
    dialect: Dialect, request: HttpRequest, *, model: str | None, streams: bool | None
) -> HttpResponseBase:
    gateway, request_id = current(), new_id()
    try:
        principal = await authenticate(
            gateway,
            request,
            channel=dialect.channel,
            needs=Permission.SEND,
            more_headers=dialect.key_headers,
        )
        call = await _read(dialect, request, principal, model=model, streams=streams)
    except NotAllowed as exc:
        principal, call = exc.principal, unread(exc.principal, exc)
    except GatewayError as exc:
        return DialectWording(dialect, None, request_id).refusal(exc, None)
    wording = DialectWording(dialect, call, request_id)
    return await serve(gateway, principal, call, wording, request_id)


async def _read(
    dialect: Dialect,
    request: HttpRequest,
    principal: Principal,
    *,
    model: str | None,
    streams: bool | None,
) -> Call:
    """Receive the body and parse the request into a call; an invalid one carries its refusal."""
    headers = headers_of(request)

    async def read() -> Call:
        path = _path_of(request)
        dimensions = scoped(dimensions_in_headers(headers), principal)

        def parse(body: bytes) -> Call:
            key = checked_idempotency_key(headers.get("idempotency-key"))
            return dialect.read(
                Arrival(
                    raw=b"" if key is None else body,
                    fields=fields_of(body),
                    headers=headers,
                    dimensions=dimensions,
                    idempotency_key=key,
                    named=model,
                    streams=streams,
                    path=path,
                )
            )

        return await parsed(request, principal, parse)

    return await read_or_refuse(principal, read)


def _path_of(request: HttpRequest) -> str:
    """Return the original path and query; Django would escape them again, which takes 8 us."""
    query = request.META["QUERY_STRING"]
    return f"{request.path}?{query}" if query else request.path


class DialectWording:
    """The Wording of a compatible endpoint: relayed unchanged, else in the dialect's format."""

    def __init__(self, dialect: Dialect, call: Call | None, request_id: UUID) -> None:
        self._dialect = dialect
        self._call = call
        self._request_id = request_id
        self._made: Speaker | None = None

    def whole(self, answer: CallResult) -> HttpResponse:
        """Return the whole answer, with its cost."""
        completion = answer.completion
        if completion.body is not None:
            headers = {"Content-Type": JSON_TYPE, **completion.headers}
            response = HttpResponse(completion.body, headers=headers)
        else:
            body = self._speaker().whole(answer)
            response = HttpResponse(encoded(body), content_type=JSON_TYPE)
            if own_id := completion.headers.get(UPSTREAM_ID_HEADER):
                response[UPSTREAM_ID_HEADER] = own_id
        if answer.cost_eur is not None:
            response[COST_HEADER] = f"{answer.cost_eur:f}"
        return finished(response, answer.request_id)

    def piece(self, delta: Delta) -> bytes:
        """Return a streamed delta as bytes."""
        return self._speaker().piece(delta)

    def last(self, answer: CallResult) -> bytes:
        """Return the end of a stream."""
        return self._speaker().last(answer)

    def refusal(self, error: GatewayError, request_id: UUID | None) -> HttpResponse:
        """Return an error; a provider's own keeps its status and, if relayed, its body."""
        words = words_for(error, self._dialect.refusals)
        status = words.status if words else _status_of(error)
        failure = error if isinstance(error, ProviderFailed) else None
        body = failure.body if failure else None
        if body is None:
            own = self._dialect.error(error, status=status)
            body = encoded({**own, **link_to_request(error, request_id)})
        headers = failure.headers if failure else {}
        response = HttpResponse(body, status=status, headers={"Content-Type": JSON_TYPE, **headers})
        response[CODE_HEADER] = error.code
        if _is_not_to_be_repeated(error):
            response[RETRY_HEADER] = "false"
        finished(response, None if error.status == 401 else request_id)
        return with_error_headers(response, error)

    def broken(self, error: GatewayError, request_id: UUID) -> bytes:
        """Return an error that ends a stream."""
        return self._dialect.error_event(error)

    def _speaker(self) -> Speaker:
        if self._made is None:
            if self._call is None:
                raise AssertionError("an unauthenticated caller gets no answer")
            self._made = self._dialect.speaker(self._call, self._request_id)
        return self._made


def _status_of(error: GatewayError) -> int:
    """Return the status for the client: that of the provider's own error, else of ours."""
    if not isinstance(error, ProviderFailed) or error.provider_status is None:
        return error.status
    is_own = error.provider_type is not None
    is_refusal = isinstance(error, Rejected) and error.provider_status in _CLIENT_ERRORS
    return error.provider_status if is_own or is_refusal else error.status


def _is_not_to_be_repeated(error: GatewayError) -> bool:
    """Whether the vendors' libraries must be kept from repeating the call.

    They repeat 408, 409, 429 and every 5xx. A call of unknown outcome may be billed each time, also
    after an internal error; nothing but an operator's change makes credentials valid, and nothing
    but time or an administrator's change makes room where money is spent.
    """
    if isinstance(error, ProviderFailed):
        is_ours = isinstance(error, CredentialsRefused | NotConfigured)
        return is_ours or not error.nothing_billed
    return isinstance(error, AlreadyDone) or is_final(error) or not isinstance(error, Refused)


def generate_methods(version: str) -> dict[str, View]:
    """Return the views of one version of Google's API, by the method at the end of the path."""
    return {
        GENERATE: endpoint(Generate(version=version, method=GENERATE)),
        STREAM: _streamed_by_alt(
            endpoint(Generate(version=version, method=STREAM)),
            endpoint(Generate(version=version, method=STREAM, is_array=True)),
        ),
        COUNT: endpoint(Generate(version=version, method=COUNT)),
        EMBED: endpoint(EmbedContents(version=version, method=EMBED)),
        EMBED_BATCH: endpoint(EmbedContents(version=version, method=EMBED_BATCH)),
    }


def _streamed_by_alt(events: View, array: View) -> View:
    """Return the view of a stream: events with `alt=sse`, otherwise a JSON array."""

    @csrf_exempt  # as each of the two
    async def view(request: HttpRequest, *, model: str) -> HttpResponseBase:
        chosen = events if request.GET.get("alt") == "sse" else array
        return await chosen(request, model=model, streams=True)

    return view


def _by_http(http: View) -> View:
    """Return the view of responses: a client that asks for a WebSocket gets 426 and uses HTTP.

    Codex asks first, and takes 426 at once as an answer for its whole session:
    https://github.com/openai/codex/blob/main/codex-rs/core/src/client.rs
    """

    @csrf_exempt  # as the other one
    async def view(request: HttpRequest) -> HttpResponseBase:
        if request.method == "GET" and (header(request, "upgrade") or "").lower() == "websocket":
            sentence = "WebSocket is not supported here; use POST over HTTP"
            return error_outside(request, Refused("method_not_allowed", sentence, status=426))
        return await http(request)

    return view


chat_completions = endpoint(ChatCompletions())
responses = _by_http(endpoint(Responses()))
embeddings = endpoint(Embeddings(text_of=tokens.text_of))
messages = endpoint(Messages())
messages_count_tokens = endpoint(Messages(counts=True))
generate = {version: generate_methods(version) for version in VERSIONS}
