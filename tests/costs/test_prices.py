"""The price list: seeded, changed by hand, read as a snapshot, and never rewritten."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Q

from costs.core.pricing import Band, Rates, cost_nanoeur
from costs.core.usage import Usage
from costs.models import ExchangeRate, Rate
from costs.price_changes import PriceRefused, Seeded, seed, set_price
from costs.price_seed import (
    SINCE_EVER,
    SeedExchangeRate,
    SeedPrice,
    UnreadableFile,
    seed_exchange_rates,
    seed_prices,
)
from costs.prices import load_price_book, price_list_version

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ECB_CSV = "Date,USD,JPY,\n2026-11-20,1.15,170.1,\n2026-11-19,1.2500,171,\n2022-12-30,1.06,140,\n"


def priced(input_usd: str, output_usd: str = "8", **more: Any) -> Band:
    return Band(
        input_usd_per_mtok=Decimal(input_usd), output_usd_per_mtok=Decimal(output_usd), **more
    )


def seeded_price(*bands: Band, starts_at: datetime = SINCE_EVER, model: str = "m-1") -> SeedPrice:
    return SeedPrice(
        provider="openai",
        model=model,
        service_tier=bands[0].service_tier,
        starts_at=starts_at,
        bands=bands,
        source="genai-prices 0: a page",
    )


def load(*prices: SeedPrice, now: datetime = NOW) -> Seeded:
    days = [SeedExchangeRate(date(2026, 11, 20), Decimal("1.25"))]
    return seed(prices=prices, exchange_rates=days, exchange_source="the ECB", now=now)


def rates_of(*names: str, provider: str = "openai", at: datetime = NOW) -> Rates | None:
    return load_price_book().rates_for(names, provider, at)


def input_usd(*names: str, at: datetime = NOW) -> Decimal | None:
    found = rates_of(*names, at=at)
    return found.standard.input_usd_per_mtok if found else None


def prices(*arguments: str) -> str:
    """Run the command and return what it says."""
    out = io.StringIO()
    call_command("prices", *arguments, stdout=out)
    return out.getvalue()


def set_by_hand(input_usd: str, *, starts_at: datetime, **more: Any) -> Rate:
    return set_price(priced(input_usd), provider="openai", model="m-1", starts_at=starts_at, **more)


# What the installed packages carry


def test_loading_prices_every_model_and_every_day_since_2023() -> None:
    said = prices("load")
    assert said.startswith(f"Added {Rate.objects.count()} prices and ")
    assert Rate.objects.count() > 700
    days = ExchangeRate.objects.order_by("on_date")
    assert days[0].on_date == date(2023, 1, 2)
    assert days[0].usd_per_eur == Decimal("1.0683")
    assert days.count() > 900


def test_loading_again_adds_nothing() -> None:
    prices("load")
    version = price_list_version()
    assert prices("load").startswith("Added 0 prices and 0 exchange rates")
    assert price_list_version() == version


def test_every_row_says_where_it_is_from() -> None:
    prices("load")
    assert not Rate.objects.filter(Q(source="") | ~Q(source__contains=": ")).exists()
    gpt = Rate.objects.get(model="gpt-4-0613")
    assert gpt.source.startswith("genai-prices ")
    assert "https://" in gpt.source
    own = Rate.objects.get(model="gemini-pro-vision")
    assert own.source.startswith("pulse prices.toml: https://")


@pytest.mark.parametrize(
    ("provider", "model", "usd"),
    [
        ("openai", "gpt-4o", ("2.5", "10")),
        ("openai", "gpt-4o-2024-05-13", ("5", "15")),
        ("openai", "gpt-4o-mini", ("0.15", "0.6")),
        ("openai", "gpt-4-turbo", ("10", "30")),
        ("openai", "gpt-4", ("30", "60")),
        ("openai", "gpt-3.5-turbo", ("0.5", "1.5")),
        ("openai", "o1-preview", ("15", "60")),
        ("anthropic", "claude-3-5-sonnet-20241022", ("3", "15")),
        ("anthropic", "claude-3-opus-20240229", ("15", "75")),
        ("anthropic", "claude-3-haiku-20240307", ("0.25", "1.25")),
        ("google", "gemini-pro", ("0.5", "1.5")),
        ("google", "gemini-pro-vision", ("0.5", "1.5")),
        ("google", "gemini-1.5-flash-8b", ("0.0375", "0.15")),
        ("mistral", "mistral-small", ("0.15", "0.6")),
        ("sandbox", "sandbox-small", ("0.15", "0.6")),
        ("sandbox", "sandbox-large", ("2.5", "10")),
        ("openai", "text-embedding-3-small", ("0.02", "0")),
    ],
)
def test_known_prices_are_there(provider: str, model: str, usd: tuple[str, str]) -> None:
    prices("load")
    found = rates_of(model, provider=provider)
    assert found is not None
    standard = found.standard
    assert (standard.input_usd_per_mtok, standard.output_usd_per_mtok) == tuple(map(Decimal, usd))


def test_prices_of_old_hold_for_old_calls() -> None:
    prices("load")
    lowered_on = datetime(2025, 6, 10, tzinfo=UTC)
    assert input_usd("o3", at=lowered_on - timedelta(seconds=1)) == 10
    assert input_usd("o3", at=lowered_on) == 2


def test_long_requests_and_service_tiers_have_prices_of_their_own() -> None:
    prices("load")
    found = rates_of("gpt-5.6-sol")
    assert found is not None
    by_band = {(b.service_tier, b.above_input_tokens): b.input_usd_per_mtok for b in found.bands}
    assert by_band == {
        ("standard", 0): 4, ("standard", 272_000): 8,
        ("flex", 0): 2, ("flex", 272_000): 4,
        ("priority", 0): 8, ("priority", 272_000): 16,
        ("fast", 0): 8, ("fast", 272_000): 16,
    }  # fmt: skip


def test_a_band_that_ended_is_gone() -> None:
    prices("load")
    ended_on = datetime(2026, 3, 13, tzinfo=UTC)
    before, after = (
        rates_of("claude-opus-4-6", provider="anthropic", at=at)
        for at in (ended_on - timedelta(days=1), ended_on)
    )
    long = Usage(input_uncached=200_001)
    assert before is not None
    assert after is not None
    assert {b.above_input_tokens for b in before.bands} == {0, 200_000}
    assert cost_nanoeur(long, before) > 1.9 * cost_nanoeur(long, after)


def test_cache_writes_are_priced() -> None:
    prices("load")
    found = rates_of("claude-3-5-sonnet-20241022", provider="anthropic")
    assert found is not None
    assert found.standard.cache_write_5m_usd_per_mtok == Decimal("3.75")
    assert found.standard.cache_write_1h_usd_per_mtok == 6
    assert found.standard.cache_read_usd_per_mtok == Decimal("0.3")


def test_a_model_billed_in_units_that_are_not_ours_has_no_price() -> None:
    prices("load")
    for provider, model in [
        ("openai", "whisper-1"),
        ("openai", "gpt-image-1"),
        ("mistral", "mistral-ocr-latest"),
        ("mistral", "voxtral-small-latest"),
        ("google", "gemma-3"),
    ]:
        assert rates_of(model, provider=provider) is None, model


def test_the_seed_has_each_price_once_and_in_order() -> None:
    seen: dict[tuple[str, str, str], datetime] = {}
    for price in seed_prices():
        key = (price.provider, price.model, price.service_tier)
        assert price.starts_at > seen.get(key, datetime.min.replace(tzinfo=UTC)), key
        seen[key] = price.starts_at
        assert len(price.source) <= 300


# What changes, and what does not


def test_a_changed_price_is_a_new_row_from_now_on() -> None:
    load(seeded_price(priced("2")))
    load(seeded_price(priced("1")), now=NOW + timedelta(days=1))
    assert input_usd("m-1") == 2
    assert input_usd("m-1", at=NOW + timedelta(days=1)) == 1
    assert Rate.objects.count() == 2
    assert load(seeded_price(priced("1")), now=NOW + timedelta(days=2)).prices == 0


def test_a_change_of_bands_replaces_them_all() -> None:
    load(seeded_price(priced("2"), priced("4", above_input_tokens=1000)))
    load(seeded_price(priced("2")))
    found = rates_of("m-1", at=NOW)
    assert found is not None
    assert [b.above_input_tokens for b in found.bands] == [0]


def test_an_announced_price_waits_for_its_day() -> None:
    later = NOW + timedelta(days=30)
    load(seeded_price(priced("1")), seeded_price(priced("2"), starts_at=later))
    assert input_usd("m-1", at=later - timedelta(microseconds=1)) == 1
    assert input_usd("m-1", at=later) == 2


def test_an_announcement_can_be_taken_back() -> None:
    later = NOW + timedelta(days=30)
    load(seeded_price(priced("1")), seeded_price(priced("2"), starts_at=later))
    load(seeded_price(priced("1")), seeded_price(priced("3"), starts_at=later))
    assert input_usd("m-1", at=later) == 3
    load(seeded_price(priced("1")))
    assert input_usd("m-1", at=later) == 1


def test_history_learnt_later_is_not_put_into_the_past() -> None:
    ExchangeRate.objects.create(on_date=date(2026, 1, 2), usd_per_eur=1, source="a test")
    load(seeded_price(priced("1")))
    earlier = NOW - timedelta(days=100)
    load(seeded_price(priced("1")), seeded_price(priced("2"), starts_at=earlier))
    assert input_usd("m-1", at=earlier) == 1
    assert input_usd("m-1", at=NOW) == 2


def test_a_price_set_by_hand_is_not_replaced_by_loading() -> None:
    later = NOW + timedelta(days=30)
    load(seeded_price(priced("2")))
    set_by_hand("1", starts_at=NOW - timedelta(days=1))
    done = load(seeded_price(priced("3")), seeded_price(priced("4"), starts_at=later))
    assert (done.prices, done.set_by_hand) == (0, ("openai m-1",))
    assert input_usd("m-1", at=NOW) == input_usd("m-1", at=later) == 1
    assert input_usd("m-1", at=NOW - timedelta(days=2)) == 2


def test_loading_fills_only_the_time_before_a_price_set_by_hand() -> None:
    set_by_hand("1", starts_at=NOW)
    later = NOW + timedelta(days=30)
    load(seeded_price(priced("2")), seeded_price(priced("3"), starts_at=later))
    assert input_usd("m-1", at=NOW - timedelta(days=1)) == 2
    assert input_usd("m-1", at=later) == 1


def test_a_price_for_long_requests_needs_its_base() -> None:
    band = priced("4", above_input_tokens=1000)
    with pytest.raises(PriceRefused, match="from 0 tokens first"):
        set_price(band, provider="openai", model="m-1", starts_at=NOW)
    set_by_hand("2", starts_at=NOW)
    set_price(band, provider="openai", model="m-1", starts_at=NOW)
    load()
    found = rates_of("m-1")
    assert found is not None
    assert [b.above_input_tokens for b in found.bands] == [0, 1000]


def test_a_tier_without_a_standard_price_is_no_price() -> None:
    load()
    set_price(priced("4", service_tier="priority"), provider="openai", model="m-1", starts_at=NOW)
    assert rates_of("m-1") is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"provider": "opnai"}, "Unknown provider 'opnai'; known are anthropic, google"),
        ({"source": "genai-prices 1: forged"}, "is for prices that"),
        ({"model": "m" * 201}, "model: "),
        ({"model": ""}, "model: "),
        ({"band": priced("-1")}, "less than 0"),
        ({"band": priced("1", cache_read_usd_per_mtok=Decimal(-1))}, "less than 0"),
        ({"band": priced("0.0000000001")}, "input_usd_per_mtok: .*decimal places"),
        ({"band": priced("NaN")}, "input_usd_per_mtok: "),
        ({"band": priced("1", service_tier="x" * 17)}, "service_tier: "),
        ({"band": priced("1", above_input_tokens=-1)}, "from 0 tokens first"),
    ],
)
def test_a_price_that_cannot_be_is_refused(change: dict[str, Any], why: str) -> None:
    wanted: dict[str, Any] = {
        "band": priced("1"), "provider": "openai", "model": "m-1", "starts_at": NOW,
    } | change  # fmt: skip
    with pytest.raises(PriceRefused, match=why):
        set_price(wanted.pop("band"), **wanted)
    assert not Rate.objects.exists()


def test_one_moment_has_one_price() -> None:
    set_by_hand("1", starts_at=NOW)
    with pytest.raises(PriceRefused, match="has a price from 2026-11-23T12:00:00"):
        set_by_hand("2", starts_at=NOW)
    assert Rate.objects.get().input_usd_per_mtok == 1


# The snapshot


def test_the_first_name_with_a_price_decides() -> None:
    load(seeded_price(priced("1"), model="m"), seeded_price(priced("2"), model="m-0613"))
    assert input_usd("m-0613", "m") == 2
    assert input_usd("m-0314", "m") == 1
    assert input_usd("n", "o") is None
    assert rates_of("m", provider="anthropic") is None
    assert rates_of() is None


def test_a_name_without_a_price_yet_is_passed_over() -> None:
    load(seeded_price(priced("1"), model="m"))
    set_price(priced("2"), provider="openai", model="m-0613", starts_at=NOW + timedelta(days=1))
    assert input_usd("m-0613", "m") == 1
    assert input_usd("m-0613", "m", at=NOW + timedelta(days=1)) == 2


def test_the_last_known_exchange_rate_is_used_and_its_day_told() -> None:
    load(seeded_price(priced("1")))
    found = rates_of("m-1", at=NOW + timedelta(days=400))
    assert found is not None
    assert (found.usd_per_eur, found.exchange_rate_date) == (Decimal("1.25"), date(2026, 11, 20))


def test_without_an_exchange_rate_there_is_no_price() -> None:
    load(seeded_price(priced("1")))
    assert rates_of("m-1", at=datetime(2026, 11, 19, 23, 59, tzinfo=UTC)) is None
    assert rates_of("m-1", at=datetime(2026, 11, 20, tzinfo=UTC)) is not None


def test_a_snapshot_is_one_version_of_the_list() -> None:
    load(seeded_price(priced("1")))
    book = load_price_book()
    assert book.version == price_list_version()
    set_by_hand("2", starts_at=NOW)
    assert price_list_version() > book.version
    found = book.rates_for(["m-1"], "openai", NOW)
    assert found is not None
    assert found.standard.input_usd_per_mtok == 1


def test_the_same_rates_are_the_same_object() -> None:
    load(seeded_price(priced("1")))
    book = load_price_book()
    first = book.rates_for(["m-1"], "openai", NOW)
    assert first is book.rates_for(["m-1"], "openai", NOW + timedelta(seconds=1))


def test_rates_are_kept_without_the_columns_idle_zeros() -> None:
    load(seeded_price(priced("150", "0.05")))
    found = rates_of("m-1")
    assert found is not None
    assert '"input_usd_per_mtok":"150","output_usd_per_mtok":"0.05"' in found.to_json()
    assert '"usd_per_eur":"1.25"' in found.to_json()


def test_the_book_takes_three_queries(django_assert_num_queries: Any) -> None:
    prices("load")
    with django_assert_num_queries(3):
        load_price_book()


# Exchange rates from a file


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(*contents: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.csv", content)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [ECB_CSV.encode(), zipped(ECB_CSV)], ids=["csv", "zip"])
def test_newer_exchange_rates_come_from_the_ecbs_file(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "eurofxref-hist", content)
    assert seed_exchange_rates(path) == [
        SeedExchangeRate(date(2026, 11, 19), Decimal("1.25")),
        SeedExchangeRate(date(2026, 11, 20), Decimal("1.15")),
    ]
    prices("load", "--ecb-file", str(path))
    assert ExchangeRate.objects.latest("on_date").usd_per_eur == Decimal("1.15")


def test_an_exchange_rate_that_is_there_stays(tmp_path: Path) -> None:
    load()
    path = write(tmp_path / "ecb.csv", ECB_CSV)
    prices("load", "--ecb-file", str(path))
    kept = ExchangeRate.objects.get(on_date=date(2026, 11, 20))
    assert (kept.usd_per_eur, kept.source) == (Decimal("1.25"), "the ECB")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe\x00", b"Date,JPY\n2026-01-01,1\n", b"Date,USD\n2026-01-01,N/A\n",
        b"Date,USD\n2026-01-01,0\n", b"Date,USD\nyesterday,1\n", zipped(), zipped("a", "b"),
        b"Date,USD\n2026-01-01,NaN\n", b"Date,USD\n2026-01-01,Infinity\n",
    ],
)  # fmt: skip
def test_what_is_not_the_ecbs_list_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "file", content)
    with pytest.raises(UnreadableFile):
        seed_exchange_rates(path)
    with pytest.raises(CommandError, match="reference rates"):
        prices("load", "--ecb-file", str(path))
    assert not Rate.objects.exists()


def test_a_missing_file_is_one_clear_line() -> None:
    with pytest.raises(CommandError, match="No such file"):
        prices("load", "--ecb-file", "/nowhere/at/all")


# The command


def test_show_tells_what_holds_now() -> None:
    prices("load")
    said = prices("show", "gpt-4o-mini", "--at", "2026-11-01")
    assert "openai gpt-4o-mini" in said
    assert "standard: input 0.15, output 0.6, cache_read 0.075" in said
    assert "1 EUR = 1.1172 USD (ECB, 2026-10-30)" in said
    assert "source: genai-prices " in said


def test_show_as_json_is_what_a_hold_keeps() -> None:
    prices("load")
    (shown,) = json.loads(prices("show", "openai/GPT-4o", "--at", "2024-10-01", "--format", "json"))
    assert shown["exchange_rate_date"] == "2024-10-01"
    assert Rates.from_json(shown).standard.input_usd_per_mtok == Decimal("2.5")


def test_set_then_show() -> None:
    load()
    said = prices(
        "set", "My-Model", "--provider", "openai", "--input", "2", "--output", "8",
        "--cache-read", "0.5", "--cache-write-5m", "2.5", "--cache-write-1h", "4",
        "--from", "2026-11-22", "--source", "our contract",
    )  # fmt: skip
    expected = "openai my-model costs 2 USD in and 8 USD out per million tokens from 2026-11-22T"
    assert said.startswith(expected)
    found = rates_of("my-model")
    assert found is not None
    assert found.source == "our contract"
    assert found.standard == priced(
        "2",
        cache_read_usd_per_mtok=Decimal("0.5"),
        cache_write_5m_usd_per_mtok=Decimal("2.5"),
        cache_write_1h_usd_per_mtok=Decimal(4),
    )
    assert rates_of("my-model", at=datetime(2026, 11, 21, tzinfo=UTC)) is None


def test_zero_is_a_price_that_can_be_set() -> None:
    load()
    prices("set", "gemma-4-31b-it", "--provider", "google", "--input", "0", "--output", "0",
           "--from", "2026-01-01")  # fmt: skip
    found = rates_of("gemma-4-31b-it", provider="google")
    assert found is not None
    assert cost_nanoeur(Usage(input_uncached=10**6), found) == 0


SET = ("set", "m-1", "--provider", "openai")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("show", "no-such-model"), "no-such-model has no price at "),
        (("show", "gpt-4", "--at", "soon"), "'soon' is not a date"),
        ((*SET, "--input", "1"), "--output"),
        ((*SET, "--input", "cheap", "--output", "1"), "'cheap' is not an amount"),
        ((*SET, "--input", "-1", "--output", "1"), "--input"),
        ((*SET, "--input", "inf", "--output", "1"), "'inf' is not an amount"),
        (("set", "m", "--provider", "x", "--input", "1", "--output", "1"), "Unknown provider 'x'"),
        (("sell",), "sell"),
        ((), "required"),
    ],
)
def test_bad_input_is_refused_with_one_line(arguments: Sequence[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        prices(*arguments)
    assert not Rate.objects.exists()


def test_seeded_bands_survive_the_database_unchanged() -> None:
    """What is read back must equal what was seeded, or every load would find a change."""
    price = seeded_price(
        replace(priced("0.123456789", "999999999.123456"), web_search_usd_per_k=Decimal("0.1"))
    )
    load(price)
    assert load(price).prices == 0
