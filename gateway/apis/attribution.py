"""What clients say of a call in headers and fields of their own: its session, agent and end user.

None of it is proved, and none of it is an error: a value that cannot be kept is omitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from gateway.core.calls import DIMENSION_MAX_CHARS, Dimensions, Session
from orgs.core.client_sources import HEADER_PREFIX
from orgs.core.frozen import frozen
from orgs.core.spelling import normalized


@frozen
class _Client:
    """The headers of a client: of the session, of the subagent in it, and of the session that
    started this one, for clients whose subagents have sessions of their own.
    """

    session: str
    agent: str | None = None
    parent: str | None = None


# The first whose session is named counts. Recorded from the clients: Claude Code 2.1.332, Codex
# 0.171 (whose main thread has the session's id), OpenCode. Gemini CLI sends none with an API key;
# it takes any header from GEMINI_CLI_CUSTOM_HEADERS.
CLIENTS: Final = (
    _Client(session="x-pulse-session-id", agent="x-pulse-agent-id"),
    _Client(session="x-claude-code-session-id", agent="x-claude-code-agent-id"),
    _Client(session="session-id", agent="thread-id", parent="x-codex-parent-thread-id"),
    _Client(session="x-session-id", parent="x-parent-session-id"),
)


def session_in(header: Callable[[str], str | None]) -> Session | None:
    """Return the session that a request's headers name, or None."""
    for names in CLIENTS:
        session_id, agent_id, parent_id = (
            _kept(header(name)) if name else None
            for name in (names.session, names.agent, names.parent)
        )
        if session_id is None:
            continue
        if agent_id is not None and agent_id != session_id:
            return Session(id=session_id, agent_id=agent_id)
        if parent_id is not None and parent_id != session_id:
            return Session(id=parent_id, agent_id=session_id)
        return Session(id=session_id)
    return None


def with_client(
    dimensions: Dimensions,
    source: str | None,
    headers: Mapping[str, str],
    fields: Mapping[str, Any],
) -> Dimensions:
    """Return the dimensions with the client from where the key says, unless they have one.

    `source` is a key's (`orgs.core.client_sources`): a header or a field of the body.
    """
    if source is None or dimensions.client_id is not None:
        return dimensions
    client_id = _kept(_named(source, headers, fields))
    return dimensions if client_id is None else replace(dimensions, client_id=client_id)


def _named(source: str, headers: Mapping[str, str], fields: Mapping[str, Any]) -> object:
    if source.startswith(HEADER_PREFIX):
        return headers.get(source.removeprefix(HEADER_PREFIX))
    value: object = fields
    for name in source.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _kept(value: object) -> str | None:
    """Return a name as it is stored; None for what is none."""
    if not isinstance(value, str):
        return None
    value = normalized(value)
    return value if value.isprintable() and 0 < len(value) <= DIMENSION_MAX_CHARS else None
