"""Models and prices in a browser, with and without JavaScript."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils.timezone import now
from playwright.async_api import Page, expect

from tests.chromium import IN_ONE_BROWSER
from tests.system.console import MEMBER, OPERATOR, Console

pytestmark = [*IN_ONE_BROWSER, pytest.mark.parametrize("scripts", [True, False])]


async def submit(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()
    await page.wait_for_load_state()


async def test_member_finds_price_of_model_and_its_history(console: Console, scripts: bool) -> None:
    async with console.page(MEMBER, scripts=scripts) as page:
        await page.goto("/admin/ai")
        await page.get_by_role("link", name="Models", exact=True).click()
        await page.get_by_label("Search", exact=True).fill("gpt-4o-mini")
        await submit(page, "Apply")
        await page.get_by_role("link", name="gpt-4o-mini", exact=True).click()
        await expect(page.get_by_role("heading", name="Standard", exact=True)).to_be_visible()
        history = page.locator("section", has=page.get_by_role("heading", name="History"))
        await expect(history).to_contain_text("genai-prices")
        await expect(page.get_by_text("Set a price")).to_have_count(0)


async def test_operator_prices_unpriced_model_discounts_it_and_takes_back(
    console: Console, scripts: bool
) -> None:
    model = f"gpt-9-{17 + scripts}"
    async with console.page(OPERATOR, scripts=scripts) as page:
        await page.goto("/models/unpriced")
        await page.get_by_role("link", name=f"Set a price of {model}", exact=True).click()
        await page.get_by_label("Input", exact=True).first.fill("1")
        await page.get_by_label("Output", exact=True).first.fill("4")
        await submit(page, "Preview")
        await expect(page.locator(".errorlist")).to_contain_text("required")
        await expect(page.get_by_label("Input", exact=True).first).to_have_value("1")
        await page.get_by_label("Source", exact=True).fill("contract 12")
        await submit(page, "Preview")
        await expect(page.locator("#preview")).to_contain_text("no price")
        await submit(page, "Set price")
        await expect(page.get_by_text(f"Price of {model} set.")).to_be_visible()
        await page.goto("/models/unpriced")
        await expect(page.get_by_role("link", name=model, exact=True)).to_have_count(0)

        await page.goto(f"/models/factor?provider=openai&name={model}")
        await page.get_by_label("Percent off, or factor", exact=True).fill("25")
        day = (now() + timedelta(days=3)).strftime("%Y-%m-%dT00:00")
        await page.get_by_label("Starts at", exact=True).fill(day)
        await page.get_by_label("Source", exact=True).fill("letter of May")
        await submit(page, "Preview")
        await submit(page, "Set")
        await expect(page.get_by_text("announced", exact=False).first).to_be_visible()
        await expect(page.get_by_text("25 % off").first).to_be_visible()

        await page.get_by_role("button", name=re.compile("^Undo.*letter of May")).click()
        await page.locator("#ask-title").wait_for()
        await submit(page, "Undo")
        await expect(page.get_by_text("Taken back")).to_be_visible()
        await expect(page.get_by_text("25 % off")).to_have_count(0)
