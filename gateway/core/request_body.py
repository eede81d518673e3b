"""Parse the body of POST /api/ai/request into a Call; errors name the invalid field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.core import strict_json
from gateway.core.calls import DIMENSION_MAX_CHARS, Call, Dimensions, Principal, ProviderCall
from gateway.core.errors import Refused
from gateway.core.messages import Message
from gateway.core.model_names import NAME_MAX_CHARS, Model
from gateway.core.usage_bound import OutputCap, OutputLimits, UsageBound
from orgs.core.pseudonyms import Pseudonyms
from orgs.core.spelling import folded, normalized
from orgs.core.values import quoted

ROLES: Final = ("system", "user", "assistant")
MESSAGES_MAX: Final = 10_000
TOKENS_MAX: Final = 100_000_000
TEMPERATURE_MAX: Final = 2
IDEMPOTENCY_KEY_MAX_CHARS: Final = 255

NAME_IN_JSON: Final = {
    "user_id": "userId",
    "team_id": "teamId",
    "project_id": "projectId",
    "app_id": "appId",
    "client_id": "clientId",
    "task_type": "taskType",
}
# What rows also have: the session of an agent, and the subagent in it.
SESSION_IN_JSON: Final = {"session_id": "sessionId", "agent_id": "agentId"}
DIMENSION_HEADERS: Final = {
    name: f"x-pulse-{name.replace('_', '-')}" for name in NAME_IN_JSON if name != "user_id"
}
_NAMES: Final = {spelled: name for name, spelled in NAME_IN_JSON.items()}
_FIELDS: Final = frozenset(
    {"model", "prompt", "messages", "maxTokens", "temperature", "stream", "metadata", *_NAMES}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A text-only request, as `POST /api/ai/request` and the SDK accept it."""

    messages: tuple[Message, ...]
    temperature: float | None

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> ProviderCall:
        """Return the call through the vendor's SDK."""
        return ProviderCall(
            model=model.id,
            sent_model=model.sent_name,
            messages=self.messages,
            max_output_tokens=cap.tokens if cap.is_written else None,
            temperature=self.temperature,
            timeout_s=timeout_s,
            user=names.user(),
            cache_key=names.cache(),
        )

    def canonical(self) -> object:
        """Return the messages as pairs of role and content."""
        return [[message.role, message.content] for message in self.messages]


def invalid(sentence: str) -> Refused:
    """Return the refusal of an invalid request."""
    return Refused("invalid_request", sentence, status=400)


def call_from(body: bytes, *, principal: Principal, idempotency_key: str | None = None) -> Call:
    """Parse the JSON `body` into a Call. Raises Refused, which names the field."""
    return call_from_fields(object_in(body), principal=principal, idempotency_key=idempotency_key)


def object_in(body: bytes) -> dict[str, Any]:
    """Parse a body as a JSON object. Raises Refused: 413 if it has too many values."""
    try:
        fields = strict_json.loads(body)
    except strict_json.TooManyValues as exc:
        raise Refused("body_too_large", str(exc), status=413) from exc
    except strict_json.NotStrictJson as exc:
        raise invalid(str(exc)) from exc
    if not isinstance(fields, dict):
        raise invalid("The body must be a JSON object")
    return fields


def call_from_fields(
    fields: Mapping[str, Any], *, principal: Principal, idempotency_key: str | None = None
) -> Call:
    """Parse fields, named as in JSON, into a Call. Raises Refused."""
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise invalid(f"Unknown field {quoted(unknown[0])}")
    model = model_in(fields)
    messages, stream = _messages(fields), flag(fields, "stream")
    max_tokens, temperature = _max_tokens(fields), _temperature(fields)
    dimensions = scoped(_dimensions(fields), principal)
    chat = Chat(messages=messages, temperature=temperature)
    given = (temperature, model, max_tokens, stream, dimensions.as_dict())
    return Call(
        model=model,
        body=chat,
        identity=lambda: [chat.canonical(), *given],
        usage_bound=UsageBound(
            texts=tuple(message.content for message in messages),
            messages=len(messages),
            output=OutputLimits(max_tokens=max_tokens),
        ),
        stream=stream,
        dimensions=dimensions,
        idempotency_key=checked_idempotency_key(idempotency_key),
    )


def model_in(fields: Mapping[str, Any]) -> str:
    """Return the requested model. Raises Refused."""
    return _text(fields, "model", most=NAME_MAX_CHARS, printable=True)


def dimensions_in_headers(headers: Mapping[str, str]) -> Dimensions:
    """Return the dimensions in `x-pulse-…` headers. Raises Refused.

    `headers` are by lower-case name. The user comes from the key: there is no header for it.
    """
    found = {
        name: dimension(headers[header], header)
        for name, header in DIMENSION_HEADERS.items()
        if header in headers
    }
    return Dimensions.named(found)


def scoped(requested: Dimensions, principal: Principal) -> Dimensions:
    """Return the requested dimensions merged with those fixed for the caller, in their spelling.

    Raises Refused (403) if a requested value differs from a fixed one.
    """
    wanted, fixed = requested.as_dict(), principal.fixed.as_dict()
    for name, value in fixed.items():
        if folded(wanted.get(name, value)) != folded(value):
            whose = "by the key" if principal.key_id else "for this caller"
            sentence = f"{NAME_IN_JSON[name]} is fixed {whose} and cannot be changed"
            raise Refused("dimension_fixed_by_key", sentence)
    return Dimensions.named({**wanted, **fixed}, user_proved=principal.fixed.user_proved)


def dimension(value: object, where: str) -> str | None:
    """Return a dimension's value as it is stored, None if empty. Raises Refused."""
    if not isinstance(value, str):
        raise invalid(f"{where} must be a string")
    value = normalized(value)
    if len(value) > DIMENSION_MAX_CHARS:
        raise invalid(f"{where} must have at most {DIMENSION_MAX_CHARS} characters")
    if not value.isprintable():
        raise invalid(f"{where} must contain only printable characters")
    return value or None


def _dimensions(fields: Mapping[str, Any]) -> Dimensions:
    metadata = fields.get("metadata", {})
    if not isinstance(metadata, dict):
        raise invalid("metadata must be an object")
    found: dict[str, str] = {}
    for source, path in ((fields, ""), (metadata, "metadata.")):
        for spelled, value in source.items():
            name = _NAMES.get(spelled)
            if name is None:
                if path:
                    raise invalid(f"Unknown field {quoted(path + spelled)}")
                continue
            given = dimension(value, path + spelled)
            if given is None:
                continue
            if folded(found.setdefault(name, given)) != folded(given):
                raise invalid(f"{spelled} and metadata.{spelled} differ")
    return Dimensions.named(found)


def _messages(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    if ("prompt" in fields) == ("messages" in fields):
        raise invalid("Exactly one of prompt and messages must be given")
    if "prompt" in fields:
        return (Message("user", _text(fields, "prompt")),)
    return messages_from(fields["messages"])


def messages_from(given: object) -> tuple[Message, ...]:
    """Return the messages of a list of {"role", "content"}. Raises Refused."""
    if not isinstance(given, list) or not given:
        raise invalid("messages must be a non-empty list")
    if len(given) > MESSAGES_MAX:
        raise invalid(f"messages must have at most {MESSAGES_MAX} messages")
    return tuple(_message(each, f"messages[{index}]") for index, each in enumerate(given))


def _message(given: object, where: str) -> Message:
    if not isinstance(given, dict):
        raise invalid(f"{where} must be an object with role and content")
    unknown = sorted(set(given) - {"role", "content"})
    if unknown:
        raise invalid(f"Unknown field {quoted(f'{where}.{unknown[0]}')}")
    role = given.get("role")
    if role not in ROLES:
        raise invalid(f"{where}.role must be one of {', '.join(ROLES)}")
    return Message(str(role), _text(given, "content", where=f"{where}.content"))


def _text(
    fields: Mapping[str, Any],
    name: str,
    *,
    where: str | None = None,
    most: int | None = None,
    printable: bool = False,
) -> str:
    value, where = fields.get(name), where or name
    if not isinstance(value, str) or not (value.strip() if printable else value):
        raise invalid(f"{where} must be a non-empty string")
    if most is not None and len(value) > most:
        raise invalid(f"{where} must have at most {most} characters")
    if printable and not value.strip().isprintable():
        raise invalid(f"{where} must contain only printable characters")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise invalid(f"{where} must not contain half of a surrogate pair") from exc
    return value


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    if "maxTokens" not in fields:
        return None
    value = fields["maxTokens"]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one number type: 1000.0 is an integer
    if type(value) is not int or not 1 <= value <= TOKENS_MAX:
        raise invalid(f"maxTokens must be an integer between 1 and {TOKENS_MAX}")
    return value


def _temperature(fields: Mapping[str, Any]) -> float | None:
    if "temperature" not in fields:
        return None
    value = fields["temperature"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid("temperature must be a number")
    if not 0 <= value <= TEMPERATURE_MAX:
        raise invalid(f"temperature must be between 0 and {TEMPERATURE_MAX}")
    return float(value)


def flag(fields: Mapping[str, Any], name: str) -> bool:
    """Return a boolean field, False if absent. Raises Refused."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise invalid(f"{name} must be true or false")
    return value


def checked_idempotency_key(value: str | None) -> str | None:
    """Return the caller's Idempotency-Key. Raises Refused if it is invalid."""
    if value is None:
        return None
    if not value or len(value) > IDEMPOTENCY_KEY_MAX_CHARS or not value.isprintable():
        raise invalid(
            f"Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_MAX_CHARS} printable characters"
        )
    return value
