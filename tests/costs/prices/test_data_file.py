"""`prices load --file data.json`: newer data of genai-prices; each change is shown first."""

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

from costs.core.rates import Rates
from costs.models import Rate
from costs.prices.book import load_price_book, price_list_version
from costs.prices.genai import FILE_MAX_BYTES
from tests.costs.genai_file import prices_of, write_data
from tests.costs.price_list import priced, prices, set_price, standard

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _list_of_package(db: None) -> None:
    prices("load")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that has another price of GPT-4o."""
    return write_data(tmp_path / "data.json", cheaper)


def cheaper(lists: dict[str, Any]) -> None:
    prices_of(lists, "openai", "gpt-4o")["input_mtok"] = 1.75


def rates() -> Rates:
    found = load_price_book().rates_for(["gpt-4o"], "openai", now())
    assert found is not None
    return found


def input_usd() -> Decimal:
    return standard(rates()).input_usd_per_mtok


class Terminal(io.StringIO):
    """What an operator types."""

    def isatty(self) -> bool:
        return True


def test_preview_shows_each_change_and_changes_nothing(path: Path) -> None:
    version = price_list_version()
    printed = prices("load", "--file", f"{path}", "--preview")
    assert "input 2.5 -> 1.75" in printed
    assert "1,000 tokens in and 1,000 out: " in printed
    assert "nothing was changed" in printed
    assert "gpt-4o-mini" not in printed
    assert (input_usd(), price_list_version()) == (Decimal("2.5"), version)


def test_confirmed_prices_count_from_now_on_with_file_as_source(path: Path) -> None:
    printed = prices("load", "--file", f"{path}", "--yes")
    assert "input 2.5 -> 1.75" in printed
    assert input_usd() == Decimal("1.75")
    assert rates().source.startswith("genai-prices file ")
    assert load_price_book().rates_for(["gpt-4o"], "openai", now() - timedelta(hours=1)) != rates()
    version = price_list_version()
    assert "has 0 prices" in prices("load", "--file", f"{path}", "--yes")
    assert price_list_version() == version


@pytest.mark.parametrize(("answer", "usd"), [("y\n", "1.75"), ("n\n", "2.5"), ("\n", "2.5")])
def test_operator_is_asked(
    path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, usd: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    prices("load", "--file", f"{path}")
    assert input_usd() == Decimal(usd)


def test_without_terminal_nothing_is_taken_unless_confirmed(path: Path) -> None:
    with pytest.raises(CommandError, match="--yes must be given"):
        prices("load", "--file", f"{path}")
    assert input_usd() == Decimal("2.5")


def test_price_set_by_hand_stays(path: Path) -> None:
    set_price(priced("9", "9"), model="gpt-4o", now=now())
    printed = prices("load", "--file", f"{path}", "--yes")
    assert "Kept as set by hand: openai gpt-4o." in printed
    assert input_usd() == 9


def test_announced_price_is_shown_at_its_start(tmp_path: Path) -> None:
    day = (now() + timedelta(days=40)).date()

    def announced(lists: dict[str, Any]) -> None:
        found = next(each for each in lists["openai"]["models"] if each["id"] == "gpt-4o")
        later = {**found["prices"], "input_mtok": 0.5}
        found["prices"] = [
            {"prices": found["prices"]},
            {"constraint": {"start_date": f"{day}"}, "prices": later},
        ]

    path = write_data(tmp_path / "data.json", announced)
    printed = prices("load", "--file", f"{path}", "--yes")
    assert f"openai gpt-4o from {day}" in printed
    assert "input 2.5 -> 0.5" in printed
    assert input_usd() == Decimal("2.5")


def negative(lists: dict[str, Any]) -> None:
    prices_of(lists, "openai", "gpt-4o")["input_mtok"] = -1


def without_google(lists: dict[str, Any]) -> None:
    del lists["google"]


def without_models(lists: dict[str, Any]) -> None:
    for each in lists.values():
        each["models"] = []


@pytest.mark.parametrize("change", [negative, without_google, without_models])
def test_data_that_cannot_be_used_is_refused_whole(tmp_path: Path, change: Any) -> None:
    path, count = write_data(tmp_path / "data.json", change), Rate.objects.count()
    with pytest.raises(CommandError, match=r"cannot be used|has no"):
        prices("load", "--file", f"{path}", "--yes")
    assert Rate.objects.count() == count


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{}", "must be a list of providers"),
        ("[1", "must be JSON"),
        (json.dumps([{"id": "openai"}]), "Field required"),
        ("[" * 100_000, "must be JSON"),
        ("[" + " " * FILE_MAX_BYTES + "]", "must be at most"),
    ],
    ids=["object", "cut", "field", "deep", "large"],
)
def test_file_that_is_no_data_is_refused_with_sentence(
    tmp_path: Path, content: str, sentence: str
) -> None:
    path = tmp_path / "data.json"
    path.write_text(content)
    with pytest.raises(CommandError, match=sentence):
        prices("load", "--file", f"{path}", "--yes")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        prices("load", "--file", f"{tmp_path / 'none.json'}", "--yes")
