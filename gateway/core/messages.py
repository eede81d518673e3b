"""What is sent to a model: messages with their parts, tools, the format of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orgs.core.frozen import frozen


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
