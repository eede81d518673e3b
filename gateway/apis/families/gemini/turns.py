"""Fit messages to Gemini's rules of turns: calls with their results, the first and the last turn.

https://ai.google.dev/gemini-api/docs/function-calling
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.apis.families.changes import Changes
from gateway.apis.families.gemini import models
from gateway.core.messages import CacheMark, Message, ToolCall
from gateway.core.request_body import invalid

BEFORE: Final = "."
AFTER: Final = "Continue."

_EMPTY: Final = "Empty texts and messages without content were omitted: Google rejects them"
_JOINED: Final = "Messages of the assistant after each other were joined into one turn"
_SORTED: Final = "Results of tools were put in the order of their calls"
_NAMED: Final = "Tool calls without an id were given one"


def fit_turns(changes: Changes) -> None:
    """Fit the messages. Raises Refused for calls without their results, and for no content."""
    call = changes.call
    systems = tuple(each for each in call.messages if each.role == "system" and each.text)
    turns = _turns(changes, call.messages)
    if not turns:
        if not systems:
            raise invalid("messages must have a text that is not empty, an image or a file")
        # https://github.com/NousResearch/hermes-agent/pull/57942
        changes.make(
            "The system messages were sent as the user's: there was no other message",
            messages=_as_users(systems),
        )
        return
    if systems and not models.takes_instructions_and_tools(call.model):
        changes.make("System messages were sent as the user's: the model takes no others")
        systems, turns = (), [*_as_users(systems), *turns]
    # https://github.com/google-gemini/gemini-cli/issues/11814
    if turns[0].role == "assistant":
        changes.make("A turn of the user was added before the first one of the assistant")
        turns = [Message("user", BEFORE), *turns]
    if turns[-1].role == "assistant" and not models.continues_own_turn(call.model):
        changes.make("A turn of the user was added: the model does not continue its own last turn")
        turns = [*turns, Message("user", AFTER)]
    # Which place a system message had says nothing: Google has one instruction.
    changes.call = replace(changes.call, messages=(*systems, *turns))


def _as_users(messages: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(replace(message, role="user") for message in messages)


@dataclass(slots=True)
class _Calls:
    """The calls of the current turn, in the message at `place`, and their results so far."""

    place: int = 0
    calls: list[ToolCall] = field(default_factory=list)
    results: dict[int, Message] = field(default_factory=dict)

    def answer(self, result: Message, place: int) -> None:
        """Record a result: of the first call with its id that has none."""
        for index, call in enumerate(self.calls):
            if call.id == result.tool_call_id and index not in self.results:
                self.results[index] = result
                return
        raise invalid(
            f"messages[{place}] must be the one result of a tool call in the message of the "
            "assistant right before the results"
        )

    def end(self) -> list[Message]:
        """Return the results in the order of the calls, which are answered then."""
        if len(self.results) < len(self.calls):
            raise invalid(
                f"messages[{self.place}] must be followed by a result of each of its tool calls"
            )
        return [self.results[index] for index in range(len(self.calls))]


def _turns(changes: Changes, messages: Iterable[Message]) -> list[Message]:
    """Return the messages besides system ones: turns of the assistant, each with its results.

    Results elsewhere, or not one for each call, are rejected, as by OpenAI itself:
    https://github.com/microsoft/vscode/issues/299295, https://github.com/google-gemini/gemini-cli/issues/4217.
    So are two turns of the assistant in a row: https://github.com/google-gemini/gemini-cli/issues/26486
    """
    turns: list[Message] = []
    open_calls = _Calls()
    for place, message in enumerate(messages):
        if "" in message.parts or (message.role != "tool" and not _has_content(message)):
            changes.make(_EMPTY)
        if message.role == "system":
            continue
        if message.role == "tool":
            open_calls.answer(message, place)
        elif _has_content(message):
            if open_calls.calls and (message.role == "user" or open_calls.results):
                turns += _answered(changes, turns, open_calls)
                open_calls = _Calls()
            if message.role == "assistant" and turns and turns[-1].role == "assistant":
                changes.make(_JOINED)
                turns[-1] = _joined(turns[-1], message)
            else:
                turns.append(message)
            if message.tool_calls:
                open_calls.place = place
                open_calls.calls += message.tool_calls
    return turns + _answered(changes, turns, open_calls)


def _answered(changes: Changes, turns: list[Message], calls: _Calls) -> list[Message]:
    """Return the results of the last turn; give its calls without an id one, and its results."""
    results = calls.end()
    if list(calls.results) != sorted(calls.results):
        changes.make(_SORTED)
    named = [
        call if call.id else replace(call, id=f"call_{len(turns)}_{index}")
        for index, call in enumerate(calls.calls)
    ]
    if named != calls.calls:
        changes.make(_NAMED)
        turns[-1] = replace(turns[-1], tool_calls=tuple(named))
    return [
        replace(result, tool_call_id=call.id, tool_name=call.name)
        for call, result in zip(named, results, strict=True)
    ]


def _has_content(message: Message) -> bool:
    pieces = (piece for piece in message.pieces if not isinstance(piece, CacheMark))
    return bool(message.tool_calls) or any(True for _ in pieces)


def _joined(first: Message, second: Message) -> Message:
    return replace(
        first,
        content="",
        parts=(*first.pieces, *second.pieces),
        tool_calls=(*first.tool_calls, *second.tool_calls),
    )
