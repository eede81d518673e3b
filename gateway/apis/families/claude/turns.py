"""Fit messages to Anthropic's rules of turns: texts, tool calls with their results, the last turn.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from gateway.apis.families.changes import Changes
from gateway.apis.families.claude import models as claude
from gateway.core.messages import CacheMark, Message
from gateway.core.request_body import invalid

Messages = tuple[Message, ...]

NAME_MAX_CHARS: Final = 128
# Within the bound: a result without the JSON around its call, which counts as prompt and is not
# sent, and a last turn with the frame around a request.
NO_RESULT: Final = "No result"
CONTINUE: Final = "Continue."
_REJECTED: Final = re.compile(r"[^A-Za-z0-9_-]")


def fit_turns(changes: Changes) -> None:
    """Fit the messages. Raises Refused if nothing remains to be answered."""
    _take(changes, *_BLANKS)
    if any(message.tool_calls for message in changes.call.messages):
        for sentence, step in _TOOL_STEPS:
            _take(changes, sentence, step)
    _take(changes, *_ONLY_SYSTEM)
    if not changes.call.messages:
        raise invalid("messages must have a text that is not blank, an image or a file")
    _fit_last_turn(changes)


def _take(changes: Changes, sentence: str, step: Callable[[Messages], Messages]) -> None:
    messages = step(changes.call.messages)
    if messages != changes.call.messages:
        changes.make(sentence, messages=messages)


# --- texts ------------------------------------------------------------------------------------


def _without_blanks(messages: Messages) -> Messages:
    """Omit blank texts, and then messages without content.

    "text content blocks must contain non-whitespace text":
    https://github.com/home-assistant/core/issues/175637. A tool's result may be empty.
    """
    kept = (_without_blank_texts(message) for message in messages)
    return tuple(each for each in kept if each.role == "tool" or each.tool_calls or _has_more(each))


def _without_blank_texts(message: Message) -> Message:
    content = message.content if message.content.strip() else ""
    parts = tuple(part for part in message.parts if not isinstance(part, str) or part.strip())
    if (content, parts) == (message.content, message.parts):
        return message
    return replace(message, content=content, parts=parts)


def _has_more(message: Message) -> bool:
    return any(not isinstance(piece, CacheMark) for piece in message.pieces)


def _with_user_turn(messages: Messages) -> Messages:
    """Send the last of only system messages as the user's.

    https://github.com/braintrustdata/braintrust-proxy/pull/250
    """
    if not messages or any(message.role != "system" for message in messages):
        return messages
    return (*messages[:-1], replace(messages[-1], role="user"))


# --- tool calls and results -------------------------------------------------------------------


def _with_accepted_names(messages: Messages) -> Messages:
    """Replace what Anthropic rejects in the names of earlier calls."""
    return tuple(
        replace(
            message,
            tool_calls=tuple(
                replace(call, name=_accepted(call.name)) for call in message.tool_calls
            ),
        )
        for message in messages
    )


def _with_unique_ids(messages: Messages) -> Messages:
    """Give every call an id of its own, and each result the id of the nearest such call.

    https://github.com/BerriAI/litellm/issues/23510 (unique), `^[a-zA-Z0-9_-]+$`
    """
    return tuple(_Ids().rewritten(messages))


class _Ids:
    """The ids of calls: `_waiting` are the nearest turn's calls of an id, without a result yet."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}
        self._waiting: dict[str, deque[str]] = {}
        self._turn_of: dict[str, int] = {}

    def rewritten(self, messages: Messages) -> Iterator[Message]:
        turn, is_assistants = 0, False
        for message in messages:
            if message.role == "tool" and message.tool_call_id is not None:
                yield replace(message, tool_call_id=self._answered_by(message.tool_call_id))
            elif message.tool_calls:
                turn += not is_assistants
                calls = [replace(call, id=self._own(call.id, turn)) for call in message.tool_calls]
                yield replace(message, tool_calls=tuple(calls))
            else:
                yield message
            if message.role != "system":
                is_assistants = message.role == "assistant"

    def _own(self, given: str, turn: int) -> str:
        base = own = _accepted(given)
        while own in self._taken:
            self._next[base] = number = self._next.get(base, 1) + 1
            own = f"{base}_{number}"
        self._taken.add(own)
        if self._turn_of.get(given) != turn:
            self._turn_of[given], self._waiting[given] = turn, deque()
        self._waiting[given].append(own)
        return own

    def _answered_by(self, given: str) -> str:
        """Return the first call of that id without a result, or the last of all."""
        waiting = self._waiting[given]
        return waiting.popleft() if len(waiting) > 1 else waiting[0]


def _with_one_result_each(messages: Messages) -> Messages:
    """Join several results of a call: "each tool_use must have a single result"."""
    found: dict[str, list[Message]] = {}
    for message in messages:
        if message.tool_call_id is not None:
            found.setdefault(message.tool_call_id, []).append(message)
    return tuple(
        message if message.tool_call_id is None else _joined(found.pop(message.tool_call_id))
        for message in messages
        if message.tool_call_id is None or message.tool_call_id in found
    )


def _joined(results: list[Message]) -> Message:
    if len(results) == 1:
        return results[0]
    parts = tuple(piece for result in results for piece in result.pieces)
    return replace(results[0], content="", parts=parts)


def _with_results_at_calls(messages: Messages) -> Messages:
    """Put the results of a turn's calls right after the turn, before the user's texts."""
    return tuple(_placed(messages, _results_in(messages)))


def _with_all_results(messages: Messages) -> Messages:
    """Add a result to every call that has none, as in a conversation that was cut."""
    results = _results_in(messages)
    for message in messages:
        for call in message.tool_calls:
            if call.id not in results:
                results[call.id] = Message(
                    "tool", NO_RESULT, tool_call_id=call.id, tool_name=call.name
                )
    return tuple(_placed(messages, results))


def _results_in(messages: Messages) -> dict[str, Message]:
    return {each.tool_call_id: each for each in messages if each.tool_call_id is not None}


def _placed(messages: Messages, results: Mapping[str, Message]) -> Iterator[Message]:
    """Yield the messages, with the results of each assistant's turn at its end.

    The turn ends with a result, also one of another turn, with a message of the user, or last.
    """
    order = {call_id: place for place, call_id in enumerate(results)}
    waiting: set[str] = set()
    for message in messages:
        if message.role in ("user", "tool"):
            yield from (results[each] for each in sorted(waiting, key=order.__getitem__))
            waiting = set()
        if message.role != "tool":
            yield message
            waiting |= {call.id for call in message.tool_calls if call.id in order}
    yield from (results[each] for each in sorted(waiting, key=order.__getitem__))


def _accepted(name: str) -> str:
    """Return a name or id with the characters that Anthropic accepts; other vendors have more."""
    return _REJECTED.sub("_", name)[:NAME_MAX_CHARS] or "tool"


# --- the last turn ----------------------------------------------------------------------------


def _fit_last_turn(changes: Changes) -> None:
    """Fit a last turn of the assistant, which older models continue and newer ones reject."""
    call = changes.call
    last = max(i for i, message in enumerate(call.messages) if message.role != "system")
    message = call.messages[last]
    if message.role != "assistant":
        return
    wanted = call.response_format
    is_enforced = wanted is not None and wanted.schema is not None
    if not claude.takes_prefill(call.model) or (is_enforced and claude.takes_schemas(call.model)):
        changes.make(
            "A turn of the user was added: the model does not continue its own last turn",
            messages=(*call.messages, Message("user", CONTINUE)),
        )
        return
    # "final assistant content cannot end with trailing whitespace"
    stripped = _stripped(message)
    if stripped != message:
        changes.make(
            "Space at the end of the assistant's last text was omitted: Anthropic rejects it",
            messages=(*call.messages[:last], stripped, *call.messages[last + 1 :]),
        )


def _stripped(message: Message) -> Message:
    texts = [index for index, part in enumerate(message.parts) if isinstance(part, str)]
    parts = tuple(
        part.rstrip() if index in texts[-1:] and isinstance(part, str) else part
        for index, part in enumerate(message.parts)
    )
    return replace(message, content=message.content.rstrip(), parts=parts)


_BLANKS: Final = (
    "Blank texts and messages without content were omitted: Anthropic rejects them",
    _without_blanks,
)
_ONLY_SYSTEM: Final = (
    "The last system message was sent as the user's: there was no other message",
    _with_user_turn,
)
_TOOL_STEPS: Final[tuple[tuple[str, Callable[[Messages], Messages]], ...]] = (
    (
        "Names of earlier tool calls were rewritten with the characters that Anthropic accepts",
        _with_accepted_names,
    ),
    ("Ids of tool calls were rewritten, so that each is unique and accepted", _with_unique_ids),
    ("Several results of one tool call were joined", _with_one_result_each),
    ("Results of tools were moved to the turn after their calls", _with_results_at_calls),
    ("Tool calls without a result were given one that says so", _with_all_results),
)
