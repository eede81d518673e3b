"""Spellings of one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orgs.core.spelling import folded, normalized


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Team A", "Team A"),
        (" \tTeam A\r\n", "Team A"),
        ("\u2003\u00a0Cafe\u0301\u3000", "Caf\u00e9"),
        ("\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m"),
        (" \u2003", ""),
    ],
)
def test_name_is_stored_trimmed_and_composed(text: str, name: str) -> None:
    assert normalized(text) == name


@pytest.mark.parametrize(
    "spellings",
    [
        ("Team A", "team a", "TEAM A "),
        ("Stra\u00dfe", "STRASSE", "strasse", "STRA\u1e9eE", "\u017ftrasse"),
        ("Caf\u00e9", "CAFE\u0301", "cafe\u0301 "),
        ("\u0130", "i\u0307"),
        ("\u03a3\u03b1\u03c2", "\u03c3\u03b1\u03c3"),
        ("\u1f82", "\u1f8a", "\u03b1\u0313\u0300\u0345", "\u1f02\u03b9"),  # alpha with iota
    ],
)
def test_spellings_of_one_name_fold_to_one(spellings: tuple[str, ...]) -> None:
    assert len({folded(each) for each in spellings}) == 1


def test_other_names_stay_apart() -> None:
    names = ("Team A", "Team  A", "Team-A", "TeamA", "\u0131", "i", "\u00e9", "e", "\uff21", "a")
    assert len({folded(name) for name in names}) == len(names)


@given(st.text(max_size=20))
def test_storing_keeps_name(text: str) -> None:
    name = normalized(text)
    assert normalized(name) == name
    assert folded(name) == folded(text)


@given(st.text(st.characters(max_codepoint=0x7F), max_size=20))
def test_case_of_ascii_name_does_not_matter(text: str) -> None:
    assert folded(text.upper()) == folded(text.lower()) == folded(text)


def test_long_text_is_not_composed() -> None:
    marks = "\u0301\u0323" * 5_000  # their sorting takes the square of their number
    assert normalized(marks) == marks
