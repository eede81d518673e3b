"""Models and prices in a browser, with and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Final

import pytest
import pytest_asyncio
from django.utils.timezone import now
from playwright.async_api import Locator, Page, expect

from tests.chromium import IN_ONE_BROWSER
from tests.fake_provider.thread import FakeProvider
from tests.system.clients import ClientCall, Outcome, ask_one
from tests.system.console import DESK, MEMBER, OPERATOR, PHONE, Console
from tests.system.test_console_pages import Looks

pytestmark = IN_ONE_BROWSER

MODEL: Final = "house-model"
ADD: Final = """
from gateway.models import Provider
Provider.objects.create(
    name="{name}", title="Own", base_url="{url}", dialects=["chat"], auth="bearer",
    secret="env:OPENAI_API_KEY", models=["{model}"], allow_loopback=True,
    context_tokens=100_000, max_output_tokens=1_000,
)
"""
REMOVE: Final = """
from costs.models import PriceFactor, Rate
from gateway.models import Provider
for rows in (Rate.objects, PriceFactor.objects):
    rows.filter(provider="{name}").delete()
Provider.objects.filter(name="{name}").delete()
"""


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    """What answers for the provider."""
    with FakeProvider() as started:
        yield started


@pytest_asyncio.fixture(
    loop_scope="session", params=[True, False], ids=["scripts", "without scripts"]
)
async def page(console: Console, request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    """An operator's page."""
    async with console.page(OPERATOR, scripts=request.param) as opened:
        yield opened


@pytest.fixture
def provider(console: Console, fake: FakeProvider, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a row that the fake provider answers for; its model has no price."""
    fake.reset()
    name = f"own-{abs(hash(request.node.nodeid))}"
    url = fake.base_url("openai")
    console.installation.script(ADD.format(name=name, url=url, model=MODEL))
    yield name
    console.installation.script(REMOVE.format(name=name))


async def submit(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()
    await page.wait_for_load_state()


def price(page: Page, name: str) -> Locator:
    """Return the first field with a label: of the standard tier, for the shortest requests."""
    return page.get_by_label(name, exact=True).first


async def call(console: Console, name: str) -> Outcome:
    """Send a call to the provider's model."""
    sent = ClientCall(call="priced", more={"model": f"{name}/{MODEL}"})
    return await ask_one(console.url, console.installation.key, sent)


async def charged(console: Console, page: Page, name: str) -> tuple[int, int]:
    """Return what a call was charged, and what the prices on the page make of it, in nano-euro."""
    answered = await call(console, name)
    assert answered.is_answered, answered.answer
    await page.goto(f"/models/{name}/{MODEL}")
    shown = {
        bucket: int(await row.locator("data").get_attribute("value") or "")
        for bucket in ("input", "output")
        for row in [page.locator("tbody tr").filter(has=page.get_by_role("rowheader", name=bucket))]
    }
    answer = answered.answer
    assert answer["inputTokens"] > 0
    exact = answer["inputTokens"] * shown["input"] + answer["outputTokens"] * shown["output"]
    return round(answer["estimatedCostEur"] * 10**9), -(-exact // 10**6)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "without scripts"])
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


async def test_unpriced_model_is_priced_from_list_and_called(
    console: Console, page: Page, provider: str, fake: FakeProvider
) -> None:
    refused = await call(console, provider)
    assert (refused.status, refused.code) == (403, "model_unpriced")
    await page.goto("/models/unpriced")
    await page.get_by_role("link", name=f"Set a price of {provider}/{MODEL}", exact=True).click()
    await price(page, "Input").fill("1.234567")
    await price(page, "Output").fill("4")
    await submit(page, "Preview")
    await expect(page.locator(".errorlist")).to_contain_text("required")
    await expect(price(page, "Input")).to_have_value("1.234567")
    await page.get_by_label("Source", exact=True).fill("contract 12")
    await submit(page, "Preview")
    await expect(page.locator("#preview")).to_contain_text("no price")
    assert fake.calls == []
    await submit(page, "Set price")
    await expect(page.get_by_text(f"Price of {provider}/{MODEL} set.")).to_be_visible()
    await page.goto("/models/unpriced")
    await expect(page.get_by_role("link", name=f"{provider}/{MODEL}")).to_have_count(0)
    cost, expected = await charged(console, page, provider)
    assert cost == expected
    assert len(fake.calls) == 1


async def test_discount_from_date_is_announced_and_taken_back(
    console: Console, page: Page, provider: str
) -> None:
    await _sets_price(page, provider)
    await page.get_by_role("link", name="Discount or factor", exact=True).click()
    await page.get_by_label("Percent off, or factor", exact=True).fill("25")
    day = (now() + timedelta(days=3)).strftime("%Y-%m-%dT00:00")
    await page.get_by_label("Starts at", exact=True).fill(day)
    await page.get_by_label("Source", exact=True).fill("letter of May")
    await submit(page, "Preview")
    await expect(page.locator("#preview tbody tr").first).to_contain_text("0.00")
    await submit(page, "Set")
    await expect(page.get_by_text("announced", exact=False).first).to_be_visible()
    await expect(page.get_by_text("25 % off").first).to_be_visible()
    await expect(page.get_by_text("included in EUR")).to_have_count(0)

    await page.get_by_role("button", name=re.compile("^Undo.*letter of May")).click()
    await page.locator("#ask-title").wait_for()
    await submit(page, "Undo")
    await expect(page.get_by_text("Taken back")).to_be_visible()
    await expect(page.get_by_text("25 % off")).to_have_count(0)


async def test_discount_in_force_is_charged_and_undone(
    console: Console, page: Page, provider: str
) -> None:
    await _sets_price(page, provider)
    full, expected = await charged(console, page, provider)
    assert full == expected
    await page.get_by_role("link", name="Discount or factor", exact=True).click()
    await page.get_by_label("Percent off, or factor", exact=True).fill("50")
    await page.get_by_label("Source", exact=True).fill("letter of June")
    await submit(page, "Preview")
    await submit(page, "Set")
    half, expected = await charged(console, page, provider)
    assert half == expected == -(-full // 2)
    await page.get_by_role("button", name=re.compile("^Undo.*letter of June")).click()
    await page.locator("#ask-title").wait_for()
    await submit(page, "Undo")
    again, expected = await charged(console, page, provider)
    assert again == expected == full


async def test_forms_of_operator_have_no_fault(console: Console, provider: str) -> None:
    """With errors and with previews, at both widths and in both colours."""
    async with console.page(OPERATOR) as page:
        looks, found = await Looks.at(page), {}
        for path, fields in (
            (f"/models/set?provider={provider}&name={MODEL}", {"Input": "1", "Output": "4"}),
            (f"/models/factor?provider={provider}&name={MODEL}", {"Percent off, or factor": "5"}),
            ("/models/set?provider=openai&name=gpt-4o", {"Input": "1"}),
        ):
            await page.set_viewport_size(DESK)
            await page.emulate_media(color_scheme="light")
            await page.goto(path)
            for label, value in fields.items():
                await price(page, label).fill(value)
            await submit(page, "Preview")
            await expect(page.locator(".errorlist")).to_contain_text("required")
            found[f"errors of {path}"] = await _at_both_widths_in_both_colours(looks)
            await page.get_by_label("Source", exact=True).fill("contract 12")
            await submit(page, "Preview")
            await page.locator("#preview").wait_for()
            found[f"preview of {path}"] = await _at_both_widths_in_both_colours(looks)
        assert {name: faults for name, faults in found.items() if faults} == {}


async def _at_both_widths_in_both_colours(looks: Looks) -> list[str]:
    faults = []
    for size in (DESK, PHONE):
        await looks.page.set_viewport_size(size)
        for colours in ("light", "dark"):
            await looks.page.emulate_media(color_scheme=colours)
            faults += await looks.faults()
    return faults


async def _sets_price(page: Page, name: str) -> None:
    """Set a price, which costs a call of a few tokens an even number of nano-euro or not."""
    await page.goto(f"/models/set?provider={name}&name={MODEL}")
    await price(page, "Input").fill("1.5")
    await price(page, "Output").fill("6")
    await page.get_by_label("Source", exact=True).fill("contract 12")
    await submit(page, "Preview")
    await submit(page, "Set price")
