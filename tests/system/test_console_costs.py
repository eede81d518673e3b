"""The cost explorer in a real browser: the same figures with scripts and without."""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.chromium import IN_ONE_BROWSER
from tests.system.console import MEMBER, Console

pytestmark = IN_ONE_BROWSER

NANO: Final = Decimal(10) ** 9
# label, what the URL says of it
PRESETS: Final = (
    ("Today", "today"),
    ("7 days", "7d"),
    ("30 days", "30d"),
    ("Month to date", "month"),
    ("Last month", "last-month"),
    ("Custom", None),
)
SHOWN: Final = ("h1 + p", ".explorer-figures", ".bars-plot desc", ".explorer-table")
# In one question to the page, as a page may have hundreds.
AMOUNTS: Final = "(all) => all.map((each) => Number(each.value))"
COST_OF_EACH: Final = (
    "(rows) => rows.map((row) => Number(row.querySelector('td').querySelector('data').value))"
)
LINES: Final = """(rows) => rows.map((row) => ({
  names: [...row.querySelectorAll("th")].map((each) => each.innerText),
  text: row.innerText,
  share: row.querySelector(".share").innerText,
}))"""


# What only shows figures is the same page in both.
EITHER: Final = pytest.mark.parametrize(
    "scripts", [True, False], ids=["with scripts", "without scripts"]
)


@pytest.fixture
def scripts() -> bool:
    """Whether the browser runs scripts."""
    return True


@pytest_asyncio.fixture(loop_scope="session")
async def page(console: Console, *, scripts: bool) -> AsyncIterator[Page]:
    """The admin's page."""
    async with console.page(scripts=scripts) as opened:
        yield opened


# --- what is on the page -------------------------------------------------------------------------


async def nanoeur_in(place: Locator) -> list[int]:
    """Return the exact amounts that a part of the page shows, in its order."""
    amounts: list[int] = await place.locator("data").evaluate_all(AMOUNTS)
    return amounts


async def total_of(page: Page) -> int:
    """Return the exact total of the page."""
    return (await nanoeur_in(page.locator(".explorer-figures .total dd:first-of-type")))[0]


async def costs_of(page: Page) -> list[int]:
    """Return the exact cost of each line of the table."""
    costs: list[int] = await page.locator(".explorer-table tbody tr").evaluate_all(COST_OF_EACH)
    return costs


async def state_of(page: Page) -> list[str]:
    """Return all cost figures of the page."""
    return [text for place in SHOWN for text in await page.locator(place).all_text_contents()]


def asked(page: Page) -> dict[str, str]:
    """Return the parameters of the page's address that say something."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}


async def group(page: Page, by: str, then: str = "None") -> None:
    """Choose what the table is grouped by."""
    await page.get_by_label("Group by", exact=True).select_option(label=by)
    await page.get_by_label("Then by", exact=True).select_option(label=then)
    await page.get_by_role("button", name="Apply", exact=True).click()
    title = f"By {by}" if then == "None" else f"By {by} and {then}"
    await expect(page.locator("#table-heading")).to_have_text(title, ignore_case=True)


async def go(page: Page, link: Locator, state: re.Pattern[str]) -> None:
    """Follow a link to another state of the page."""
    await link.click()
    await expect(page).to_have_url(state)


# --- periods -------------------------------------------------------------------------------------


@EITHER
async def test_every_period_is_one_click_away_and_adds_up(page: Page) -> None:
    await page.goto("/costs")
    totals: dict[str, int] = {}
    for label, name in PRESETS:
        shown = rf"period={name}\b" if name else r"from=\d{4}-\d\d-\d\d&to="
        presets = page.get_by_role("navigation", name="Period")
        await go(page, presets.get_by_role("link", name=label, exact=True), re.compile(shown))
        await expect(presets.locator("[aria-current]")).to_have_text(label)
        assert sum(await costs_of(page)) == await total_of(page)
        totals[label] = await total_of(page)
    assert totals["Custom"] == totals["Last month"] > 0  # begins with the days that were shown
    assert totals["Today"] <= totals["7 days"] < totals["30 days"]


async def test_days_are_chosen_by_hand(page: Page) -> None:
    await page.goto("/costs?period=last-month&groupBy=day")
    presets = page.get_by_role("navigation", name="Period")
    await go(page, presets.get_by_role("link", name="Custom"), re.compile("from="))
    last = date.fromisoformat(asked(page)["to"])
    await page.get_by_label("From", exact=True).fill(f"{last - timedelta(days=2)}")
    await page.get_by_role("button", name="Apply", exact=True).click()
    await expect(page.locator(".explorer-table tbody tr")).to_have_count(3)
    assert asked(page)["from"] == f"{last - timedelta(days=2)}"


async def test_invalid_day_is_error_at_its_field(page: Page) -> None:
    await page.goto("/costs?from=2026-03-02&to=2026-03-01")
    await expect(page.locator("#id_from_error")).to_contain_text("after the last")
    await expect(page.get_by_role("alert")).to_contain_text("Fix the marked fields")
    await expect(page.get_by_label("From", exact=True)).to_have_value("2026-03-02")


# --- groups, bars, filters -----------------------------------------------------------------------


@EITHER
async def test_any_one_or_two_dimensions_add_up_to_same(page: Page) -> None:
    await page.goto("/costs")
    total = await total_of(page)
    for by, then in (("Team", "None"), ("User", "Model"), ("Day", "API key")):
        await group(page, by, then)
        assert await total_of(page) == total
        summed_up = re.compile(r"\d more|The rest")
        rest = await page.locator(".explorer-table tbody tr", has_text=summed_up).count()
        lines = await costs_of(page)
        assert len(lines) > 2
        assert sum(lines) == total
        assert rest == (len(lines) > 100)


async def test_day_is_bar_stacked_by_other_dimension(page: Page) -> None:
    last = datetime.now(UTC).date() - timedelta(days=2)  # before all that other tests send
    await page.goto(f"/costs?from={last - timedelta(days=6)}&to={last}&groupBy=day&thenBy=team")
    await expect(page.get_by_role("heading", name="Costs by day, by team")).to_be_visible()
    await expect(page.locator(".bars-hit")).to_have_count(7)
    legend = page.get_by_role("list", name="Chart legend").get_by_role("listitem")
    teams = {text.split()[0] for text in await legend.all_inner_texts()}
    assert teams == {"support", "growth", "platform"}
    assert await page.locator('.bars-plot path[class^="series-"]').count() == len(teams)
    heights = await page.locator(".bars-hit title").all_text_contents()
    assert len(heights) == 7
    assert all("€" in text for text in heights)
    # What is stacked is what the table says, and its summary is there for who sees no bars.
    assert sum(await nanoeur_in(legend)) == await total_of(page)
    await expect(page.locator(".bars-plot desc")).to_contain_text("highest: ")


@EITHER
async def test_line_links_to_its_parts(page: Page) -> None:
    await page.goto("/costs?groupBy=team")
    row = page.locator(".explorer-table tbody tr").first
    name = await row.locator("th").inner_text()
    [cost, *_] = await costs_of(page)
    await go(page, row.get_by_role("link", name=name), re.compile(f"teamId={name}"))
    await expect(page.get_by_role("heading", name="By project", exact=True)).to_be_visible()
    assert await total_of(page) == cost
    await page.locator(".explorer-table tbody th a").first.click()
    await expect(page.get_by_role("heading", name="By app", exact=True)).to_be_visible()
    chips = page.get_by_role("list", name="Filters in use")
    await expect(chips.get_by_role("listitem")).to_have_count(2)
    await chips.get_by_role("link", name="Project").click()
    await expect(chips.get_by_role("listitem")).to_have_count(1)
    assert await total_of(page) == cost
    await page.go_back()
    await expect(chips.get_by_role("listitem")).to_have_count(2)


async def test_legend_entry_filters(page: Page) -> None:
    await page.goto("/costs?groupBy=provider")
    legend = page.get_by_role("list", name="Chart legend")
    await go(page, legend.get_by_role("link", name="google"), re.compile("provider=google"))
    assert await page.get_by_role("list", name="Filters in use").inner_text() != ""


@EITHER
async def test_filters_are_added_and_removed(page: Page) -> None:
    await page.goto("/costs?groupBy=app")
    everything = await total_of(page)
    await page.get_by_text("Filters", exact=True).click()
    await page.get_by_label("Team", exact=True).fill("support")
    await page.get_by_label("Model", exact=True).fill("gpt-4o-mini")
    await page.get_by_role("button", name="Apply", exact=True).click()
    chips = page.get_by_role("list", name="Filters in use")
    await expect(chips).to_contain_text("gpt-4o-mini and 1 dated snapshot")
    assert asked(page)["teamId"] == "support"
    assert 0 < await total_of(page) < everything
    await go(page, chips.get_by_role("link", name="Model"), re.compile(r"costs\?(?!.*model=)"))
    await go(page, chips.get_by_role("link", name="Team"), re.compile(r"costs\?(?!.*teamId=)"))
    await expect(chips).to_have_count(0)
    assert await total_of(page) == everything
    await page.goto("/costs?teamId=unknown")
    await expect(page.get_by_role("heading", name="No matching charges")).to_be_visible()
    await page.get_by_role("link", name="reset all filters").click()
    await expect(page.locator("#table-heading")).to_be_visible()
    assert await total_of(page) == everything


# --- comparison, forecast ------------------------------------------------------------------------


async def test_each_line_shows_previous_period(page: Page) -> None:
    await page.goto("/costs?period=30d&groupBy=team")
    before = {}
    for row in await page.locator(".explorer-table tbody tr").all():
        before[await row.locator("th").inner_text()] = (await nanoeur_in(row))[-1]
    note = page.locator(".explorer-figures .total .figure-note").last
    assert [sum(before.values())] == await nanoeur_in(note)
    shown = re.search(r"(\d+ \w+) to (\d+ \w+) (\d{4})$", (await note.inner_text()).strip())
    assert shown is not None
    last = datetime.strptime(f"{shown[2]} {shown[3]}", "%d %b %Y").date()  # noqa: DTZ007  a day
    first = last - timedelta(days=29)
    assert f"{first:%-d %b}" == shown[1]

    # Those days, asked for themselves, cost what the comparison says.
    await page.goto(f"/costs?from={first}&to={last}&groupBy=team")
    await page.get_by_label("Compare with", exact=True).select_option(label="None")
    await page.get_by_role("button", name="Apply", exact=True).click()
    await expect(page.get_by_role("columnheader", name="Previous period")).to_have_count(0)
    rows = await page.locator(".explorer-table tbody tr").all()
    found = {await row.locator("th").inner_text(): (await nanoeur_in(row))[0] for row in rows}
    assert found == {name: amount for name, amount in before.items() if amount}


async def test_current_month_has_forecast_with_range(page: Page) -> None:
    await page.goto("/costs?period=month")
    spent = await total_of(page)
    forecast = page.locator(".explorer-figures > div").filter(has_text="Forecast for")
    expected, low, high, so_far = await nanoeur_in(forecast)
    assert so_far == spent
    assert spent <= low <= expected <= high
    await expect(forecast).to_contain_text("80 % range")
    await page.goto("/costs?period=last-month")
    await expect(page.get_by_text("Forecast")).to_have_count(0)


# --- taking it away, passing it on ---------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "period=7d&groupBy=day&thenBy=provider",
        "period=last-month&groupBy=user&thenBy=model&teamId=support",
    ],
)
async def test_csv_equals_page(page: Page, query: str) -> None:
    await page.goto(f"/costs?{query}")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download CSV", exact=True).click()
    text = (await (await download.value).path()).read_bytes().decode()
    lines = list(csv.DictReader(StringIO(text)))
    assert [int(line["amount_nanoeur"]) for line in lines] == await costs_of(page)
    assert sum(int(line["amount_nanoeur"]) for line in lines) == await total_of(page)
    assert all(Decimal(line["amount_eur"]) * NANO == int(line["amount_nanoeur"]) for line in lines)
    rows = await page.locator(".explorer-table tbody tr").evaluate_all(LINES)
    day = re.compile(r"\w{3} \d+ \w{3} \d{4}")
    for line, row in zip(lines, rows, strict=True):
        texts = " ".join(f"{value}" for value in line.values())
        assert all(name in texts for name in row["names"] if not day.match(name))
        assert f"{int(line['requests']):,}" in row["text"]
        assert line["share_percent"] in row["share"]


@EITHER
async def test_url_shows_same_page_in_new_session(
    page: Page, console: Console, *, scripts: bool
) -> None:
    await page.goto("/costs")
    await group(page, "Team", "Model")
    presets = page.get_by_role("navigation", name="Period")
    await go(page, presets.get_by_role("link", name="Month to date"), re.compile("period=month"))
    await page.locator(".explorer-table tbody th a").first.click()
    await expect(page).to_have_url(re.compile("teamId="))
    await expect(page.get_by_role("list", name="Filters in use")).to_be_visible()
    async with console.page(MEMBER, scripts=not scripts) as other:
        await other.goto(page.url)
        assert await state_of(other) == await state_of(page)
        await expect(other.get_by_label("Group by", exact=True)).to_have_value("model")
