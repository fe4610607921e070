"""What is served while a run goes on, to whom, and how the page follows."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import sightline as sl
from tests.harness import free_port
from tests.report.conftest import Opened
from tests.report.runs import full_run

COMMAND = [sys.executable, "-c", "from sightline.cli import main; main()", "report"]


@contextlib.contextmanager
def served(*arguments: object) -> Iterator[int]:
    """A server of the command, as a process of its own; gives its port."""
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--serve", "--no-open", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/".encode() in process.stdout.readline()
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def asked(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        got = connection.getresponse()
        return got.status, dict(got.getheaders()), got.read()
    finally:
        connection.close()


def test_only_its_own_paths_are_served_and_only_to_its_own_page(tmp_path: Path) -> None:
    run = full_run(tmp_path / "run")
    with served(run.path) as port:
        status, headers, body = asked(port, "/")
        assert status == 200
        assert "connect-src 'self'" in body.decode()
        assert "frame" in headers["X-Frame-Options"].lower() or headers["X-Frame-Options"] == "DENY"
        assert asked(port, "/", "HEAD")[2] == b""
        status, headers, data = asked(port, "/data")
        assert (status, data[:2]) == (200, b"\x1f\x8b")
        assert asked(port, "/data", If_None_Match=headers["ETag"])[0] == 304
        for path in ("/report.html", "/metrics.jsonl", "/../run.json", "/data/x"):
            assert asked(port, path)[0] == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert asked(port, "/data", method)[0] == 501
        for foreign in (
            {"Host": "evil.example"},
            {"Host": f"evil.example:{port}"},
            {"Origin": "http://evil.example"},
        ):
            assert asked(port, "/data", **foreign)[0] == 403
            assert asked(port, "/", **foreign)[0] == 403


def test_the_page_follows_a_run_and_keeps_what_the_reader_has_chosen(
    tmp_path: Path, look: Callable[..., Opened]
) -> None:
    """Search, zoom, open rows and place stay; the end of the run is said, and that of the server."""
    run = full_run(tmp_path / "run", steps=30)
    journal = run.path / "metrics.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))  # its end is yet to come
    with sl.start(tmp_path, name="holder", sinks=[]):
        os.link(tmp_path / "holder" / ".lock", run.path / ".lock")  # as if a process held it
        with served(run.path) as port:
            opened = look(f"http://127.0.0.1:{port}/")
            opened.until("document.getElementById('live').innerText === 'live'")
            opened.page.fill("#metric-search", "train/loss")
            opened.page.locator("#samples button.open").first.click()
            opened.until("document.querySelectorAll('#metrics .chart').length === 1")
            opened.until_drawn()
            area = opened.page.locator("#metrics .plot .nsewdrag").bounding_box()
            opened.page.mouse.move(area["x"] + 30, area["y"] + 40)
            opened.page.mouse.down()
            opened.page.mouse.move(area["x"] + 90, area["y"] + 40, steps=4)
            opened.page.mouse.up()
            opened.until("document.body.classList.contains('zoomed')")
            shown = "document.querySelector('#metrics .plot')._fullLayout.xaxis.range.map(Math.round).join()"
            zoomed = opened.page.evaluate(shown)
            opened.page.evaluate("document.getElementById('samples').scrollIntoView()")
            text = opened.page.inner_text("#samples tr.detail")
            place = opened.page.evaluate("document.getElementById('samples').getBoundingClientRect().top")
            for step in range(30, 40):
                run.commit(step, {"train/loss": 0.1})
            opened.until("document.querySelector('#overview').innerText.includes('39')")
            assert opened.page.input_value("#metric-search") == "train/loss"
            assert opened.page.locator("#metrics .chart").count() == 1
            assert opened.page.inner_text("#samples tr.detail") == text
            moved = (
                opened.page.evaluate("document.getElementById('samples').getBoundingClientRect().top") - place
            )
            assert abs(moved) < 60
            opened.page.evaluate("document.getElementById('metrics').scrollIntoView()")
            opened.until("document.querySelector('#metrics .plot svg.main-svg') !== null")
            assert opened.page.evaluate(shown) == zoomed
            run.finish()
            opened.until("document.getElementById('live').innerText.includes('ended')")
        opened.until("document.getElementById('live').innerText.includes('gone')")
        opened.complaints[:] = [each for each in opened.complaints if "ERR_CONNECTION" not in each]
