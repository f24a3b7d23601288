"""Locators of the elements of the dashboard."""

from playwright.async_api import Locator, Page, expect


async def is_live(page: Page, transport: str) -> None:
    """Wait until the page says that it is live over this transport."""
    await expect(page.locator("#state")).to_have_text("Live")
    await expect(page.locator("#transport")).to_have_text(transport)


def cells(page: Page, pair: str) -> Locator:
    """The cells in the row of a pair, except its name."""
    return page.locator(f'tr[data-pair="{pair}"] td')


def bid(page: Page, pair: str) -> Locator:
    """The bid of a pair."""
    return cells(page, pair).nth(0)


def alerts(page: Page) -> Locator:
    """The alerts that are listed, the newest first."""
    return page.locator('[data-panel="alerts"] li')
