"""Sessions and clients, as the headers and fields of a request name them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.apis.attribution import session_in, with_client
from gateway.core.calls import Dimensions, Session
from orgs.core.client_sources import checked_source


@pytest.mark.parametrize(
    ("headers", "session"),
    [
        ({}, None),
        ({"x-claude-code-session-id": "s"}, Session(id="s")),
        (
            {"x-claude-code-session-id": "s", "x-claude-code-agent-id": "a"},
            Session(id="s", agent_id="a"),
        ),
        ({"x-claude-code-agent-id": "a"}, None),
        # Codex: its main thread has the session's id.
        ({"session-id": "s", "thread-id": "s"}, Session(id="s")),
        ({"session-id": "s", "thread-id": "t"}, Session(id="s", agent_id="t")),
        (
            {"session-id": "t", "thread-id": "t", "x-codex-parent-thread-id": "s"},
            Session(id="s", agent_id="t"),
        ),
        # OpenCode: a subagent has a session of its own, which names its parent.
        ({"x-session-id": "s"}, Session(id="s")),
        ({"x-session-id": "t", "x-parent-session-id": "s"}, Session(id="s", agent_id="t")),
        ({"x-pulse-session-id": "s", "x-pulse-agent-id": "a"}, Session(id="s", agent_id="a")),
        ({"x-pulse-session-id": "own", "x-claude-code-session-id": "s"}, Session(id="own")),
        # What is no name is ignored, as if it were not there.
        ({"x-pulse-session-id": " \t", "x-claude-code-session-id": "s"}, Session(id="s")),
        ({"x-claude-code-session-id": "x" * 128}, Session(id="x" * 128)),
        ({"x-claude-code-session-id": "x" * 129}, None),
        ({"x-claude-code-session-id": "s\x00"}, None),
        ({"x-claude-code-session-id": "s", "x-claude-code-agent-id": "a\x7f"}, Session(id="s")),
        ({"x-session-id": " Stra\u00dfe "}, Session(id="Stra\u00dfe")),
    ],
)
def test_session_is_that_of_first_client_whose_headers_name_one(
    headers: dict[str, str], session: Session | None
) -> None:
    assert session_in(headers.get) == session


@pytest.mark.parametrize(
    ("source", "client"),
    [
        (None, None),
        ("user", "u-1"),
        ("safety_identifier", None),
        ("metadata.user_id", "m-1"),
        ("metadata.other", None),
        ("header:x-openwebui-user-id", "w-1"),
        ("header:x-absent", None),
    ],
)
def test_client_is_taken_from_where_key_says(source: str | None, client: str | None) -> None:
    fields: dict[str, Any] = {"user": "u-1", "metadata": {"user_id": " m-1"}}
    headers = {"x-openwebui-user-id": "w-1"}
    named = with_client(Dimensions(team_id="t"), source, headers, fields)
    assert named == Dimensions(team_id="t", client_id=client)


@pytest.mark.parametrize("value", [None, 7, ["x"], {}, "", "x" * 129, "a\x00b"])
def test_value_that_is_no_name_is_no_client(value: object) -> None:
    assert with_client(Dimensions(), "user", {}, {"user": value}) == Dimensions()
    assert with_client(Dimensions(), "user.name", {}, {"user": value}) == Dimensions()


def test_client_that_call_has_is_kept() -> None:
    named = Dimensions(client_id="c-1")
    assert with_client(named, "user", {}, {"user": "u-1"}) == named


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("", ""),
        (" User ", "user"),
        ("metadata.user_id", "metadata.user_id"),
        ("header:X-OpenWebUI-User-Id", "header:x-openwebui-user-id"),
        ("header:", None),
        ("header:x y", None),
        ("header:" + "x" * 65, None),
        ("header:Authorization", None),
        ("header:x-api-key", None),
        ("header:cookie", None),
        ("client_id", None),
    ],
)
def test_source_is_field_or_header_without_credentials(text: str, source: str | None) -> None:
    assert checked_source(text) == source
