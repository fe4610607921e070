"""`sightline report`, as it is typed: what it writes, says and returns; what it serves while one goes on."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

import sightline as sl
from sightline.cli import main
from tests.harness import free_port, until
from tests.report.conftest import Opened, browser, look  # noqa: F401 - fixtures
from tests.report.runs import RunFiles, full_run

COMMAND = [sys.executable, "-c", "from sightline.cli import main; main()", "report"]


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def answer(*arguments: str | Path, code: int = 0) -> Any:
    said = invoke(*arguments, "--json")
    assert said.exit_code == code, said.output
    return orjson.loads(said.stdout)


def real_run(folder: Path, name: str = "run") -> Path:
    with sl.start(folder, name=name, sinks=[], naming="off") as run:
        for step in run.steps(6):
            with sl.scope("train"), sl.record_timing("update"):
                sl.scalar(loss=1 / (step + 1))
            sl.sample("rollouts", prompt="p" * 5000, reward=float(step))
            run.commit(step)
    return folder / name


def test_a_real_run_becomes_one_file(tmp_path: Path) -> None:
    """In its directory, with the commands that come next, and nothing in it that leads elsewhere."""
    run = real_run(tmp_path)
    said = invoke(run)
    assert said.exit_code == 0, said.output
    assert str(run / "report.html") in said.stdout
    assert f"sightline trace view {run}" in said.stderr
    page = (run / "report.html").read_text()
    assert "default-src 'none'" in page
    outside = re.compile(r"""(?:src|href)=["'](?!#)""")
    assert outside.search(re.sub(r'<script type="application/octet-stream".*?</script>', "", page)) is None
    assert [path.name for path in run.glob(".report-*")] == []


def test_the_headline_figures_as_data(tmp_path: Path) -> None:
    run = full_run(tmp_path / "run")
    found = answer(run.path, "-o", tmp_path / "out.html")
    assert found["report"] == str(tmp_path / "out.html")
    (figures,) = found["runs"]
    assert (figures["state"], figures["attempts"], figures["last_step"], figures["total_steps"]) == (
        "finished", 2, 59, 60,
    )  # fmt: skip
    assert (figures["best"][0]["key"], figures["best"][0]["value"]) == ("eval/accuracy/mean", 0.625)
    assert sum(figures["kinds"].values()) == pytest.approx(1)
    assert figures["goodput"] == pytest.approx(0.75, abs=0.01)
    assert figures["learnt"]["last"] > figures["learnt"]["first"]
    assert (found["damaged"], found["missing"]) == ([], [])


def test_shares_from_traces_add_up(tmp_path: Path) -> None:
    (figures,) = answer(real_run(tmp_path))["runs"]
    assert sum(figures["kinds"].values()) == pytest.approx(1)
    assert 0 < figures["goodput"] <= 1


def test_a_run_that_was_killed_is_told_from_one_that_ended(tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    assert answer(run.path)["runs"][0]["state"] == "crashed"
    run.finish()
    assert answer(run.path)["runs"][0]["state"] == "finished"


def test_a_line_that_is_cut_or_torn_costs_that_line(tmp_path: Path) -> None:
    """One that is being written is nothing to speak of; a torn one in the middle is said: exit code 1."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    run.write(b'{"type":"comm')
    assert answer(run.path)["runs"][0]["last_step"] == 0
    run.write(b"\n")
    run.commit(1, {"a": 2.0})
    found = answer(run.path, code=1)
    assert found["runs"][0]["last_step"] == 1
    assert "1 line could not be read" in found["damaged"][0]
    assert "damaged: " in invoke(run.path).stderr


def test_files_of_one_of_sixteen_processes(tmp_path: Path) -> None:
    """Said on the page, on stderr, and to programs by exit code 3; with the other directories all is well."""
    run = full_run(tmp_path / "run")
    away = tmp_path / "other-host"
    (away / "logs").mkdir(parents=True)
    for path in sorted((run.path / "logs").iterdir())[1:]:
        path.rename(away / "logs" / path.name)
    found = answer(run.path, code=3)
    assert "files of 1 of 16 processes are here" in found["missing"][0]
    said = invoke(run.path)
    assert said.exit_code == 0
    assert "not here: " in said.stderr
    assert answer(run.path, away)["missing"] == []


def test_what_is_no_run_or_is_of_a_newer_version_is_an_error_in_one_line(tmp_path: Path) -> None:
    said = invoke(tmp_path)
    assert said.exit_code == 2
    assert "no journal" in said.stderr
    newer = RunFiles(tmp_path / "newer")
    newer.begin(format=99)
    newer.commit(0, {"a": 1.0})
    said = invoke(newer.path)
    assert said.exit_code == 2
    assert "99" in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1
    run = full_run(tmp_path / "run")
    assert "given twice" in invoke(run.path, run.path).stderr


def test_full_texts_come_from_the_files_of_samples(tmp_path: Path) -> None:
    from sightline.report.run_data import find_runs
    from sightline.report.sample_rows import sample_tables

    (run,) = find_runs([real_run(tmp_path)])
    run.history.update()
    (table,) = sample_tables(run.history, run.dirs)
    assert table["columns"] == ["step", "prompt", "reward", "process"]
    assert {len(row[1]) for row in table["rows"]} == {5000}


def test_twelve_runs_share_what_one_has(tmp_path: Path) -> None:
    """Names stay apart, also where directories have the same name."""
    runs = [full_run(tmp_path / f"{number}/run", seed=number, steps=30).path for number in range(12)]
    found = answer(*runs, "-o", tmp_path / "out.html")
    assert [each["name"] for each in found["runs"]] == [f"{number}/run" for number in range(12)]


# --- served ------------------------------------------------------------------------------------------------


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
    tmp_path: Path,
    look: Callable[..., Opened],  # noqa: F811
) -> None:
    """Search, open rows and the place on the page stay; the end of the run is said, and of the server."""
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
            opened.until_drawn()
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
            run.finish()
            opened.until("document.getElementById('live').innerText.includes('ended')")
        opened.until("document.getElementById('live').innerText.includes('gone')")
        opened.complaints[:] = [each for each in opened.complaints if "ERR_CONNECTION" not in each]
    until(lambda: (tmp_path / "holder").exists())
