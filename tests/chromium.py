"""A page in the system's Chromium, and what went wrong on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import CHROMIUM

OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium of the system; playwright brings none of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Visit(NamedTuple):
    """An open page."""

    page: Any  # of playwright
    errors: list[str]  # of the console and of scripts
    requests: list[str]  # beside the page itself and what it holds

    def faults(self, width: int) -> list[str]:
        """Errors, requests, pictures that are not seen, and parts beyond a width in pixels."""
        broken = "[...document.images].filter((image) => !image.naturalWidth).length"
        seen = self.page.evaluate(f"[{broken}, document.documentElement.scrollWidth]")
        faults = [*self.errors, *self.requests]
        faults += [f"{seen[0]} broken pictures"] if seen[0] else []
        return faults + ([f"{seen[1]} pixels wide"] if seen[1] > width else [])


@contextmanager
def visit(file: Path, width: int) -> Iterator[Visit]:
    """A file's page in a window of a width in pixels."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 900})
        errors: list[str] = []
        requests: list[str] = []
        address = file.as_uri()
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(("data:", address)) else requests.append(asked.url)
            ),
        )
        page.goto(address)
        yield Visit(page, errors, requests)
