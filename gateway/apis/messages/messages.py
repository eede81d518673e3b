"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's own API, relayed.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from costs.core.usage import STANDARD_PLACE, STANDARD_TIER
from gateway.apis import counting
from gateway.apis.arrival import Arrival, not_served, refuse_elsewhere
from gateway.apis.base import Speaker
from gateway.apis.events import EventReading
from gateway.apis.families import naming
from gateway.apis.families.claude.models import takes_place, takes_speed
from gateway.apis.messages import answer as anthropic
from gateway.apis.messages import errors as anthropic_errors
from gateway.apis.messages.usage_bound import output_of, speed_in, usage_bound_of
from gateway.core.calls import Call, RelayRequest
from gateway.core.model_names import Model
from gateway.core.request_body import invalid
from gateway.core.usage_bound import OutputCap
from orgs.core.pseudonyms import Pseudonyms

PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"
# What is read from a stream: usage, finish reason, errors. Content cannot match: inside a JSON
# string a quotation mark is escaped.
TELLING: Final = re.compile(rb'"type"\s*:\s*"(?:message_(?:start|delta|stop)|error)"')

VERSION: Final = "2023-06-01"
_VERSION_SHAPE: Final = re.compile(r"20\d\d-\d\d-\d\d")
# Betas that change the answer or its format, and no price: the body fields that they enable are
# measured or refused. Omitted are those that bill a long prompt at rates that not every price list
# has (context-1m), let the provider run, store or fetch something
# (code-execution, files-api, skills, mcp-client, message-threads, agent-memory), call other models
# (advisor-tool, server-side-fallback), are not in the usage (compact), add unpriced tools
# (inline-tools, mid-conversation-tool-changes) or change who pays (user-profiles,
# fallback-credit), and all that are not known yet.
BETAS: Final = frozenset(
    {
        "claude-code-20250219",
        "computer-use-2024-10-22",
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-management-2025-06-27",
        "dev-full-thinking-2025-05-14",
        "effort-2025-11-24",
        "extended-cache-ttl-2025-04-11",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "max-tokens-3-5-sonnet-2024-07-15",
        "model-context-window-exceeded-2025-08-26",
        "output-128k-2025-02-19",
        "pdfs-2024-09-25",
        "prompt-caching-2024-07-31",
        "structured-outputs-2025-11-13",
        "task-budgets-2026-03-13",
        "thinking-display-updates-2026-08-18",
        "thinking-token-count-2026-05-13",
        "token-counting-2024-11-01",
        "token-efficient-tools-2025-02-19",
        "web-fetch-2025-09-10",
        "web-search-2025-03-05",
    }
)
# Forwarded with a `speed`, which has a price: some models require it then.
_WITH_SPEED: Final = BETAS | {"fast-mode-2026-02-01"}
_PLAIN_TEXT: Final = frozenset({"type", "text", "cache_control"})


class Messages:
    """The Dialect of messages, or of counting their tokens, which costs nothing."""

    key_headers: tuple[str, ...] = ("x-api-key",)
    refusals = anthropic_errors.REFUSALS
    error = staticmethod(anthropic_errors.error)
    error_event = staticmethod(anthropic_errors.error_event)

    def __init__(self, *, counts: bool = False) -> None:
        self.channel = "messages.count_tokens" if counts else "messages"
        self._counts = counts

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        refuse_elsewhere(arrival.fields)
        usage_bound = usage_bound_of(arrival.fields)
        if self._counts:
            return arrival.whole_call(MessagesCountBody(arrival), counting.free(usage_bound))
        if arrival.fields.get("max_tokens") is None:  # as the vendor does
            raise invalid("max_tokens must be given: the highest number of tokens to generate")
        return arrival.call(MessagesBody(arrival), usage_bound)

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: every answer is the vendor's own."""
        raise AssertionError("messages are relayed")


@dataclass(frozen=True, slots=True)
class MessagesBody:
    """The body of a messages request."""

    arrival: Arrival

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay to Anthropic only."""
        _check_vendor(model, PATH)
        if speed_in(self.arrival.fields) != STANDARD_TIER and not takes_speed(model.id):
            raise invalid(f"speed must be standard for model {model.id}: it has no other")
        sent = self._sent(model) | naming.for_anthropic(self.arrival.fields, names)
        return RelayRequest(
            path=PATH,
            body=orjson.dumps(sent),
            output=output_of(sent),
            headers=_headers(self.arrival),
            whole=lambda body: anthropic.completion_from(orjson.loads(body), model=model.id),
            reading=lambda hide, seen: EventReading(
                anthropic.MessagesStreamReader(model.id), TELLING, hide, seen
            ),
        )

    def canonical(self) -> object:
        """Return system and messages, text-only ones as pairs of role and content."""
        return canonical(self.arrival.fields)

    def identity(self) -> object:
        """Return the unchanged body with its dimensions."""
        return self.arrival.identity()

    def _sent(self, model: Model) -> dict[str, Any]:
        # "auto" would use the installation's priority capacity, if it has any.
        sent = {**self.arrival.fields, "model": model.id, "service_tier": "standard_only"}
        if takes_place(model.id) and sent.get("inference_geo") is None:
            # Otherwise the workspace's setting decides, possibly a more expensive place.
            sent["inference_geo"] = STANDARD_PLACE
        return sent


@dataclass(frozen=True, slots=True)
class MessagesCountBody:
    """The body of a count_tokens request."""

    arrival: Arrival

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay to Anthropic only."""
        _check_vendor(model, COUNT_PATH)
        return RelayRequest(
            path=COUNT_PATH,
            body=orjson.dumps({**self.arrival.fields, "model": model.id}),
            output=None,
            headers=_headers(self.arrival),
            whole=lambda body: counting.counted(body, model=model.id),
            reading=counting.not_streamed,
        )

    def canonical(self) -> object:
        """Return system and messages, as for the message itself."""
        return canonical(self.arrival.fields)

    def identity(self) -> object:
        """Return the unchanged body with its dimensions."""
        return self.arrival.identity()


def canonical(fields: Mapping[str, Any]) -> list[object]:
    """Return a conversation for hashing: text-only messages are the same through any API."""
    system = fields.get("system")
    first = [{"role": "system", "content": system}] if system else []
    return [_canonical(message) for message in (*first, *fields["messages"])]


def _canonical(message: Mapping[str, Any]) -> object:
    if message.keys() != {"role", "content"}:
        return message
    content = message["content"]
    if isinstance(content, list) and len(content) == 1 and _is_plain(content[0]):
        content = content[0]["text"]
    return [message["role"], content]


def _is_plain(block: object) -> bool:
    if not isinstance(block, dict) or not block.keys() <= _PLAIN_TEXT:
        return False
    return block.get("type") == "text" and isinstance(block.get("text"), str)


def _check_vendor(model: Model, path: str) -> None:
    if model.provider != "anthropic":
        raise not_served(model.id, path, "/v1/chat/completions")


def _headers(arrival: Arrival) -> dict[str, str]:
    """Return the client's headers that are forwarded: the version, and listed betas."""
    given = arrival.headers
    listed = BETAS if arrival.fields.get("speed") is None else _WITH_SPEED
    version = given.get("anthropic-version", "").strip()
    headers = {
        "content-type": "application/json",
        "anthropic-version": version if _VERSION_SHAPE.fullmatch(version) else VERSION,
    }
    requested = (beta.strip() for beta in given.get("anthropic-beta", "").split(","))
    betas = [beta for beta in dict.fromkeys(requested) if beta in listed]
    return {**headers, "anthropic-beta": ",".join(betas)} if betas else headers
