"""A real browser, headless, that reaches nothing but what it is given."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sightline.report import gather, page
from tests.report.runs import RunFiles, full_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 120_000


@dataclass
class Opened:
    """A page, and what it has done.

    Attributes:
        page: Playwright's.
        complaints: errors, and what the console said of warnings and errors.
        requests: addresses of all that it asked for, the page itself included.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def until(self, condition: str) -> None:
        """Waits for a condition in JavaScript; asked from outside, as the policy of the page wants it."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"waited in vain for {condition}"
            self.page.wait_for_timeout(50)

    def until_drawn(self) -> None:
        """Waits for the curves that are in view."""
        self.page.evaluate("document.getElementById('metrics').scrollIntoView()")
        self.until("document.querySelectorAll('#metrics .plot .scatterlayer path.js-line').length > 0")


Look = Callable[..., Opened]


@pytest.fixture(scope="module")  # its event loop must not be there for others
def browser() -> Iterator[Any]:
    assert CHROMIUM is not None, "there is no chromium: make tools, or on Debian apt-get install chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield found
        found.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Opens a file, or an address of the loopback, and afterwards checks that nothing was complained of."""
    contexts = []
    pages: list[Opened] = []

    def opened(at: Path | str, **options: Any) -> Opened:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        contexts.append(context)
        found = Opened(context.new_page())
        pages.append(found)
        page = found.page
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("pageerror", lambda error: found.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (found.complaints.append("a dialog"), dialog.dismiss()))
        page.on(
            "console",
            lambda said: (
                said.type in ("error", "warning") and found.complaints.append(f"{said.type}: {said.text}")
            ),
        )
        page.goto(at if isinstance(at, str) else at.as_uri())
        page.wait_for_selector("#overview .card")
        return found

    yield opened
    for context in contexts:
        context.close()
    for each in pages:
        assert each.complaints == []
        for url in each.requests:
            assert url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:")), url


def made(folder: Path, *runs: RunFiles, name: str = "report.html") -> Path:
    found = gather([run.path for run in runs])
    path = folder / name
    path.write_bytes(page(found.names, found.data))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return made(folder, full_run(folder / "run"))
