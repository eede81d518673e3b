"""Conversations that an agent has through the gateway, each with a provider that is strict."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Final

import pytest

from tests.coding_agents.agent import Answer
from tests.coding_agents.books import Books
from tests.coding_agents.seat import Seat
from tests.coding_agents.terminal import shows
from tests.system.upstream import Seen, Upstream

ENDLESS: Final = {"drip_s": 0.05, "endless": True}
SILENT_S: Final = 25  # in which the gateway sends two comments

pytestmark = pytest.mark.agents


def word() -> str:
    """Return a word that occurs nowhere else."""
    return f"w{secrets.token_hex(6)}"


def plays(upstream: Upstream, *answers: Answer) -> None:
    """Have the provider give these answers to all that they fit, and refuse what lacks a beta."""
    strict = {"times": 0, "needs_betas": True}
    upstream.answers(*(strict | answer for answer in answers), strict)


def test_plain_turn_is_answered(seat: Seat, upstream: Upstream, books: Books) -> None:
    asked, answered = word(), word()
    plays(upstream, {"when": [asked, seat.agent.main], "content": answered})
    assert answered in seat.run(seat.agent.once(f"Say {asked}"))
    assert {row.status for row in books.new()} == {"ok"}


def test_tool_runs_and_its_result_comes_back(seat: Seat, upstream: Upstream, books: Books) -> None:
    asked, answered, made = word(), word(), word()
    command = f"printf '%s-%s' {made} tool"
    plays(
        upstream,
        {"when": [asked, f"{made}-tool"], "content": answered},
        {"when": [asked, seat.agent.main], "tool_calls": [seat.agent.shell(command)]},
    )
    assert answered in seat.run(seat.agent.once(f"Run {asked}"))
    assert {row.status for row in books.new()} == {"ok"}


def test_tools_run_in_window_turn_after_turn(seat: Seat, upstream: Upstream, books: Books) -> None:
    """As a person works: with what the agent asks, and has checked, before a tool runs."""
    with seat.window() as terminal:
        for _ in range(3):
            asked, answered, made = word(), word(), word()
            upstream.reset()
            plays(
                upstream,
                {"when": [asked, f"{made}-tool"], "content": answered},
                {
                    "when": [asked, seat.agent.main],
                    "tool_calls": [seat.agent.shell(f"mkdir {made} && printf '%s-%s' {made} tool")],
                },
            )
            terminal.write(f"Run {asked}")
            terminal.press("Enter")
            terminal.steer(seat.agent.approving, until=shows(answered))
            assert (seat.project / made).is_dir()
    assert {row.status for row in books.new()} == {"ok"}


def test_subagent_answers_agent(seat: Seat, upstream: Upstream, books: Books) -> None:
    if seat.agent.subagent is None:
        pytest.skip(f"{seat.agent.page} has no subagent in its default set-up")
    asked, answered, other, found = word(), word(), word(), word()
    plays(
        upstream,
        {"when": [asked, found], "content": answered},
        {"when": [asked, other], "content": "The subagent's answer did not come back"},
        {"when": [other], **seat.agent.reports(found)},
        {"when": [asked, seat.agent.main], "tool_calls": seat.agent.subagent(f"Find {other}")},
    )
    assert answered in seat.run(seat.agent.once(f"Delegate {asked}"))
    assert {row.status for row in books.new()} == {"ok"}


def test_web_search_is_charged(seat: Seat, upstream: Upstream, books: Books) -> None:
    if seat.agent.search is None:
        pytest.skip(f"{seat.agent.page} has no search of its own in its default set-up")
    asked, answered = word(), word()
    plays(upstream, *seat.agent.search(asked, answered))
    assert answered in seat.run(seat.agent.once(f"Search {asked}"))
    assert {row.status for row in books.new()} == {"ok"}
    assert sum(row.usage["buckets"].get("web_searches", 0) for row in books.new()) == 1


def test_second_turn_continues_conversation(seat: Seat, upstream: Upstream, books: Books) -> None:
    first, replied, second, answered = word(), word(), word(), word()
    plays(
        upstream,
        {"when": [first, replied, second, seat.agent.main], "content": answered},
        {"when": [first, seat.agent.main], "content": replied},
    )
    assert replied in seat.run(seat.agent.once(f"Say {first}"))
    assert answered in seat.run(seat.agent.again(f"Say {second}"))
    assert {row.status for row in books.new()} == {"ok"}


def test_turn_survives_long_silence(seat: Seat, upstream: Upstream, books: Books) -> None:
    """The gateway's comments reach the agent meanwhile; it takes them for no answer."""
    asked, answered = word(), word()
    silent = {"hidden_thinking_tokens": SILENT_S, "hidden_thinking_per_s": 1.0}
    plays(upstream, {"when": [asked, seat.agent.main], "content": answered, **silent})
    assert answered in seat.run(seat.agent.once(f"Ponder {asked}"))
    assert {row.status for row in books.new()} == {"ok"}


def _is_left(asked: str, call: Seen) -> bool:
    return asked in call["raw"] and call["disconnected_at"] is not None


def test_interrupted_turn_is_charged(seat: Seat, upstream: Upstream, books: Books) -> None:
    asked, begun = word(), word()
    plays(upstream, {"when": [asked, seat.agent.main], "content": f"{begun} and on", **ENDLESS})
    with seat.window() as terminal:
        terminal.write(f"Tell {asked}")
        terminal.press("Enter")
        terminal.wait_for(begun)
        # Some do not say how to stop them while an answer comes.
        keys = {**seat.agent.stopping, begun: "Escape"}
        terminal.steer(keys, until=shows(seat.agent.stopped))
        upstream.wait_for(partial(_is_left, asked))
    [row] = [row for row in books.new() if row.status != "ok"]
    assert (row.status, row.code) == ("unknown", "client_disconnected")
    assert row.cost_nanoeur


def test_command_that_is_interrupted_is_charged(
    seat: Seat, upstream: Upstream, books: Books
) -> None:
    asked = word()
    plays(upstream, {"when": [asked, seat.agent.main], "content": "On and on", **ENDLESS})
    process = seat.start(seat.agent.once(f"Tell {asked}"))
    upstream.wait_for(
        lambda call: asked in call["raw"] and seat.agent.main in call["raw"] and call["sent_pieces"]
    )
    seat.interrupt(process)
    upstream.wait_for(partial(_is_left, asked))
    [row] = [row for row in books.new() if row.status != "ok"]
    assert (row.status, row.code) == ("unknown", "client_disconnected")
    assert row.cost_nanoeur
