"""Money as whole nano-euro: exact in sums, in SQLite and in PostgreSQL alike."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

NANO: Final = 10**9
MAX_NANOEUR: Final = 2**63 - 1  # a BIGINT; about nine billion euros
_DECIMALS: Final = 9
_SENTENCE_DECIMALS: Final = 2
_SENTENCE_SIGNIFICANT_DIGITS: Final = 4
# Wide enough for every BIGINT with nine decimals, whatever the caller's decimal context is.
_EXACT: Final = Context(prec=40)


def euros(nanoeur: int) -> Decimal:
    """Return the amount in euros, exact to 1e-9."""
    return Decimal(nanoeur).scaleb(-_DECIMALS, _EXACT)


def nanoeur_from_euros(amount_eur: Decimal) -> int:
    """Return the amount in nano-euro.

    Raises ValueError when it is not a finite number, finer than 1e-9 EUR or exceeds a BIGINT.
    """
    if not amount_eur.is_finite():
        raise ValueError(f"amount must be a finite number, not {amount_eur}")
    if amount_eur.adjusted() > len(str(MAX_NANOEUR)) - _DECIMALS - 1:
        raise ValueError(f"{amount_eur} EUR is too large to be stored")
    rounded = amount_eur.quantize(Decimal(1).scaleb(-_DECIMALS), context=_EXACT)
    if rounded != amount_eur:
        raise ValueError(f"{amount_eur} EUR has more than nine decimal places")
    nanoeur = int(rounded.scaleb(_DECIMALS, _EXACT))
    if abs(nanoeur) > MAX_NANOEUR:
        raise ValueError(f"{amount_eur} EUR is too large to be stored")
    return nanoeur


def format_eur(nanoeur: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return the amount for a sentence: `50.00 EUR`, `0.0123 EUR`, `0.000000001 EUR`.

    From one euro up: two decimals. Below: four significant digits, between two and nine
    decimals, without trailing zeros after the second; so only a zero amount is shown as 0.00.
    `rounding` is one of the decimal module's names: a bound is quoted with
    ROUND_CEILING and what is left with ROUND_FLOOR, so that a refusal's figures never contradict
    the refusal.
    """
    amount_eur = euros(nanoeur)
    decimals = _SENTENCE_DECIMALS
    if 0 < abs(nanoeur) < NANO:
        needed = _SENTENCE_SIGNIFICANT_DIGITS - 1 - amount_eur.adjusted()
        decimals = min(max(needed, _SENTENCE_DECIMALS), _DECIMALS)
    quantum = Decimal(1).scaleb(-decimals)
    whole, _, fraction = f"{amount_eur.quantize(quantum, rounding, _EXACT):f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(_SENTENCE_DECIMALS, '0')} EUR"


def plain(number: Decimal) -> str:
    """Return a price, a rate or a factor without trailing zeros and exponent."""
    return f"{number.normalize():f}"
