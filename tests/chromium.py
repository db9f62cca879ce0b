"""A plugin for pytest: the system's Chromium, for the tests that look at pages.

Started once for each file and ended with it: while it runs, no other loop of asyncio
may run in the same process, and notebooks are executed in one.
"""

from __future__ import annotations

import os
import shutil

import pytest

BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    not BROWSER, reason="needs Chromium: Debian's package, or its path in CHROMIUM"
)


@pytest.fixture(scope="module")
def browser():
    """A browser of Playwright's; skipped where Playwright is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()
