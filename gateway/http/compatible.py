"""The vendor-compatible endpoints: existing clients change only their base URL and key."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from gateway.apis.arrival import Arrival, fields_of
from gateway.apis.attribution import with_client
from gateway.apis.base import Dialect, Speaker
from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.embeddings.embeddings import Embeddings
from gateway.apis.generate.embedding import EMBED, EMBED_BATCH, EmbedContents
from gateway.apis.generate.generate import COUNT, GENERATE_CONTENT, STREAM, VERSIONS, Generate
from gateway.apis.messages.messages import Messages
from gateway.apis.refusals import is_final, words_for
from gateway.apis.responses.codex import is_codex
from gateway.apis.responses.responses import Responses
from gateway.call.runtime import current
from gateway.core.calls import Call, CallResult, Delta, Principal
from gateway.core.errors import (
    CredentialsRefused,
    GatewayError,
    NotConfigured,
    ProviderFailed,
    Refused,
    Rejected,
)
from gateway.core.request_body import checked_idempotency_key, dimensions_in_headers, scoped
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
from gateway.http.headers import header, headers_of, shown_text
from gateway.http.outside import error_outside, only
from gateway.http.serving import read_or_refuse, serve, unread
from gateway.providers import tokens
from gateway.upstream.returned_headers import UPSTREAM_ID_HEADER
from orgs.core.frozen import frozen
from orgs.core.permissions import Permission
from orgs.fields import new_id

COST_HEADER: Final = "x-pulse-cost-eur"
# OpenAI's and Anthropic's libraries obey it.
RETRY_HEADER: Final = "x-should-retry"
# Agents that do not know that header obey Retry-After, silently until the end of a day, or repeat
# any refusal whose sentence has the digits of a status in it (OpenCode). This one goes before: they
# use up their few attempts at once, and show the sentence.
WAIT_HEADER: Final = "retry-after-ms"
_CLIENT_ERRORS: Final = range(400, 500)
_WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})


@frozen
class InPath:
    """What a path names: a model, whether a stream is requested, ids."""

    model: str | None = None
    streams: bool | None = None
    ids: tuple[str, ...] = ()


View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def endpoint(dialect: Dialect, *methods: str) -> View:
    """Return the view of an API's endpoint; without methods, that of POST."""

    @csrf_exempt  # the token is checked for callers with a session
    @only(*methods or ("POST",))
    async def view(
        request: HttpRequest,
        /,
        *,
        model: str | None = None,
        streams: bool | None = None,
        **ids: str,
    ) -> HttpResponseBase:
        address = InPath(model=model, streams=streams, ids=tuple(ids.values()))
        return await _serve(dialect, request, address)

    return view


async def _serve(dialect: Dialect, request: HttpRequest, address: InPath) -> HttpResponseBase:
    principal = await caller_of(dialect, request)
    if isinstance(principal, HttpResponseBase):
        return principal
    call = await _read(dialect, request, principal, address)
    return await served(dialect, principal, call)


async def caller_of(dialect: Dialect, request: HttpRequest) -> Principal | HttpResponseBase:
    """Return who is calling, or the answer to one that may not."""
    try:
        return await authenticate(
            current(),
            request,
            channel=dialect.channel,
            needs=Permission.SEND,
            more_headers=dialect.key_headers,
        )
    except NotAllowed as exc:
        return await served(dialect, exc.principal, unread(exc.principal, exc))
    except GatewayError as exc:
        return refused(dialect, exc)


async def served(dialect: Dialect, principal: Principal, call: Call) -> HttpResponseBase:
    """Send the call through the pipeline and return its answer."""
    request_id = new_id()
    wording = DialectWording(dialect, call, request_id)
    return await serve(current(), principal, call, wording, request_id)


def refused(dialect: Dialect, error: GatewayError) -> HttpResponse:
    """Return an error that has no audit row, in the dialect's format."""
    return DialectWording(dialect, None, new_id()).refusal(error, None)


async def _read(
    dialect: Dialect, request: HttpRequest, principal: Principal, address: InPath
) -> Call:
    """Receive the body and parse the request into a call; an invalid one carries its refusal."""
    headers = headers_of(request)
    method = "GET" if request.method == "HEAD" else str(request.method)

    async def read() -> Call:
        path = _path_of(request)
        dimensions = scoped(dimensions_in_headers(headers), principal)

        def parse(body: bytes) -> Call:
            key, fields = checked_idempotency_key(headers.get("idempotency-key")), fields_of(body)
            return dialect.read(
                Arrival(
                    raw=b"" if key is None else body,
                    fields=fields,
                    headers=headers,
                    dimensions=with_client(dimensions, principal.client_from, headers, fields),
                    idempotency_key=key,
                    named=address.model,
                    streams=address.streams,
                    path=path,
                    method=method,
                    ids=address.ids,
                )
            )

        if method in _WITHOUT_BODY:
            return parse(b"{}")
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
        if words and words.sentence_header:
            response[words.sentence_header] = shown_text(error.message)
        if _is_not_to_be_repeated(error):
            response[RETRY_HEADER] = "false"
        if is_final(error):
            response[WAIT_HEADER] = "0"
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
    after an internal error; nothing but an operator's change makes credentials valid.
    """
    if isinstance(error, ProviderFailed):
        is_ours = isinstance(error, CredentialsRefused | NotConfigured)
        return is_ours or not error.nothing_billed
    return is_final(error) or not isinstance(error, Refused)


def generate_methods(version: str) -> dict[str, View]:
    """Return the views of one version of Google's API, by the method at the end of the path."""
    return {
        GENERATE_CONTENT: endpoint(Generate(version=version, method=GENERATE_CONTENT)),
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
        asked = (request.GET.get("alt"), request.GET.get("$alt"))  # Google takes both
        chosen = events if "sse" in asked else array
        return await chosen(request, model=model, streams=True)

    return view


def _by_client(codex: View, others: View) -> View:
    """Return the view of responses, whose refusals Codex gets in words of its own."""

    @csrf_exempt  # as each of the two
    async def view(request: HttpRequest) -> HttpResponseBase:
        return await (codex if is_codex(header(request, "originator")) else others)(request)

    return view


def _by_http(http: View) -> View:
    """Return the view of responses; `pulse/server/websocket.py` serves its WebSockets.

    One that comes as a plain request has lost its upgrade to a proxy. 426 lets Codex use HTTP at
    once, for its whole session:
    https://github.com/openai/codex/blob/main/codex-rs/core/src/client.rs
    """

    @csrf_exempt  # as the other one
    async def view(request: HttpRequest) -> HttpResponseBase:
        if request.method == "GET" and header(request, "sec-websocket-key") is not None:
            sentence = (
                "A proxy removed the Upgrade header of this WebSocket; configure it to pass "
                "WebSockets on, or use POST over HTTP"
            )
            return error_outside(request, Refused("method_not_allowed", sentence, status=426))
        return await http(request)

    return view


chat_completions = endpoint(ChatCompletions())
responses = _by_http(
    _by_client(codex=endpoint(Responses(for_codex=True)), others=endpoint(Responses()))
)
embeddings = endpoint(Embeddings(text_of=tokens.text_of))
messages = endpoint(Messages())
messages_count_tokens = endpoint(Messages(counts=True))
generate = {version: generate_methods(version) for version in VERSIONS}
