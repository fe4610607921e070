"""`sightline logs`, as it is typed, on the files of real runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import sightline as sl
from tests.cli import log_workers as script
from tests.cli.typed_logs import COMMAND, PYTHONPATH, logs, messages
from tests.harness import Workers, free_port, until, workers_of
from tests.run_logs.written import S, Written
from tests.terminals import on_terminal


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with workers_of(script.__file__, tmp_path) as started:
        yield started


def test_processes_whose_clocks_are_wrong_speak_in_true_order(workers: Workers, tmp_path: Path) -> None:
    """The other one's steady clock is 250 ms ahead and 50 ppm too fast, its time of day minutes off."""
    (tmp_path / "shared").mkdir()
    job = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2", **PYTHONPATH}
    clocks = ["0,0,0", "250000000,50,300000000000"]
    both = [
        workers.start(
            "turns", disk=f"p{p}", env={**job, "JAX_PROCESS_ID": str(p), "CLOCK": clocks[p]},
            turns=100, shared=str(tmp_path / "shared"),
        )
        for p in range(2)
    ]  # fmt: skip
    for worker in both:
        worker.wait()
    dirs = [worker.disk / "runs" / "run" for worker in both]
    done = logs(*dirs, "--json", "--grep", "turn")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["message"] for line in lines] == [f"turn {turn}" for turn in range(100)]
    assert [line["process"] for line in lines] == [0, 1] * 50
    assert all(abs(line["time"] - line["corrected_time"] - 300 * line["process"]) < 1 for line in lines)
    assert lines[1].keys() - {"corrected_time"} == lines[0].keys() - {"corrected_time"}

    alone = logs(dirs[1], "--json")
    assert alone.returncode == 3
    missing = f"{dirs[1]}: files of 1 of 2 processes are here, without process 0"
    last = {"type": "missing", "missing": [missing], "processes": {"1": [0]}}
    assert json.loads(alone.stdout.splitlines()[-1]) == last
    assert f"missing: {missing}" in alone.stderr
    assert "next: sightline collect" in alone.stderr
    assert logs(dirs[1]).returncode == 0


def test_killed_attempts_are_shown_with_all_whole_lines(workers: Workers) -> None:
    """Killed in the middle of a write, twice; rotated meanwhile."""
    run_dir = workers.disk("p0") / "runs" / "run"
    files = run_dir / "logs"
    for attempt in (1, 2):
        worker = workers.start("endless", env=PYTHONPATH, segment_bytes=20_000)
        full = f"p00000.a0{attempt}.*.jsonl"
        until(lambda full=full: len(list(files.glob(full))) > 3)  # type: ignore[misc]
        worker.kill()
    cut = max(files.glob("p00000.a01.0*.jsonl"))
    cut.write_bytes(cut.read_bytes()[:-10])  # and as a full disk leaves one
    done = logs(run_dir, "--json")
    assert done.returncode == 0
    assert f"note: {cut}: its last line is cut, as a kill leaves it" in done.stderr
    for attempt in (1, 2):
        of_it = messages(logs(run_dir, "--json", "--attempt", attempt, "--grep", "line").stdout)
        numbers = [int(message.split()[1]) for message in of_it]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] + 1 - len(numbers) == (1 if attempt == 1 else 0)
    killed = logs(run_dir, "--level", "error").stdout.splitlines()
    assert len(killed) == 2, killed
    for attempt, line in enumerate(killed, 1):
        assert f"[a{attempt}] ERROR run: attempt {attempt} ended without saying so; last heard " in line
    assert messages(logs(run_dir, "--json", "-n", "3", "--grep", "line").stdout) == of_it[-3:]


@contextmanager
def follow(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--follow"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **PYTHONPATH},
    ) as following:  # fmt: skip
        try:
            yield following
        finally:
            following.kill()


def test_a_run_is_followed_to_its_end_over_rotated_files(workers: Workers) -> None:
    job = workers.start_job(2, "talk", env=PYTHONPATH, lines=60, pause_s=0.05, segment_bytes=1500)
    dirs = [worker.disk / "runs" / "run" for worker in job]
    until(lambda: all(each.is_dir() for each in dirs) and (dirs[0] / "metrics.jsonl").exists())
    with follow(*dirs, "--json") as following:
        out, err = following.communicate(timeout=120)
    job.wait()
    assert following.returncode == 0, err
    lines = [line for line in map(json.loads, out.splitlines()) if line.get("logger") == "talk"]
    assert len(list(dirs[1].glob("logs/*.jsonl"))) > 3
    for process in range(2):
        of_it = [line["message"] for line in lines if line["process"] == process]
        assert of_it == [f"line {step}" for step in range(60)]
    assert json.loads(out.splitlines()[-1])["event"] == "finish"


def test_following_shows_new_attempts_new_processes_and_late_lines(tmp_path: Path) -> None:
    """Files come by copying, as `collect` brings them; Ctrl-C ends it with 130."""
    run = Written(tmp_path, processes=3).say(100 * S, "first").write()
    with follow(run) as following:
        assert following.stdout is not None
        assert "first" in following.stdout.readline()
        Written(run, 1, processes=3).say(50 * S, "late").write()
        assert "[p1] INFO talk: late" in following.stdout.readline()
        Written(run, 2, processes=3, attempt=2).say(200 * S, "of another attempt").write()
        assert "[p2 a2] INFO talk: of another attempt" in following.stdout.readline()
        twin = Written(tmp_path / "copy", 0, processes=3).say(100 * S, "first").write()  # beside the first
        assert not logs(run, twin, "--json", "--process", "0").stdout.count("first") - 1
        grown = Written(run, 1, processes=3).say(50 * S, "late").say(51 * S, "longer")
        grown.write("part")
        os.replace(grown.path.with_name("part"), grown.path)
        assert "longer" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(60) == 130
        assert following.stderr is not None
        assert "the root's journal is not here" in following.stderr.read()


def test_a_root_that_died_is_told_and_its_next_attempt_is_followed(workers: Workers) -> None:
    worker = workers.start("endless", env=PYTHONPATH)
    until(lambda: worker.notes("started"))
    run_dir = worker.disk / "runs" / "run"
    worker.kill()
    with follow(run_dir, "--grep", "attempt 2") as following:
        assert following.stderr is not None
        assert "has ended without finishing the run; still following" in following.stderr.readline()
        workers.start("talk", env=PYTHONPATH, lines=2, resume="allow").wait()
        out, _ = following.communicate(timeout=120)
        assert following.returncode == 0
        assert "attempt 2 begins" in out
        assert "attempt 2 ends" in out


def test_a_run_that_has_ended_is_followed_at_once_to_its_end(tmp_path: Path) -> None:
    """An empty run, of no steps; and one of a single step."""
    for name, steps in (("empty", 0), ("one", 1)):
        with sl.start(tmp_path, name=name, sinks=[], naming="off", logging={"console_processes": "9"}) as run:
            for step in run.steps(steps):
                sl.get_logger("talk").info("step %d", step)
                run.commit(step)
        done = logs(tmp_path / name, "--follow")
        assert done.returncode == 0
        assert ("step 0" in done.stdout) == (steps == 1)
        assert done.stdout.splitlines()[-1].endswith("INFO run: attempt 1 ends")


def test_a_crashed_run_tells_why(workers: Workers) -> None:
    worker = workers.start("crash", env=PYTHONPATH)
    worker.wait(1)
    done = logs(worker.disk / "runs" / "run", "--level", "error")
    assert "CRITICAL uncaught: uncaught ValueError\n    | Traceback" in done.stdout
    assert "ERROR sightline: the run ends by ValueError: no more data" in done.stdout
    assert "step 0" not in done.stdout


def test_one_of_sixteen(tmp_path: Path) -> None:
    run = Written(tmp_path, 3, processes=16).say(1, "one").end().write()
    done = logs(run)
    assert (done.returncode, "[p3] INFO talk: one" in done.stdout) == (0, True)
    assert "files of 1 of 16 processes are here, without processes 0-2, 4-15" in done.stderr
    assert logs(run, "--json").returncode == 3
    assert logs(run, "--json", "--process", "3").returncode == 0
    for arguments, said in (
        (["--process", "16"], "which has processes 0 to 15"),
        (["--attempt", "2"], "has 1"),
    ):
        done = logs(run, *arguments)
        assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True)


def test_a_crash_is_said_at_the_end_and_a_folder_of_runs_names_them(tmp_path: Path) -> None:
    """A process that was killed could not write that."""
    script = (
        "import os, sys, sightline as sl\n"
        "run = sl.start(sys.argv[1], name='one', sinks=[], naming='off')\n"
        "sl.scalar(a=1.0); run.commit(0); run.flush(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, capture_output=True)
    done = logs(tmp_path / "one")
    assert done.returncode == 0
    assert "note: the run has crashed: " in done.stderr
    done = logs(tmp_path)
    assert (done.returncode, "it has runs: latest, one" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--process", "x"], "--process 'x': expected numbers and ranges, as in 0,3-5"),
        (["--step", "60-40"], "--step '60-40': the last one is below the first: expected numbers and ranges"),
        (["--since", "soon"], "--since 'soon': expected a duration"),
        (["--level", "loud"], "--level: 'loud' is no level"),
        (["--grep", "["], "--grep '[' is no regular expression"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = logs(Written(tmp_path).write(), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_log_of_a_newer_format_is_a_problem_and_no_run_an_error(tmp_path: Path) -> None:
    log = Written(tmp_path / "new")
    log.data = log.data.replace(b'"format":1', b'"format":7')
    Written(log.write(), 1).say(S, "of now").write()
    done = logs(tmp_path / "new")
    assert (done.returncode, "of now" in done.stdout) == (1, True)
    assert f"problem: {log.path}: it has format 7" in done.stderr
    done = logs(tmp_path / "none")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "is no directory" in done.stderr


def test_a_root_that_has_a_journal_and_no_files_yet_is_here(tmp_path: Path) -> None:
    """As one that was killed behind `sl.start`; not so the others."""
    run = b'{"type":"run","format":1,"run_id":"r1","attempt":1,"started":1700000000,"processes":%d}\n'
    for processes, code in ((1, 0), (2, 3)):
        (tmp_path / "metrics.jsonl").write_bytes(run % processes)
        done = logs(tmp_path, "--json")
        assert done.returncode == code, done.stderr
    assert "files of 1 of 2 processes are here, without process 1" in done.stderr


HOSTILE = [
    "\x1b[2J\x1b]0;title\x07",
    "\u202ertl \u2066",
    "\x9b31m",
    "\r\noverwritten",
    "\x00\x7f",
    "א ב",
    "x" * 10**6,
]


def hostile(tmp_path: Path) -> Path:
    log = Written(tmp_path, processes=2)
    for i, each in enumerate(HOSTILE):
        log.say(i * S, each, ("INFO", "WARNING", "ERROR")[i % 3], f"talk.{i}", fields={each[:9]: each[:99]})
    log.data += b'{"time":1,"level":"INFO","message":"\\ud800"}\n'
    log.say(90 * S, "last").write()
    Written(tmp_path, 1, processes=2).say(90 * S, "last").write()
    return tmp_path


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_has_colours_and_no_message_acts_on_it(tmp_path: Path, columns: int) -> None:
    run = hostile(tmp_path)

    def show(**environment: str) -> str:
        said = on_terminal([*COMMAND, run], columns=columns, code=1, **PYTHONPATH, **environment)
        return said.decode()

    shown = show()
    assert set(re.findall(r"\x1b.{0,4}?[A-Za-z]", shown)) <= set(re.findall(r"\x1b\[[\d;]*m", shown))
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e\u2066]", plain)
    assert "characters more; --json has all" in plain
    assert "INFO talk: last  ×2 processes" in plain
    assert show(NO_COLOR="1") == plain
    assert show(TERM="dumb") == plain


def test_a_screen_stays_what_it_is(tmp_path: Path) -> None:
    """In tmux, whose screen shows what a terminal makes of it."""
    tmux = shutil.which("tmux")
    assert tmux is not None, "there is no tmux: make tools, or on Debian apt-get install tmux"
    socket = str(tmp_path / "tmux")
    command = " ".join(map(str, [*COMMAND, hostile(tmp_path / "run"), "2>&1; echo DONE-$?; sleep 600"]))

    def on(*arguments: str) -> str:
        return subprocess.run(
            [tmux, "-S", socket, "-f", "/dev/null", *arguments], capture_output=True, text=True, check=True,
            env={**os.environ, **PYTHONPATH, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        ).stdout  # fmt: skip

    on("new-session", "-d", "-x", "80", "-y", "50", command)
    try:
        until(lambda: "DONE-" in on("capture-pane", "-p"))
        text = on("capture-pane", "-p", "-S", "-200")
        title = on("display-message", "-p", "#{pane_title}")
    finally:
        on("kill-server")
    assert r"INFO talk.0: \x1b[2J\x1b]0;title\x07" in text
    assert "DONE-1" in text  # a line of it is none
    assert "title" not in title


def test_a_reader_that_goes_ends_it_quietly(tmp_path: Path) -> None:
    log = Written(tmp_path)
    for i in range(20_000):
        log.say(i, f"line {i}")
    done = subprocess.run(
        f"{' '.join(COMMAND)} {log.write()} | head -n 1",
        shell=True, capture_output=True, text=True, env={**os.environ, **PYTHONPATH}, timeout=60,
    )  # fmt: skip
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_an_encoding_that_cannot_show_a_line_shows_it_escaped(tmp_path: Path) -> None:
    done = logs(Written(tmp_path).say(1, "größer ×").write(), PYTHONIOENCODING="ascii")
    assert r"gr\xf6\xdfer \xd7" in done.stdout


def test_since_with_nothing_to_show_says_how_it_counts(tmp_path: Path) -> None:
    run = Written(tmp_path).say(1, "old").write()
    done = logs(run, "--since", "10m")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no line fits what was asked for; --since 10m counts from now" in done.stderr
    assert "old" in logs(run, "--since", time.strftime("%Y-%m-%d", time.gmtime(0))).stdout
