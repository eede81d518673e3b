"""Ambiguous JSON is rejected."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.strict_json import (
    DEPTH_MAX,
    DIGITS_MAX,
    VALUES_MAX,
    NotStrictJson,
    TooManyValues,
    count_values,
    loads,
    values_at_most,
)
from orgs.core.values import quoted

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
        sentence = str(exc)
        assert sentence.startswith("The body ") or sentence.endswith("of at most 64 bits")


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
        (b"[" + b"9" * (DIGITS_MAX + 1) + b"]", "The body contains a number that is too large"),
        (b"18446744073709551616", "The body must fit in 64 bits"),
        (b'{"a": [{"b c": -9223372036854775809}]}', 'a[0]."b c" must fit in'),
        (b'{"a": 1, "b": 18446744073709551616, "a": 1}', 'The body contains the key "a" twice'),
        (b'{"a": 18446744073709551616', "The body must be valid JSON"),
        (b'{"\\u0000": 18446744073709551616}', "'\\x00' must fit in 64 bits"),
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


# --- the number of values ---------------------------------------------------------------------


def values_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(values_of, inner))


tricky_text = st.text('[]{},:"\\\\ a\n\u00e9', max_size=8)
tricky_json = st.recursive(
    st.none() | st.integers(0, 9) | tricky_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tricky_text, inner, max_size=4),
    max_leaves=12,
)


@given(tricky_json, st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40))
def test_values_are_counted_wherever_body_is_cut(
    value: Any, indent: int | None, ascii_only: bool, at_once_bytes: int
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert count_values(body, at_once_bytes=at_once_bytes) == values_of(value)
    assert values_of(value) <= values_at_most(body)


ITEMS: dict[str, bytes] = {
    "numbers": b"1",
    "empty lists": b"[]",
    "empty objects": b"{ }",
    "strings of structure": b'"[{,\\"\\\\"',
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_so_many_values_are_read_and_one_more_is_refused(item: bytes) -> None:
    def listed(count: int) -> bytes:
        return b"[" + b",".join([item] * count) + b"]"

    assert len(loads(listed(VALUES_MAX - 1))) == VALUES_MAX - 1
    with pytest.raises(TooManyValues) as refusal:
        loads(listed(VALUES_MAX))
    assert str(refusal.value) == "The body must have at most 200000 JSON values"


def test_long_text_with_much_structure_is_one_value() -> None:
    text = '{"a": [1, 2, "b"]},' * 100_000
    assert loads(json.dumps({"prompt": text}).encode()) == {"prompt": text}


SEVEN_MIB = 7 * 2**20
DENSE: dict[str, Callable[[], bytes]] = {
    "numbers": lambda: b"[" + b"1," * (SEVEN_MIB // 2) + b"1]",
    "objects": lambda: b"[" + b"{}," * (SEVEN_MIB // 3) + b"1]",
    "strings": lambda: b"[" + b'"",' * (SEVEN_MIB // 3) + b"1]",
    "members": lambda: b"{" + b'"":1,' * (SEVEN_MIB // 5) + b'"":1}',
    "deep": lambda: b"[" * SEVEN_MIB,
}


@pytest.mark.parametrize("made", DENSE.values(), ids=DENSE)
def test_too_many_values_are_refused_before_they_are_built(made: Callable[[], bytes]) -> None:
    body = made()
    began_s = time.thread_time()
    with pytest.raises(TooManyValues):
        loads(body)
    # Measured: 20 ms. Building the values took 400 to 1,600 ms.
    assert time.thread_time() - began_s < 0.2


def test_integers_are_read_up_to_64_bits() -> None:
    for number in (2**64 - 1, -(2**63), 10**18, -(10**18)):
        assert loads(b"[%d]" % number) == [number]
    for number in (2**64, -(2**63) - 1, int("9" * DIGITS_MAX)):
        with pytest.raises(NotStrictJson, match=r"^\[0\] must fit in 64 bits$"):
            loads(b"[%d]" % number)
