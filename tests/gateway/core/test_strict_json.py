"""Ambiguous JSON is rejected."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.strict_json import DEPTH_MAX, NotStrictJson, loads, quoted

plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(plain_json)
def test_strict_json_parses_like_standard_library(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value


@given(st.binary())
def test_any_bytes_are_parsed_or_refused_with_sentence(body: bytes) -> None:
    try:
        loads(body)
    except NotStrictJson as exc:
        assert str(exc).startswith("The body ")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body must be valid JSON"),
        (b"{", "The body must be valid JSON"),
        (b"{'a': 1}", "The body must be valid JSON"),
        (b'{"a": 1} x', "The body must be valid JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "The body must be valid JSON"),
        (b'{"a": "\xff"}', "The body must be UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "The body must be UTF-8"),
        (b'{"a": NaN}', "The body contains NaN, which is not valid JSON"),
        (b'{"a": [Infinity]}', "The body contains Infinity, which is not valid JSON"),
        (b'{"a": -Infinity}', "The body contains -Infinity, which is not valid JSON"),
        (b'{"a": 1e999}', "The body contains a number that is too large"),
        (b'{"a": -1e999}', "The body contains a number that is too large"),
        (b"9" * (sys.get_int_max_str_digits() + 1), "The body contains a number that is too large"),
        (b'{"a": 1, "a": 1}', 'The body contains the key "a" twice'),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', 'The body contains the key "a" twice'),
        (b'{"\\u0000": 1, "\\u0000": 2}', "The body contains the key '\\x00' twice"),
        (b'{"\\ud800": 1, "\\ud800": 2}', 'The body contains the key "?" twice'),
    ],
)
def test_ambiguous_json_is_refused_with_storable_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(NotStrictJson) as refused:
        loads(body)
    assert str(refused.value).startswith(sentence)
    assert str(refused.value).isprintable()
    assert str(refused.value).encode()


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
def test_64_levels_are_accepted_and_65_are_not(opening: str, closing: str) -> None:
    def nested(levels: int) -> bytes:
        return (opening * levels + "1" + closing * levels).encode()

    loads(nested(DEPTH_MAX))
    for levels in (DEPTH_MAX + 1, 900, 100_000):
        with pytest.raises(NotStrictJson, match="nested deeper than 64 levels"):
            loads(nested(levels))


@given(st.text(st.characters(), max_size=300))
def test_quoted_name_is_short_and_printable(name: str) -> None:
    shown = quoted(name)
    assert shown.isprintable()
    assert shown.encode()
    assert len(shown) <= 10 * 100 + 2
