"""The format of API keys."""

from __future__ import annotations

import re

import pytest

from orgs.core import keys

PEPPER = b"a pepper for tests"


def test_new_key_has_documented_format() -> None:
    key = keys.new_key(PEPPER)
    assert re.fullmatch(r"pulse_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}", key.text)
    assert key.text.split("_")[1] == key.public
    assert key.text.endswith(key.last_four)


def test_new_key_can_be_parsed() -> None:
    key = keys.new_key(PEPPER)
    assert keys.parse(key.text) == keys.ParsedKey(text=key.text, public=key.public)


def test_keys_are_unique() -> None:
    assert len({keys.new_key(PEPPER).text for _ in range(1000)}) == 1000


def test_checksum_is_crc32_in_base62() -> None:
    # CRC-32("123456789") is 0xCBF43926, the check value of its specification.
    value = 0
    for digit in keys.checksum("123456789"):
        value = value * 62 + keys.BASE62.index(digit)
    assert value == 0xCBF43926


def test_every_mistyped_character_is_detected() -> None:
    text = keys.new_key(PEPPER).text
    for place, character in enumerate(text):
        other = "a" if character != "a" else "b"
        assert keys.parse(text[:place] + other + text[place + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    ["", "pulse_", "sk-123", "pulse_abc_def", "pulse_" + "a" * 12 + "_" + "b" * 38, "\ud800" * 57],
)
def test_malformed_text_is_not_parsed(text: str) -> None:
    assert keys.parse(text) is None


def test_surrounding_space_and_other_digits_are_rejected() -> None:
    text = keys.new_key(PEPPER).text
    assert keys.parse(text + "\n") is None
    assert keys.parse(" " + text) is None
    assert keys.parse(text.replace(text[8], "\u0661", 1)) is None


def test_key_matches_only_its_own_digest() -> None:
    text, other = keys.new_key(PEPPER).text, keys.new_key(PEPPER).text
    kept = keys.digest(text, PEPPER)
    assert len(kept) == 32
    assert keys.matches(text, kept, PEPPER)
    assert not keys.matches(other, kept, PEPPER)
    assert not keys.matches(text, kept, b"another pepper")


def test_repr_does_not_reveal_key() -> None:
    key = keys.new_key(PEPPER)
    assert key.text not in repr(key)
    assert key.text not in repr(keys.parse(key.text))


def test_seal_proves_that_key_was_issued_under_pepper() -> None:
    text = keys.new_key(PEPPER).text
    assert keys.is_sealed(text, PEPPER)
    assert not keys.is_sealed(text, b"another")
    for place in range(len("pulse_"), len(text) - keys.CHECKSUM_CHARS):
        if text[place] != "_":
            other = "0" if text[place] != "0" else "1"
            assert not keys.is_sealed(text[:place] + other + text[place + 1 :], PEPPER)
