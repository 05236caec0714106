"""A real browser for the tests: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """Path of a Chromium. Skips the test, with the reason, where there is none."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("no Chromium: install the system's package `chromium`, or name one in the variable CHROMIUM")
    return found


@contextmanager
def browser_page(width: int = 1366, height: int = 768, *, downloads: Path | None = None) -> Iterator[Page]:
    """A page of a laptop's size in a fresh profile. Errors that the page itself reports fail the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=_FLAGS, downloads_path=str(downloads) if downloads else None
        )
        try:
            page = browser.new_page(viewport={"width": width, "height": height}, accept_downloads=True)
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            yield page
            assert faults == []
        finally:
            browser.close()
