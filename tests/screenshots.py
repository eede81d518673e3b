"""Takes the pictures of the README: `python -m tests.screenshots`, with an installed Chromium."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from playwright.async_api import Page, async_playwright, expect

from tests.chromium import QUIET, chromium_path
from tests.small_png import small_png
from tests.system.console import context_for, fill, sign_in
from tests.system.databases import SECRET_KEY, prepare
from tests.system.processes import ROOT
from tests.system.servers import Installation, Server

WINDOW: Final = {"width": 1120, "height": 640}
FOLDER: Final = ROOT / "static" / "screenshots"
MAX_BYTES: Final = 60_000


async def requests(page: Page) -> None:
    """Today, the last 24 hours, the newest requests."""
    await page.goto("/admin/ai")


async def request(page: Page) -> None:
    """One request's story."""
    await page.goto("/admin/ai?status=ok&model=gpt-4o-2024-08-06")
    await page.locator("#list tbody a").first.click()


async def policy(page: Page) -> None:
    """A policy while it is written, and what it would have done."""
    await page.goto("/admin/ai/policies/create")
    await page.get_by_label("Policy name", exact=True).fill("Small models only")
    await page.get_by_label("Allowed models", exact=True).fill("gpt-4o-mini\ngemini-*")
    await expect(page.locator("#effect")).to_contain_text("Allows only")


async def playground(page: Page) -> None:
    """An answer with its cost."""
    await page.goto("/admin/ai/playground")
    await page.get_by_label("Prompt", exact=True).fill("Say what a gateway is good for.")
    for sent in (1, 2):  # the first one waits for what a new server makes ready
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(page.locator("#trace ol")).to_be_visible()
        await expect(page.locator("#recent tr.is-new")).to_have_count(sent)


async def costs(page: Page) -> None:
    """A month's costs by team, day by day."""
    await page.goto("/costs?groupBy=team")
    await page.locator(".filter-form").evaluate("each => scrollTo(0, each.offsetTop - 16)")


PICTURES: Final[dict[str, Callable[[Page], Awaitable[None]]]] = {
    "requests": requests,
    "request": request,
    "costs": costs,
    "policy": policy,
    "playground": playground,
}


def main() -> int:
    """Fill a new installation, serve it, and take every picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots")
    parser.add_argument("--to", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    folder: Path = parser.parse_args().to
    executable = chromium_path()
    if executable is None:
        sys.stderr.write("No Chromium is installed, and CHROMIUM does not name one.\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="pulse-screenshots-") as scratch:
        installation = _installation(Path(scratch))
        try:
            [server] = installation.serve()
            folder.mkdir(parents=True, exist_ok=True)
            asyncio.run(_take(server, executable, folder))
        finally:
            installation.kill_all()
    return 0


def _installation(scratch: Path) -> Installation:
    made = Installation(
        database_url=f"sqlite:///{scratch}/pulse.sqlite3",
        folder=scratch,
        environment={"SECRET_KEY": SECRET_KEY},
    )
    made.key = prepare(made)
    fill(made, per_day=90)
    return made


async def _take(server: Server, executable: str, folder: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=[*QUIET])
        async with context_for(browser, server.url, viewport=WINDOW) as context:
            page, blank = await context.new_page(), await context.new_page()
            await sign_in(page)
            for name, show in PICTURES.items():
                await show(page)
                await page.evaluate("document.activeElement.blur()")
                picture = folder / f"{name}.png"
                png = await small_png(blank, await page.screenshot(animations="disabled"))
                picture.write_bytes(png)
                sys.stdout.write(f"{picture} {len(png)} bytes\n")
                if len(png) > MAX_BYTES:
                    sys.stderr.write(f"{picture.name} is larger than {MAX_BYTES} bytes\n")
        await browser.close()


if __name__ == "__main__":
    sys.exit(main())
