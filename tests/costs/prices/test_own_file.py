"""`prices load --file`: an operator's own prices, all or none."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError

from costs.models import Rate
from tests.costs.price_list import input_usd, load, priced, prices, rates_of, seeded_price, standard

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

ENTRY = '[[price]]\nprovider = "openai"\nmodel = "m-1"\nstarts_at = 2026-11-22\n'
FULL = ENTRY + 'input = "0.1"\noutput = 8.25\n'


@pytest.fixture
def load_file(tmp_path: Path) -> Callable[..., str]:
    """Return a function that loads a file with this content."""

    def loaded(content: str, *options: str) -> str:
        path = tmp_path / "own.toml"
        path.write_text(content)
        return prices("load", "--file", str(path), *options)

    return loaded


def test_prices_of_file_are_set(load_file: Callable[..., str]) -> None:
    load(
        seeded_price(
            priced("2", cache_read_usd_per_mtok=Decimal(1)), priced("4", above_input_tokens=1000)
        )
    )
    printed = load_file(FULL + 'source = "our contract"\n')
    assert "Set 1 prices" in printed
    found = rates_of("m-1")
    assert found is not None
    assert found.source == "our contract"
    assert standard(found).input_usd_per_mtok == Decimal("0.1")
    assert standard(found).output_usd_per_mtok == Decimal("8.25")
    assert standard(found).cache_read_usd_per_mtok == 1
    assert [band.above_input_tokens for band in found.bands] == [0, 1000]


def test_bands_and_tiers_of_file_are_set_together(load_file: Callable[..., str]) -> None:
    load()
    long = ENTRY + "above_input_tokens = 1000\ninput = 2\noutput = 3\n"
    load_file(long + FULL + ENTRY + 'service_tier = "flex"\ninput = 1\noutput = 1\n')
    found = rates_of("m-1")
    assert found is not None
    tiers = [(band.service_tier, band.above_input_tokens) for band in found.bands]
    assert sorted(tiers) == [("flex", 0), ("standard", 0), ("standard", 1000)]


def test_loading_file_again_adds_nothing(load_file: Callable[..., str]) -> None:
    load()
    load_file(FULL)
    assert "Set 0 prices" in load_file(FULL)
    assert Rate.objects.count() == 1
    with pytest.raises(CommandError, match="already has a price"):
        load_file(FULL.replace("0.1", "0.2"))


def test_preview_of_file_changes_nothing(load_file: Callable[..., str]) -> None:
    load()
    printed = load_file(FULL, "--preview")
    assert "Would set 1 prices" in printed
    assert "input none -> 0.1" in printed
    assert not Rate.objects.exists()


def test_list_keeps_prices_of_file(load_file: Callable[..., str]) -> None:
    load_file(FULL)
    load(seeded_price(priced("2")))
    assert input_usd("m-1") == Decimal("0.1")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (FULL + ENTRY + "input = -5\noutput = 1\n", r"price 2 \(openai m-1\): .*at least 0"),
        (FULL + 'color = "red"\n', "color is not a known field"),
        (FULL.replace("openai", "opnai"), "Unknown provider"),
        (FULL.replace('"0.1"', "true"), "input must be an amount"),
        (FULL.replace('"0.1"', '"cheap"'), "input must be an amount"),
        (FULL.replace("8.25", "inf"), "output_usd_per_mtok: "),
        (FULL.replace("8.25", "200000"), "at most 100000"),
        (FULL.replace("2026-11-22", '"soon"'), "starts_at must be a date"),
        (FULL + 'above_input_tokens = "5"\n', "above_input_tokens must be an integer"),
        (FULL + "source = 5\n", "source must be text"),
        (FULL + 'source = "genai-prices 1: x"\n', "is reserved"),
        (ENTRY, "input must be given"),
        (FULL.replace('model = "m-1"\n', ""), "model must be given"),
        ("price = 5", "must consist of"),
        ("[[price]", "must be TOML"),
        ("", "must consist of"),
        (FULL + "[alike]\n", "must consist of"),
        (FULL * 1001, "must have at most 1000 prices, not 1001"),
        ("#" * 1_000_001, "must be at most 1000000 bytes"),
    ],
)
def test_invalid_file_sets_nothing(load_file: Callable[..., str], content: str, why: str) -> None:
    load()
    with pytest.raises(CommandError, match=why):
        load_file(content)
    assert not Rate.objects.exists()
