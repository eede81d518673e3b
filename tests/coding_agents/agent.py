"""What the tests know of a coding agent: how it is set up and run, and which tools it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Of the fake provider: fields of its Behaviour, and of a tool call its name and arguments.
Answer = dict[str, Any]
ToolCall = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where an agent sends its requests, and with which key."""

    url: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A coding agent in its default set-up, pointed at a gateway as its page in docs/clients says.

    `package` is npm's, `program` the command that it installs, `page` the name in docs/clients.
    """

    page: str
    package: str
    program: str
    vendor: str  # whose API it speaks
    model: str  # that it asks for

    # --- set-up: nothing else is in its environment or home but PATH, HOME and the language
    environment: Callable[[Gateway], Mapping[str, str]]
    files: Callable[[Gateway], Mapping[str, str]] = lambda _: {}  # by path in the home folder

    # --- command lines, without the program: one prompt, one that continues, a window
    once: Callable[[str], Sequence[str]]
    again: Callable[[str], Sequence[str]]
    window: Sequence[str] = ()
    # What the window shows and the key that is pressed then.
    opening: Mapping[str, str]
    ready: str
    approving: Mapping[str, str] = field(default_factory=dict)  # of a tool, where it asks
    stopping: Mapping[str, str]
    stopped: str
    # What it asks before it shows a refusal, and the key of the answer.
    dismissing: Mapping[str, str] = field(default_factory=dict)

    # --- what the model answers in a scene
    main: str  # in the body of each request of the main conversation, of no other
    shell: Callable[[str], ToolCall]  # runs a command
    # Has another conversation answer a prompt, and waits for it.
    subagent: Callable[[str], Sequence[ToolCall]] | None
    reports: Callable[[str], Answer] = lambda text: {"content": text}  # how a subagent ends
    # The answers of a search, to prompts that have the given text; the last shows the other.
    search: Callable[[str, str], Sequence[Answer]] | None
