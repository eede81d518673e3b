"""Amounts: exact in nano-euro, honest in sentences."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.money import MAX_NANOEUR, euros, format_eur, nanoeur_from_euros
from costs.templatetags.figures import short_eur

AMOUNTS = st.integers(min_value=-MAX_NANOEUR, max_value=MAX_NANOEUR)


def test_a_nano_euro_is_a_billionth() -> None:
    assert euros(1) == Decimal("0.000000001")
    assert nanoeur_from_euros(Decimal("50")) == 50_000_000_000


@given(AMOUNTS)
def test_euros_and_back_is_the_same_amount(nanoeur: int) -> None:
    assert nanoeur_from_euros(euros(nanoeur)) == nanoeur


def test_the_callers_decimal_context_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 3
        assert str(euros(MAX_NANOEUR)) == "9223372036.854775807"
        assert nanoeur_from_euros(Decimal("9223372036.854775807")) == MAX_NANOEUR


def test_idle_zeros_beyond_the_ninth_decimal_are_no_finer() -> None:
    assert nanoeur_from_euros(Decimal("1.00000000000")) == 1_000_000_000


@pytest.mark.parametrize(
    "amount",
    [
        "0.0000000001",
        "9223372036.854775808",
        "-9223372036.854775809",
        "1E+1000000",
        "NaN",
        "-Infinity",
    ],
)
def test_what_cannot_be_kept_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match=r"amount|finer|too large"):
        nanoeur_from_euros(Decimal(amount))


@pytest.mark.parametrize(
    ("nanoeur", "sentence"),
    [
        (0, "0.00 EUR"),
        (1, "0.000000001 EUR"),
        (2_328, "0.000002328 EUR"),
        (12_300_000, "0.0123 EUR"),
        (4_500_000, "0.0045 EUR"),
        (12_345_678, "0.01235 EUR"),
        (100_000_000, "0.10 EUR"),
        (999_949_999, "0.9999 EUR"),
        (999_950_001, "1.00 EUR"),
        (1_000_000_000, "1.00 EUR"),
        (48_700_000_000, "48.70 EUR"),
        (50_000_000_000, "50.00 EUR"),
        (1_234_567_891_000_000, "1234567.89 EUR"),
        (-4_500_000, "-0.0045 EUR"),
    ],
)
def test_sentences_have_as_many_digits_as_tell_something(nanoeur: int, sentence: str) -> None:
    assert format_eur(nanoeur) == sentence


@pytest.mark.parametrize(
    ("nanoeur", "shown"),
    [
        (0, "0.00 €"),
        (1, "0.000000001 €"),
        (-4_500_000, "-0.0045 €"),
        (48_700_000_000, "48.70 €"),
        (1_234_567_891_000_000, "1,234,567.89 €"),
        (-1_024_020_000_000, "-1,024.02 €"),
    ],
)
def test_pages_show_thousands_and_the_euro_sign(nanoeur: int, shown: str) -> None:
    assert short_eur(nanoeur) == shown.replace(" ", "\N{NO-BREAK SPACE}")


def test_a_bound_is_quoted_up_and_what_is_left_down() -> None:
    assert format_eur(12_345_001, ROUND_CEILING) == "0.01235 EUR"
    assert format_eur(12_345_999, ROUND_FLOOR) == "0.01234 EUR"
    assert format_eur(1_999_999_999, ROUND_FLOOR) == "1.99 EUR"
    assert format_eur(50_000_000_001, ROUND_CEILING) == "50.01 EUR"


@given(AMOUNTS)
def test_roundings_enclose_the_amount(nanoeur: int) -> None:
    up, down = (
        Decimal(format_eur(nanoeur, rounding).removesuffix(" EUR"))
        for rounding in (ROUND_CEILING, ROUND_FLOOR)
    )
    assert down <= euros(nanoeur) <= up


@given(AMOUNTS.filter(bool))
def test_no_amount_but_nothing_is_shown_as_nothing(nanoeur: int) -> None:
    assert Decimal(format_eur(nanoeur).removesuffix(" EUR")) != 0
