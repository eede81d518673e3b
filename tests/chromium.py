"""A real browser: an installed Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

# A wait that ends well costs nothing by its limit: Playwright's are of 5 s and 30 s.
WAIT_MAX_MS = 120_000
NAMES = ("chromium", "chromium-browser", "google-chrome")
# Chromium calls home on its own at every start; a test's browser speaks to the test's server only.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str | None:
    """Return the path of an installed Chromium, or the value of CHROMIUM; None without one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


# A start takes 1.3 s: the tests of a process share a browser and the loop that drives it.
IN_ONE_BROWSER = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser of all tests of this process."""
    executable = chromium_path()
    if executable is None:
        pytest.skip("no Chromium is installed, and CHROMIUM does not name one")
    expect.set_options(timeout=WAIT_MAX_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=[*QUIET])
        try:
            yield browser
        finally:
            await browser.close()
