"""The live view, in a real terminal, on runs that are written meanwhile."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.harness import Worker, Workers, until, workers_of
from tests.tmux import Pane, pane
from tests.watching import journals
from tests.watching.journals import commit, rich_run, run_line

WATCH = [sys.executable, "-m", "sightline.cli", "watch"]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(journals.__file__, tmp_path) as started:
        yield started


def running(workers: Workers, *, commits: int = 5, attempt: int = 1, keys: int = 1) -> tuple[Worker, Path]:
    """A run that has made its commits and waits."""
    folder = workers.disk("runs")
    worker = workers.start(
        "write_slowly", disk="p0", env=path(), folder=str(folder), name="grpo", commits=commits,
        attempt=attempt, keys=keys,
    )  # fmt: skip
    until(lambda: (folder / f"committed{attempt}").exists() or worker.popen.poll() is not None, worker.output)
    return worker, folder / "grpo"


def path() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def watching(
    run: Path, *more: str, size: tuple[int, int] = (80, 40), **env: str
) -> AbstractContextManager[Pane]:
    return pane(*WATCH, str(run), *more, size=size, **path(), **env)


def test_a_run_is_followed_as_it_goes(workers: Workers) -> None:
    """At 80 columns and at 200, and between; what a sample holds does nothing to the terminal."""
    _, run = running(workers)
    with watching(run) as terminal:
        title = terminal.ask("pane_title")
        seen = terminal.shows("grpo   ● running", "step 4 of 999", "train/loss", "prompt 4", "q quit")
        assert "metrics ──" in seen
        (run.parent / "next5").touch()
        terminal.shows("step 5 of 999", "prompt 5")
        terminal.resize(200, 30)
        seen = terminal.shows("step 5 of 999", "q quit")
        wide = until(lambda: re.search(r"^metrics ─.*samples: rollouts ─", terminal.text, re.MULTILINE))
        assert wide
        terminal.resize(60, 12)
        until(lambda: "samples" not in terminal.text and "train/loss" in terminal.text)
        (run.parent / "next6").touch()
        terminal.shows("step 6 of 999")
        assert terminal.ask("pane_title") == title
        assert terminal.ask("alternate_on") == "1"
        terminal.type("q")
        assert terminal.ended() == 0
        terminal.resize(100, 12)
        terminal.shows("grpo: running, step 6 of 999 (0 %)", "next: sightline watch")


def test_keys_choose_the_metrics(workers: Workers) -> None:
    _, run = running(workers, keys=30)
    with watching(run, size=(80, 24)) as terminal:
        terminal.shows("train/loss", "more/key00")
        terminal.type("/")
        terminal.type("k", "E", "y", "2", "x", "BSpace", "7")
        seen = terminal.shows("/kEy27", "metrics with 'kEy27'", "more/key27")
        assert "more/key00" not in seen
        terminal.type("Enter")
        terminal.shows("esc no filter")
        terminal.type("Escape")
        terminal.shows("train/loss", "more/key00")
        terminal.type("a")
        terminal.shows("all 31 metrics", "more below")
        terminal.type("End")
        until(lambda: "train/loss" not in terminal.text and "more/key29" in terminal.text)
        terminal.type("Up", "Up", "Down", "Down", "Down", "NPage")  # there is no further
        seen = terminal.shows("more/key29")
        rows = seen.count("more/key")
        assert rows > 5
        assert "more below" not in seen.split("─ steps")[0]
        terminal.type("Home")
        terminal.shows("train/loss", "more/key00")
        terminal.type("NPage")
        until(lambda: terminal.text.count("more/key") == rows and f"more/key{rows - 1:02}" in terminal.text)
        terminal.type("PPage", "Down", "Down", "Up", "Down")
        until(lambda: "more/key00" not in terminal.text and "more/key01" in terminal.text)
        terminal.type("End")
        until(lambda: "more/key29" in terminal.text)
        terminal.resize(80, 40)  # and no row stays empty
        until(lambda: terminal.text.count("more/key") > rows and "more/key29" in terminal.text)
        terminal.type("q")
        assert terminal.ended() == 0


def test_the_view_ends_with_the_run(workers: Workers) -> None:
    """And leaves the whole picture, and what comes next."""
    worker, run = running(workers)
    with watching(run, size=(80, 60)) as terminal:
        terminal.shows("● running")
        (run.parent / "end").touch()
        worker.wait()
        assert terminal.ended() == 0
        assert "✓ finished" in terminal.shows("train/loss", "next: sightline")


def test_a_killed_run_is_seen_and_its_next_attempt_too(workers: Workers) -> None:
    worker, run = running(workers)
    with watching(run) as terminal:
        terminal.shows("● running")
        worker.signal(signal.SIGKILL)
        worker.wait(-signal.SIGKILL)
        terminal.shows("✗ crashed", "its journal has no end")
        running(workers, attempt=2)
        terminal.shows("● running", "attempt 2")
        terminal.type("q")
        assert terminal.ended() == 0


def test_a_stalled_run_says_who_is_waited_for(workers: Workers, tmp_path: Path) -> None:
    worker = workers.start("hold_stalled", env=path(), folder=str(tmp_path), name="run")
    until((tmp_path / "committed1").exists, worker.output)
    with watching(tmp_path / "run", size=(120, 30)) as terminal:
        terminal.shows("◐ stalled", "4 processes", "no commit for", "step 20 waits for processes 2, 3")


def test_a_run_that_has_ended_is_shown_once(tmp_path: Path) -> None:
    run = rich_run(tmp_path / "run")
    with watching(run, size=(80, 70)) as terminal:
        assert terminal.ended() == 0
        assert "✗ crashed" in terminal.shows("next: sightline")
    with watching(run, "--stay") as terminal:
        terminal.shows("✗ crashed", "q quit")
        terminal.type("q")
        assert terminal.ended() == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_the_terminal_as_it_was(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with watching(rich_run(tmp_path / "run"), "--stay") as terminal:
        terminal.shows("q quit")
        terminal.signal(number)
        assert terminal.ended() == code


def test_a_stopped_view_gives_the_terminal_back_and_takes_it_again(tmp_path: Path) -> None:
    """After Ctrl-Z, and after a stop that it cannot notice."""
    run = rich_run(tmp_path / "run")
    with pane("bash", "--norc", "-i", **path()) as terminal:
        terminal.shows("bash-")
        modes = "stty -g | cksum"
        terminal.type(modes, "Enter")
        before = until(lambda: re.search(r"^\d+ \d+$", terminal.text, re.MULTILINE))
        terminal.type(f"{' '.join(WATCH)} {run} --stay", "Enter")
        terminal.shows("q quit")
        terminal.type("C-z")
        terminal.shows("Stopped")
        assert terminal.ask("alternate_on") == "0"
        assert terminal.ask("cursor_flag") == "1"
        terminal.type("clear", "Enter")
        until(lambda: "Stopped" not in terminal.text)
        terminal.type(modes, "Enter")
        terminal.shows(before[0])
        terminal.type("fg", "Enter")
        terminal.shows("train/loss", "q quit")
        assert terminal.ask("alternate_on") == "1"
        viewer = child_of(terminal.process)
        os.kill(viewer, signal.SIGSTOP)
        terminal.shows("Stopped")
        terminal.type("clear", "Enter", "fg", "Enter")
        terminal.shows("train/loss", "q quit")
        terminal.type("q")
        terminal.shows("next: sightline")
        assert terminal.ask("alternate_on") == "0"
        terminal.type("exit", "Enter")
        assert terminal.ended() == 0


def child_of(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def test_an_error_while_it_shows_is_a_line_on_a_terminal_as_it_was(tmp_path: Path) -> None:
    """An attempt of a newer version begins."""
    run = rich_run(tmp_path / "run")
    with watching(run, "--stay") as terminal:
        terminal.shows("q quit")
        with open(run / "metrics.jsonl", "ab") as file:
            file.write(run_line(2, format=9) + commit(60, {}, attempt=2))
        assert terminal.ended() == 2
        assert "sightline watch: " in terminal.shows("format 9")
        assert "Traceback" not in terminal.text


def test_colours_are_left_out_where_nobody_wants_them(tmp_path: Path) -> None:
    run = rich_run(tmp_path / "run")
    colour = re.compile(r"\x1b\[[0-9;]*(3[1-7]|9[0-7]|38;)")
    with watching(run, "--stay") as terminal:
        terminal.shows("q quit")
        assert colour.search(terminal.coloured)
    with watching(run, "--stay", NO_COLOR="1") as terminal:
        terminal.shows("q quit")
        assert not colour.search(terminal.coloured)


def test_a_terminal_that_takes_no_unicode_has_plain_characters(tmp_path: Path) -> None:
    with watching(rich_run(tmp_path / "run"), "--stay", PYTHONIOENCODING="ascii") as terminal:
        assert terminal.shows("CRASHED", "train/loss").isascii()


def test_a_terminal_that_is_held_holds_up_nobody(tmp_path: Path) -> None:
    """Ctrl-S in the middle; a signal ends it all the same."""
    run = rich_run(tmp_path / "run")
    with watching(run, "--stay") as terminal:
        terminal.shows("q quit")
        terminal.type("C-s")
        terminal.resize(100, 30)  # which wants all drawn again
        viewer = terminal.process
        os.kill(viewer, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{viewer}").exists())


def test_several_views_disturb_neither_each_other_nor_the_run(workers: Workers) -> None:
    worker, run = running(workers)
    with watching(run) as one, watching(run, "-m", "more/*") as other:
        one.shows("train/loss")
        other.shows("more/key00")
        (run.parent / "next5").touch()
        one.shows("step 5 of")
        other.shows("step 5 of")
        (run.parent / "end").touch()
        worker.wait()
        assert (one.ended(), other.ended()) == (0, 0)
