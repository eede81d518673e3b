"""What was seen of an answer bounds what can have been produced."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.usage import Usage
from gateway.core.seen import (
    ARRIVED_EVENTS,
    ON_ITS_WAY_S,
    TEXT_FREE_BYTES,
    TEXT_KEPT_BYTES,
    SeenOutput,
    all_text,
    arrived,
)

RATE = 100.0


def seen_after(*events: str, started_s: float = 0.0, choices: int = 1) -> SeenOutput:
    """Return what is seen of one event a second."""
    seen = SeenOutput()
    seen.send(started_s, choices=choices)
    for second, text in enumerate(events, start=1):
        seen.arrive(started_s + second)
        seen.text.add(text)
    return seen


def at_most(seen: SeenOutput, *, counted: int = 0, now_s: float = 0.0) -> int:
    return seen.output_tokens_at_most(text=counted, thoughts=0, tokens_per_s=RATE, now_s=now_s)


ON_ITS_WAY = int(ON_ITS_WAY_S * RATE)


def test_finished_output_is_its_text() -> None:
    seen = seen_after("one", " two", " three")
    seen.end()
    assert at_most(seen, counted=3) == 3


def test_unfinished_output_has_one_more_event_and_what_was_on_its_way() -> None:
    seen = seen_after("one", " two three four", " five")
    assert at_most(seen, counted=5) == 5 + 4 + ON_ITS_WAY


def test_event_is_at_least_one_token_and_byte_at_most_one() -> None:
    seen = seen_after("x", "x", "x")
    seen.end()
    assert at_most(seen, counted=1) == 3
    assert at_most(seen, counted=50) == 3


@pytest.mark.parametrize(
    ("has_memory", "kept"), [(True, TEXT_KEPT_BYTES), (False, TEXT_FREE_BYTES)]
)
def test_text_beyond_what_is_kept_counts_by_its_bytes(has_memory: bool, kept: int) -> None:
    asked: list[int] = []

    def take(n_bytes: int) -> bool:
        asked.append(n_bytes)
        return has_memory

    seen = SeenOutput()
    seen.send(0.0, take=take)
    for text in ("x" * TEXT_FREE_BYTES, "x" * (kept - TEXT_FREE_BYTES), "yy", "yy"):
        seen.text.add(text)
    seen.end()
    assert asked == [TEXT_KEPT_BYTES - TEXT_FREE_BYTES]
    assert len(seen.text.kept) == kept
    assert at_most(seen, counted=1000) == 1000 + 4


def test_hidden_output_counts_once_it_has_begun_by_time_since_sending() -> None:
    seen = seen_after(started_s=10.0)
    seen.arrive(12.0)
    assert at_most(seen, now_s=15.0) == ON_ITS_WAY
    seen.hide(True)
    assert at_most(seen, now_s=15.0) == 5 * RATE + ON_ITS_WAY
    seen.arrive(14.0)
    seen.hide(False)
    assert at_most(seen, now_s=99.0) == 4 * RATE + ON_ITS_WAY


def test_second_hidden_block_counts_from_event_before_it() -> None:
    seen = seen_after("a")
    seen.arrive(3.0)
    seen.hide(True)
    seen.arrive(4.0)
    seen.hide(False)
    assert at_most(seen, counted=1, now_s=4.0) == 1 + 3 * RATE + ON_ITS_WAY + 1


def test_shown_thoughts_count_if_they_are_more_than_time_allows() -> None:
    seen = seen_after()
    seen.arrive(0.01)
    seen.hide(True)
    for _ in range(50):
        seen.thoughts.add(" word")
    seen.hide(False)
    most = seen.output_tokens_at_most(text=0, thoughts=50, tokens_per_s=RATE, now_s=0.01)
    assert most == 50 + ON_ITS_WAY


def test_silence_counts_only_where_output_comes_in_bursts() -> None:
    seen = seen_after("{")
    assert at_most(seen, counted=1, now_s=4.0) == 1 + 1 + ON_ITS_WAY
    seen.in_bursts = True
    assert at_most(seen, counted=1, now_s=4.0) == 1 + 1 + ON_ITS_WAY + 3 * RATE


def test_reported_output_counts_if_it_is_more() -> None:
    seen = seen_after("one")
    seen.report(Usage(output_text=40, output_reasoning=2))
    seen.report(None)
    assert at_most(seen, counted=1) == 42 + ON_ITS_WAY + 1


def test_each_choice_has_output_on_its_way_until_all_have_ended() -> None:
    seen = seen_after("one", choices=3)
    seen.end(0)
    seen.end(0)
    seen.end(1)
    assert at_most(seen, counted=1) == 1 + 3 * ON_ITS_WAY + 1
    seen.end(2)
    assert at_most(seen, counted=1) == 1


def test_each_choice_is_hidden_and_silent() -> None:
    seen = seen_after("{", choices=3)
    seen.hide(True)
    seen.in_bursts = True
    assert at_most(seen, counted=1, now_s=2.0) == 1 + 3 * (ON_ITS_WAY + 2 * RATE + RATE) + 1


def test_output_is_hidden_until_each_choice_shows_some() -> None:
    seen = seen_after(choices=2)
    seen.arrive(1.0)
    seen.hide(True)
    for choice, at_s in ((0, 2.0), (0, 3.0), (1, 4.0)):
        assert seen.has_begun
        seen.arrive(at_s)
        seen.begin(choice)
    assert at_most(seen, now_s=99.0) == 2 * (4 * RATE + ON_ITS_WAY)


def test_output_that_slow_client_keeps_unread_counts_by_time() -> None:
    seen = seen_after("one", "two")  # until 2 s
    assert at_most(seen, counted=2, now_s=5.0) == 2 + 1 + ON_ITS_WAY
    seen.is_behind = True
    assert at_most(seen, counted=2, now_s=5.0) == 2 + 1 + ON_ITS_WAY + 3 * RATE


def test_output_that_arrived_and_was_not_read_counts_by_time_since_sending() -> None:
    seen = seen_after("one", "two", started_s=3.0)
    seen.is_unread = True
    assert at_most(seen, counted=2, now_s=10.0) == 7 * RATE
    assert at_most(seen, counted=2, now_s=3.0) == 2 + 1 + ON_ITS_WAY


async def test_output_is_unread_where_more_arrives_than_is_read_in_time() -> None:
    seen = seen_after("one")
    await arrived(seen)
    assert not seen.is_unread

    async def arrive() -> None:
        while True:
            seen.events += ARRIVED_EVENTS
            await asyncio.sleep(0)

    arriving = asyncio.create_task(arrive())
    await arrived(seen)
    arriving.cancel()
    assert seen.is_unread


@given(st.lists(st.text(max_size=20), max_size=30))
def test_more_output_never_lowers_bound(texts: list[str]) -> None:
    few, more = seen_after(*texts[:-1]), seen_after(*texts)
    bytes_of_few, bytes_of_more = len(few.text.kept), len(more.text.kept)
    assert at_most(few, counted=bytes_of_few) <= at_most(more, counted=bytes_of_more)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (
            {"role": "x", "content": [{"type": "t", "text": "b"}, {"text": 3}, "c"], "z": "d"},
            "tbcd",
        ),
        ({"id": "x"}, ""),
        (None, ""),
    ],
)
def test_text_of_value_is_found_at_any_depth(value: object, text: str) -> None:
    assert all_text(value, {"id", "role"}) == text


def test_deepest_text_that_can_be_parsed_is_found() -> None:
    depth = 1000
    deep = orjson.loads(b'{"a":[' * (depth // 2) + b'"x"' + b"]}" * (depth // 2))
    assert all_text(deep) == "x"
