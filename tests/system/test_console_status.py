"""The status page in a browser, with scripts and without: a provider, and the exchange rate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from gateway.providers.routing.breaker import FAILURES_MAX
from tests.chromium import IN_ONE_BROWSER
from tests.fake_provider.thread import FakeProvider
from tests.system.clients import ClientCall, ask_one
from tests.system.console import MEMBER, OPERATOR, Console

pytestmark = IN_ONE_BROWSER

MODEL: Final = "gpt-4o-mini"
ADD: Final = """
from django.utils.timezone import now
from costs.models import Rate
from gateway.models import Provider
Provider.objects.create(
    name="{name}", title="Spare", base_url="{url}", dialects=["chat"], auth="bearer",
    secret="env:OPENAI_API_KEY", models=["{model}"], allow_loopback=True,
)
Rate.objects.create(
    provider="{name}", model="{model}", starts_at=now(), source="tests",
    input_usd_per_mtok="0.15", output_usd_per_mtok="0.60",
)
"""
REMOVE: Final = """
from gateway.models import Provider
Provider.objects.filter(name="{name}").delete()
"""
# Until the last rate is old, and back again.
AGE: Final = """
from datetime import timedelta
from costs.models import ExchangeRate
for row in ExchangeRate.objects.order_by("{order}"):
    row.on_date += timedelta(days={days})
    row.save()
"""
LOOKS_MAX: Final = 600
# The pages that show prices in EUR.
PRICES: Final = (
    *("/models", f"/models/openai/{MODEL}", "/models/unpriced"),
    *(f"/models/{form}?provider=openai&name={MODEL}" for form in ("set", "factor")),
)


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
def provider(console: Console, fake: FakeProvider, page: Page) -> Iterator[str]:
    """The name of a row that the fake provider answers for; each has counts of its own."""
    fake.reset()
    name = f"spare-{id(page)}"
    url = fake.base_url("openai")
    console.installation.script(ADD.format(name=name, url=url, model=MODEL))
    yield name
    console.installation.script(REMOVE.format(name=name))


def row(page: Page, name: str) -> Locator:
    """Return the row of a provider."""
    return page.locator("tbody tr").filter(has=page.get_by_role("rowheader", name=name))


async def call(console: Console, name: str) -> bool:
    """Send a call to a provider, and return whether it was answered."""
    sent = ClientCall(call="status", more={"model": f"{name}/{MODEL}"})
    return (await ask_one(console.url, console.installation.key, sent)).is_answered


async def test_provider_fails_and_comes_back(
    console: Console, page: Page, provider: str, fake: FakeProvider
) -> None:
    await page.goto("/status")
    await expect(row(page, provider)).to_contain_text("no recent calls")
    for _ in range(FAILURES_MAX):
        fake.answers(status=503)
        assert not await call(console, provider)
    await page.goto("/status")
    await expect(row(page, provider)).to_contain_text("failing")
    for part in ("100.0 % of 5", "provider_error: 5", "open"):
        await expect(row(page, provider)).to_contain_text(part)

    fake.answers(status=503)
    for shown in ("no valid answer", "Spare answers and lists"):
        await page.goto("/status")
        await page.get_by_role("button", name=f"Check {provider}").click()
        await expect(page.locator("main")).to_contain_text(shown)

    assert await call(console, provider)
    await page.goto("/status")
    await expect(row(page, provider)).to_contain_text("working")
    await expect(row(page, provider)).to_contain_text("closed")


async def test_stale_rate_is_shown_until_it_is_updated(console: Console, page: Page) -> None:
    shown = json.loads(console.installation.run("rates", "show", "--format", "json"))
    days = 40
    console.installation.script(AGE.format(order="on_date", days=-days))
    try:
        await _until_shown(page, "is more than 3 working days old")
        await expect(page.get_by_role("link", name="JSON")).to_be_visible()
        for path in PRICES:
            await page.goto(path)
            await expect(page.locator(".message.warning")).to_contain_text("working days old")
    finally:
        console.installation.script(AGE.format(order="-on_date", days=days))
    await _until_shown(page, f"USD per EUR of {shown['date']}")
    for path in PRICES:
        await page.goto(path)
        await expect(page.locator(".message.warning")).to_have_count(0)


async def _until_shown(page: Page, text: str) -> None:
    """Load the page until it shows a text: what the database has is kept for a moment."""
    for _ in range(LOOKS_MAX):
        await page.goto("/status")
        if text in await page.locator("main").inner_text():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(text)


async def test_member_sees_state_without_what_is_operators(console: Console) -> None:
    async with console.page(MEMBER) as page:
        await page.goto("/status")
        await expect(row(page, "azure-us")).to_contain_text("cannot be called")
        await expect(page.get_by_role("button", name="Check")).to_have_count(0)
        await expect(page.locator("main")).not_to_contain_text("NOT_SET_HERE")
