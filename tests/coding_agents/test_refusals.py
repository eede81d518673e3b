"""What a person sees of a refusal: our own sentence, at once, in the agent's output and window."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import pytest

from tests.coding_agents.agent import Gateway
from tests.coding_agents.books import Books
from tests.coding_agents.conftest import EUR_A_DAY
from tests.coding_agents.seat import Seat
from tests.coding_agents.terminal import plain
from tests.system.servers import Installation
from tests.system.upstream import Upstream

pytestmark = pytest.mark.agents
# An agent that repeats what was refused does it a few times at once; one that waits in between
# does not end within a test.
REQUESTS_MAX: Final = 30


@dataclass(frozen=True, slots=True)
class Refusal:
    """An organization whose calls are refused: why, and how its policy differs."""

    name: str
    code: str
    options: tuple[str, ...] = ()


REFUSALS: Final = (
    Refusal("spent", "daily_cost_limit"),
    Refusal("other", "model_not_allowed", ("--allow", "gpt-4o-mini")),
    Refusal("blocked", "model_blocked", ("--block", "claude-*,gpt-*,gemini-*")),
    # In its sentence are the digits of a status that agents repeat.
    Refusal("short", "token_limit", ("--max-tokens", "500")),
    Refusal("off", "gateway_disabled"),
)
EACH_REFUSAL: Final = pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.name)


@pytest.fixture(scope="session")
def keys(installation: Installation, gateway: Gateway, vendors: Upstream) -> Mapping[str, str]:
    """A key of each organization whose calls are refused."""
    keys = installation.organizations(*(each.name for each in REFUSALS))
    policy = ("--name", "day", "--max-cost-per-day", EUR_A_DAY)
    policies = [("policies", "create", each.name, *policy, *each.options) for each in REFUSALS]
    installation.run_each(*policies, ("orgs", "disable", "off"))
    vendors.answers({"output_tokens": 5_000_000})
    _spend(gateway.url, keys["spent"])
    return keys


def _spend(url: str, key: str) -> None:
    """Make a call for which its provider bills more than a day's money."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say much"}]}
    request = urllib.request.Request(  # noqa: S310
        f"{url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        answer.read()


@pytest.fixture
def refused(refusal: Refusal, seat: Seat, keys: Mapping[str, str]) -> Seat:
    """The agent with a key of the organization whose calls are refused."""
    gateway = replace(seat.gateway, key=keys[refusal.name])
    made = replace(seat, gateway=gateway, place=seat.place / "refused")
    made.prepare()
    return made


def _sentences(books: Books) -> set[str]:
    return {plain(row.error) for row in books.new() if row.error}


def _refusals(books: Books) -> set[tuple[str, str | None, int | None]]:
    """Return status, code and cost of all requests."""
    rows = books.new()
    assert len(rows) <= REQUESTS_MAX
    return {(row.status, row.code, row.cost_nanoeur) for row in rows}


@EACH_REFUSAL
def test_output_has_our_sentence(
    refusal: Refusal, refused: Seat, upstream: Upstream, books: Books
) -> None:
    output = refused.run(refused.agent.once("Say hello"))
    assert any(each in output for each in _sentences(books)), output
    assert _refusals(books) == {("blocked", refusal.code, 0)}
    assert upstream.calls() == []


@EACH_REFUSAL
def test_window_has_our_sentence(
    refusal: Refusal, refused: Seat, upstream: Upstream, books: Books
) -> None:
    def is_shown(seen: str) -> bool:
        works = any(text in seen for text in refused.agent.stopping)
        return not works and any(each in seen for each in _sentences(books))

    with refused.window() as terminal:
        terminal.write("Say hello")
        terminal.press("Enter")
        terminal.steer(refused.agent.dismissing, until=is_shown)
    assert _refusals(books) == {("blocked", refusal.code, 0)}
    assert upstream.calls() == []
