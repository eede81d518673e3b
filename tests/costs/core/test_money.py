"""Amounts: exact in nano-euro, rounded correctly in sentences."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.core.money import MAX_NANOEUR, euros, format_eur, nanoeur_from_euros
from costs.templatetags.figures import short_eur

AMOUNTS = st.integers(min_value=-MAX_NANOEUR, max_value=MAX_NANOEUR)


def test_nano_euro_is_billionth_of_euro() -> None:
    assert euros(1) == Decimal("0.000000001")
    assert nanoeur_from_euros(Decimal("50")) == 50_000_000_000


@given(AMOUNTS)
def test_conversion_to_euros_and_back_is_exact(nanoeur: int) -> None:
    assert nanoeur_from_euros(euros(nanoeur)) == nanoeur


def test_decimal_context_of_caller_has_no_effect() -> None:
    with localcontext() as context:
        context.prec = 3
        assert str(euros(MAX_NANOEUR)) == "9223372036.854775807"
        assert nanoeur_from_euros(Decimal("9223372036.854775807")) == MAX_NANOEUR


def test_trailing_zeros_beyond_ninth_decimal_are_accepted() -> None:
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
def test_amount_that_cannot_be_stored_is_rejected(amount: str) -> None:
    with pytest.raises(ValueError, match=r"amount|decimal places|too large"):
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
def test_format_eur_shows_significant_digits(nanoeur: int, sentence: str) -> None:
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
def test_short_eur_has_thousands_separator_and_euro_sign(nanoeur: int, shown: str) -> None:
    assert short_eur(nanoeur) == shown.replace(" ", "\N{NO-BREAK SPACE}")


def test_bound_rounds_up_and_remainder_rounds_down() -> None:
    assert format_eur(12_345_001, ROUND_CEILING) == "0.01235 EUR"
    assert format_eur(12_345_999, ROUND_FLOOR) == "0.01234 EUR"
    assert format_eur(1_999_999_999, ROUND_FLOOR) == "1.99 EUR"
    assert format_eur(50_000_000_001, ROUND_CEILING) == "50.01 EUR"


@given(AMOUNTS)
def test_rounded_values_enclose_amount(nanoeur: int) -> None:
    up, down = (
        Decimal(format_eur(nanoeur, rounding).removesuffix(" EUR"))
        for rounding in (ROUND_CEILING, ROUND_FLOOR)
    )
    assert down <= euros(nanoeur) <= up


@given(AMOUNTS.filter(bool))
def test_only_zero_is_shown_as_zero(nanoeur: int) -> None:
    assert Decimal(format_eur(nanoeur).removesuffix(" EUR")) != 0
