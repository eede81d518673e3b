"""A process remembers which row answered its newest conversations."""

from __future__ import annotations

from gateway.providers.routing.answering_rows import REMEMBERED_MAX, AnsweringRows


def test_conversation_is_at_row_that_answered_it_last() -> None:
    conversations = AnsweringRows()
    conversations.answered("one", "eu")
    conversations.answered("two", "eu")
    conversations.answered("one", "us")
    assert [conversations.row_of(each) for each in ("one", "two", "three", None)] == [
        *("us", "eu", None, None),
    ]


def test_oldest_conversation_is_forgotten_first() -> None:
    conversations = AnsweringRows()
    for n in range(REMEMBERED_MAX):
        conversations.answered(str(n), "eu")
    conversations.answered("0", "eu")
    conversations.answered("one more", "eu")
    assert conversations.row_of("0") == "eu"
    assert conversations.row_of("1") is None
