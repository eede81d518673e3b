"""`prices` and `rates` with `--format json`: the facts of the text, and previews."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.utils.timezone import now

from costs.core.money import euros
from costs.core.pricing import cost_nanoeur
from costs.core.usage import Usage
from costs.models import ExchangeRate, PriceFactor, Rate
from costs.prices.book import load_price_book
from costs.prices.exchange_rates import utc_day
from tests.commands import output_of
from tests.costs.genai_file import prices_of, write_data
from tests.costs.kept_rates import read_rates
from tests.costs.price_list import load, priced, rates_of, seeded_price

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

SET = ("prices", "set", "m-1", "--provider", "openai")
UNDO = ("prices", "undo", "m-1", "--provider", "openai")


def facts(*words: str) -> dict[str, Any]:
    """Run a command and return its one JSON object."""
    found: dict[str, Any] = json.loads(output_of(*words, "--format", "json"))
    return found


def sample_eur() -> str:
    """Return what 1,000 tokens in and 1,000 out of m-1 cost now."""
    rates = rates_of("m-1", at=now())
    assert rates is not None
    nanoeur = cost_nanoeur(Usage(input_uncached=1_000, output_text=1_000), rates)
    return f"{euros(nanoeur):f}"


def test_set_has_row_and_rates_before_and_after() -> None:
    load(seeded_price(priced("2", cache_read_usd_per_mtok=Decimal(1))))
    before, sample = rates_of("m-1", at=now()), sample_eur()
    found = facts(*SET, "--input", "3", "--source", "our contract")
    [row], [change] = found["set"], found["changes"]
    named = {"provider": "openai", "model": "m-1", "kind": "price", "source": "our contract"}
    assert row.items() >= (named | {"service_tier": "standard", "input_usd_per_mtok": "3"}).items()
    assert row["cache_read_usd_per_mtok"] == "1"
    assert row["starts_at"] == change["starts_at"]
    assert read_rates(change["before"]) == before
    assert read_rates(change["after"]) == rates_of("m-1", at=now())
    assert (change["sample_before_eur"], change["sample_after_eur"]) == (sample, sample_eur())
    assert (found["preview"], found["deleted"], found["in_force_until"]) == (False, [], None)
    assert found["has_exchange_rate"] is True


def test_first_price_has_nothing_before() -> None:
    load()
    [change] = facts(*SET, "--input", "1", "--output", "2")["changes"]
    assert (change["before"], change["sample_before_eur"]) == (None, None)


def test_preview_has_same_changes_and_changes_nothing(tmp_path: Path) -> None:
    load(seeded_price(priced("2")))
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nprovider = "openai"\nmodel = "m-1"\ninput = 4\n')
    for words in (
        (*SET, "--input", "3"),
        (*SET, "--discount", "20"),
        (*SET, "--factor", "1.1", "--place", "eu"),
        ("prices", "load", "--file", f"{path}"),
    ):
        tried, rows = facts(*words, "--preview"), Rate.objects.count()
        assert tried["preview"] is True
        assert (rows, PriceFactor.objects.count()) == (1, 0)
        done = facts(*words)
        assert _without_times(tried) == _without_times(done) | {"preview": True}
        assert done["changes"]
        undone = facts(*UNDO, "--preview")
        assert undone["preview"] is True
        assert _without_times(undone)["changes"] == _turned(_without_times(done)["changes"])
        Rate.objects.exclude(source__startswith="genai-prices").delete()
        PriceFactor.objects.all().delete()


def _without_times(found: Any) -> Any:
    if isinstance(found, dict):
        return {
            name: _without_times(each)
            for name, each in found.items()
            if name not in ("starts_at", "source")
        }
    return [_without_times(each) for each in found] if isinstance(found, list) else found


def _turned(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return changes as they are when they are taken back."""
    return [
        each
        | {
            "before": each["after"],
            "after": each["before"],
            "sample_before_eur": each["sample_after_eur"],
            "sample_after_eur": each["sample_before_eur"],
        }
        for each in changes
    ]


def test_discount_names_every_model_that_changes() -> None:
    load(*(seeded_price(priced("2"), model=f"m-{n}") for n in range(30)))
    found = facts("prices", "set", "*", "--provider", "openai", "--discount", "12.5")
    assert len(found["changes"]) == 30
    assert {each["after"]["discount"] for each in found["changes"]} == {"0.875"}
    [row] = found["set"]
    assert (row["model"], row["kind"], row["factor"]) == ("*", "discount", "0.875")
    [taken] = facts("prices", "undo", "*", "--provider", "openai")["taken_back"]
    assert (taken["kind"], Decimal(taken["factor"])) == ("discount", Decimal("0.875"))


def test_price_by_hour_is_in_rates_and_taken_back() -> None:
    load(seeded_price(priced("2")))
    found = facts(*SET, "--eur-per-hour", "2.5")
    [row], [change] = found["set"], found["changes"]
    assert (row["kind"], row["eur_per_hour"]) == ("hourly", "2.5")
    assert "by_hour" not in change["before"]
    assert change["after"]["by_hour"]
    [taken] = facts(*UNDO)["taken_back"]
    assert (taken["kind"], taken["eur_per_hour"]) == ("hourly", "2.5")


def test_undo_has_what_was_taken_back() -> None:
    load(seeded_price(priced("2")))
    facts(*SET, "--input", "3")
    [listed] = json.loads(output_of("prices", "list", "--by-hand", "--format", "json"))
    found = facts(*UNDO)
    assert (found["provider"], found["model"]) == ("openai", "m-1")
    assert found["taken_back"] == listed["set_by_hand"]
    [change] = found["changes"]
    assert change["after"]["bands"][0]["input_usd_per_mtok"] == "2"


def test_what_list_announced_and_end_of_price_are_shown() -> None:
    later = now() + timedelta(days=9)
    load(seeded_price(priced("2")), seeded_price(priced("3"), starts_at=later))
    assert facts(*SET, "--input", "4")["deleted"] == [later.isoformat()]
    facts(*SET, "--input", "5", "--from", "2099-01-01")
    found = facts(*SET, "--input", "6")
    assert found["in_force_until"] == "2099-01-01T00:00:00+00:00"


def test_missing_exchange_rate_is_shown() -> None:
    found = facts(*SET, "--input", "1", "--output", "2")
    assert (found["has_exchange_rate"], found["changes"]) == (False, [])


def test_load_counts_what_was_added_and_kept() -> None:
    first = facts("prices", "load")
    assert first["added"] == Rate.objects.count() > 100
    assert first["added_factors"] == PriceFactor.objects.count()
    assert first["exchange_rates"]["added"] == ExchangeRate.objects.count()
    facts("prices", "set", "gpt-4o", "--provider", "openai", "--input", "9")
    again = facts("prices", "load")
    assert (again["added"], again["kept_by_hand"]) == (0, ["openai gpt-4o"])


class Terminal(io.StringIO):
    """What an operator could type."""

    def isatty(self) -> bool:
        return True


def test_data_file_shows_each_change_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts("prices", "load")
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))

    def cheaper(lists: dict[str, Any]) -> None:
        prices_of(lists, "openai", "gpt-4o")["input_mtok"] = 1.75

    words = ("prices", "load", "--file", f"{write_data(tmp_path / 'data.json', cheaper)}")
    with pytest.raises(CommandError, match="--yes must be given"):
        facts(*words)
    tried = facts(*words, "--preview")
    assert (tried["added"], tried["preview"]) == (0, True)
    done = facts(*words, "--yes")
    assert done["new_prices"] == done["added"] > 0
    assert [each["model"] for each in done["changes"]] == [
        each["model"] for each in tried["changes"]
    ]
    [change] = [each for each in done["changes"] if each["model"] == "gpt-4o"]
    assert change["after"]["bands"][0]["input_usd_per_mtok"] == "1.75"
    in_force = load_price_book().rates_for(["gpt-4o"], "openai", now())
    assert read_rates(change["after"]).bands == (in_force and in_force.bands)


def test_rates_are_set_refreshed_and_shown(tmp_path: Path) -> None:
    today = utc_day(now())
    shown = facts("rates", "set", "1.0842", "--source", "our bank")
    assert shown == {"date": f"{today}", "usd_per_eur": "1.0842", "source": "our bank"}
    path = tmp_path / "rates.csv"
    path.write_text(f"Date,USD,\n{today},1.09,\n{today - timedelta(days=1)},1.08,\n")
    assert facts("rates", "refresh", "--file", f"{path}") == {
        "added": 1,
        "until": f"{today}",
        "kept": [f"{today}"],
    }
    assert facts("rates", "show").items() >= shown.items()
