"""Every command that reads runs, on runs in every state: one line says what is wrong, nothing is touched."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner, Result

import sightline as sl
from sightline.cli import main
from sightline.timeline.formats import check_is_trace
from tests.harness import until
from tests.tables.recorded_runs import rewound

_DOCUMENTED = (0, 1, 2, 3)
_HOSTILE = "a b\x1b[31m"

_RUN = """
import logging, sys, time
from pathlib import Path
import sightline as sl
with sl.start(sys.argv[1], name=sys.argv[2], sinks=[], naming="off") as run:
    for step in run.steps(5):
        if step == 3:
            break
        with sl.session(task=step) as session, sl.record_timing("rollout"):
            sl.scalar(loss=1.0 / (step + 1))
            sl.sample("rollouts", prompt="p", completion="c", reward=1.0)
            session.accept()
        logging.getLogger("sightline.train").warning("slow in step %d", step)
        run.commit(step)
    run.flush()
    def written(kind):
        return b"".join(path.read_bytes() for path in Path(run.dir, kind).glob("p*"))
    while not (b"slow in step 2" in written("logs") and written("traces").count(b"rollout") >= 3
               and written("sessions")):
        time.sleep(0.02)
    Path(sys.argv[1], "ready").touch()
    time.sleep(600)
"""


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    return subprocess.Popen([sys.executable, "-c", _RUN, str(folder), name], stderr=subprocess.DEVNULL)


def edited(run: Path, to: Path, pattern: str, old: bytes, new: bytes) -> Path:
    """A copy of a run, with other bytes in some of its files."""
    shutil.copytree(run, to)
    for path in to.glob(pattern):
        data = path.read_bytes()
        assert old in data, path
        path.write_bytes(data.replace(old, new))
    return to


def into_all(run: Path, to: Path, what: bytes, *, at: int | None) -> Path:
    """A copy of a run, with something put behind so many lines of each of its files; None: at their ends."""
    shutil.copytree(run, to)
    for kind in ("metrics.jsonl", "logs/*.jsonl", "traces/*.json", "sessions/*.jsonl", "samples/*.jsonl"):
        (path,) = to.glob(kind)
        lines = path.read_bytes().splitlines(keepends=True)
        assert len(lines) > 3, (path, lines)
        lines.insert(len(lines) if at is None else at, what)
        path.write_bytes(b"".join(lines))
    return to


def one_of_16(run: Path, to: Path, *, process: int) -> Path:
    """What is on one host of a job of sixteen: with the journal if that is the root's."""
    shutil.copytree(run, to)
    (to / "metrics.jsonl").write_bytes(
        (run / "metrics.jsonl").read_bytes().replace(b'"processes":1,', b'"processes":16,')
    )
    if process:
        for name in ("metrics.jsonl", "run.json"):
            (to / name).unlink()
    for path in to.glob("*/*p00000.*"):
        data = path.read_bytes().replace(b'"process":0', b'"process":%d' % process)
        data = data.replace(b'"processes":1,', b'"processes":16,').replace(
            b'"processes":1}', b'"processes":16}'
        )
        path.unlink()
        path.with_name(path.name.replace("p00000", f"p{process:05d}")).write_bytes(data)
    return to


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for each run: real ones, of which one is killed and one goes on, and damaged copies."""
    root = tmp_path_factory.mktemp("every")
    running = [start(root / name, "run") for name in ("live", "killed", "writing")]
    try:
        (root / "empty").mkdir()
        (root / "empty" / "run").mkdir()
        for name, steps in (("no-commits", 0), ("one-step", 1), ("fine", 4)):
            with sl.start(root / name, name="run", sinks=[], naming="off") as run:
                for step in run.steps(steps):
                    with sl.record_timing("rollout"):
                        sl.scalar(loss=1.0)
                    run.commit(step)
        with sl.start(root / "no-steps", name="run", sinks=[], naming="off") as run:
            sl.scalar(loss=1.0)
            run.commit(0)
        edited(
            root / "no-commits" / "run", root / "failed-start" / "run", "metrics.jsonl",
            b'"processes":1,', b'"processes":2,',
        )  # fmt: skip
        journal = root / "failed-start" / "run" / "metrics.jsonl"
        journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])  # killed before the end
        rewound(root / "rewound", "run")
        for each, name in zip(running, ("live", "killed", "writing"), strict=True):
            until(lambda name=name, each=each: (root / name / "ready").exists() or each.poll() is not None)
        running[1].send_signal(signal.SIGKILL)
        running[1].wait()
        running[2].send_signal(signal.SIGSTOP)  # so that none of its threads goes on behind these
        for path in (root / "writing" / "run").glob("**/*.json*"):
            if path.name != "run.json":
                with open(path, "ab") as file:
                    file.write(b'{"type":"commit","seq":9,"st')
        killed = root / "killed" / "run"
        into_all(killed, root / "cut" / "run", b'{"type":"commit","seq":9,"st', at=None)
        into_all(killed, root / "torn" / "run", b'{"type":"commit","seq":2,\x00\xff"\n', at=2)
        one_of_16(killed, root / "root-of-16" / "run", process=0)
        shutil.copytree(root / "fine" / "run", root / "without-facts" / "run")
        (root / "without-facts" / "run" / "run.json").unlink()
        one_of_16(killed, root / "third-of-16" / "run", process=3)
        old, new = b'"format":1', b'"format":9'
        edited(killed, root / "newer-journal" / "run", "metrics.jsonl", old, new)
        edited(killed, root / "newer-logs" / "run", "logs/*.jsonl", old, new)
        edited(killed, root / "newer-traces" / "run", "traces/*.json", old, new)
        edited(killed, root / "newer-sessions" / "run", "sessions/*.jsonl", old, new)
        shutil.copytree(killed, root / "hostile" / _HOSTILE)
        yield root
    finally:
        for each in running:
            each.kill()
            each.wait()


RUNS = (
    "absent", "empty", "no-commits", "failed-start", "no-steps", "one-step", "fine", "rewound", "live",
    "writing", "killed", "cut", "torn", "root-of-16", "third-of-16", "newer-journal", "newer-logs",
    "newer-traces", "newer-sessions", "hostile",
)  # fmt: skip

LIVE = ("live", "writing")

Arguments = Callable[[Path, Path, Path], list[str | Path]]

#: Of each command its arguments, by the run, another run that is fine, and a place for what it makes.
COMMANDS: dict[str, Arguments] = {
    "ls": lambda run, fine, out: [run.parent],
    "ls of the run": lambda run, fine, out: [run],
    "compare": lambda run, fine, out: [run, fine],
    "export": lambda run, fine, out: [run, "-o", out / "a.csv"],
    "export of samples": lambda run, fine, out: [run, "-o", out / "a.csv", "--samples", "rollouts"],
    "watch": lambda run, fine, out: [run, *([] if out.name == "json" else ["--once"])],
    "logs": lambda run, fine, out: [run],
    "doctor": lambda run, fine, out: [run],
    "trace summary": lambda run, fine, out: [run],
    "trace diff": lambda run, fine, out: [run, fine],
    "trace merge": lambda run, fine, out: [run, "-o", out / "timeline.json.gz"],
    "report": lambda run, fine, out: [run, "-o", out / "report.html"],
    "sync": lambda run, fine, out: [run, "--to", "jsonl", "--dry-run"],
    "collect": lambda run, fine, out: [out / "collected", run],
}
both_ways = pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
every_command = pytest.mark.parametrize("command", COMMANDS)


def state(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def invoke(name: str, arguments: list[str | Path], *more: str) -> Result:
    words = [*name.partition(" of ")[0].split(), *map(os.fspath, arguments), *more]
    return CliRunner().invoke(main, words, prog_name="sightline")


@both_ways
@every_command
@pytest.mark.parametrize("kind", RUNS)
def test_a_command_on_a_run(folder: Path, tmp_path: Path, kind: str, command: str, as_json: bool) -> None:
    """No traceback, a documented code, one line of error, JSON alone on stdout, and the run as it was."""
    run = folder / kind / (_HOSTILE if kind == "hostile" else "run")
    out = tmp_path / ("json" if as_json else "text")
    out.mkdir()
    before = state(folder / kind) if kind not in (*LIVE, "absent") else {}
    other = folder / ("one-step" if kind == "fine" else "fine") / "run"
    done = invoke(command, COMMANDS[command](run, other, out), *["--json"] * as_json)
    said = f"{done.stdout}\n{done.stderr}"
    assert done.exit_code in _DOCUMENTED, said
    assert "Traceback" not in said
    assert "\x1b" not in said
    lines = done.stderr.splitlines()
    if done.exit_code == 2:
        assert done.stdout == "", said
        assert len(lines) == 1, said
        assert lines[0].startswith(f"sightline {command.partition(' of ')[0]}: "), said
    elif as_json:
        for text in done.stdout.splitlines() if command == "logs" else [done.stdout]:
            orjson.loads(text)
    else:
        assert "next: " in done.stderr, said
    assert "Usage" not in said
    check_next(lines)
    if before:
        now = state(folder / kind)
        if command == "sync":  # it holds the run meanwhile, and says so there
            for each in (before, now):
                each.pop(f"{run.name}/.lock", None)
        assert now == before


def asked(folder: Path, tmp_path: Path, kind: str, command: str, as_json: bool) -> Result:
    out = tmp_path / ("json" if as_json else "text")
    out.mkdir(parents=True)
    arguments = COMMANDS[command](folder / kind / "run", folder / "fine" / "run", out)
    return invoke(command, arguments, *["--json"] * as_json)


@both_ways
@every_command
def test_a_damaged_line_is_a_problem(folder: Path, tmp_path: Path, command: str, as_json: bool) -> None:
    """Said on stderr, and by exit code 1; but `doctor` says it among its findings, and `collect` brings files
    as they are."""
    done = asked(folder, tmp_path, "torn", command, as_json)
    if command == "collect":
        assert (done.exit_code, done.stderr.count("problem: ")) == (0, 0), done.stderr
        return
    assert done.exit_code == 1, done.stderr
    assert ("problem: " in done.stderr) == (command != "doctor"), done.stderr
    assert command != "doctor" or "1 line could not be read" in done.stdout


@both_ways
@every_command
def test_a_cut_last_line_is_no_problem(folder: Path, tmp_path: Path, command: str, as_json: bool) -> None:
    """A kill leaves one: a note tells what that means, wherever the file is read. What `doctor` finds is that
    the run has crashed."""
    done = asked(folder, tmp_path, "cut", command, as_json)
    assert "problem: " not in done.stderr
    is_read = command != "collect"
    said = done.stdout if command == "doctor" else done.stderr
    assert ("as a kill leaves it: that line is lost, and nothing else" in " ".join(said.split())) == is_read
    if as_json and is_read and command not in ("logs", "report", "watch") and "trace" not in command:
        assert '"cut_bytes": 28' in done.stdout
    assert done.exit_code == (1 if command == "doctor" else 0), done.stderr
    if command == "doctor" and as_json:
        found = orjson.loads(done.stdout)["findings"]
        assert {each["check"] for each in found if each["level"] == "wrong"} == {"state"}


@both_ways
@every_command
def test_a_last_line_that_is_being_written_is_nothing_to_tell_of(
    folder: Path, tmp_path: Path, command: str, as_json: bool
) -> None:
    """Of a run that goes on every file may end within a line."""
    done = asked(folder, tmp_path, "writing", command, as_json)
    assert done.exit_code == (2 if command == "sync" else 0), done.stderr
    assert " cut" not in done.stderr
    assert "as a kill leaves it" not in done.stdout
    assert '"cut_bytes": 28' not in done.stdout or command == "doctor"


@both_ways
@every_command
def test_files_of_others_that_are_not_here_are_no_problem(
    folder: Path, tmp_path: Path, command: str, as_json: bool
) -> None:
    """People are told, and programs by exit code 3, where the answer lacks something for it; not where the
    journal says all."""
    done = asked(folder, tmp_path, "root-of-16", command, as_json)
    if command == "doctor":
        return  # the run has crashed
    assert "problem: " not in done.stderr
    journal_does = command in ("ls", "ls of the run", "compare", "export", "sync")
    assert done.exit_code == (3 if as_json and not journal_does else 0), done.stderr
    lines = [each.removeprefix("missing: ") for each in done.stderr.splitlines() if "missing: " in each]
    assert len(lines) == (0 if journal_does else 1)
    assert all("files of 1 of 16 processes are here, without processes 1-15" in each for each in lines)
    if as_json and not journal_does:
        assert missing_in(done) == lines


@both_ways
@every_command
@pytest.mark.parametrize("kind", ["root-of-16", "third-of-16", "without-facts"])
def test_who_ends_with_3_says_what_is_missing(
    folder: Path, tmp_path: Path, kind: str, command: str, as_json: bool
) -> None:
    """In the answer, as on stderr; and people are told the same."""
    done = asked(folder, tmp_path, kind, command, as_json)
    if as_json and done.exit_code == 3:
        said = [
            each.removeprefix("missing: ")
            for each in done.stderr.splitlines()
            if each.startswith("missing: ")
        ]
        assert missing_in(done)
        assert command == "doctor" or missing_in(done) == said
    elif as_json and done.exit_code == 0 and command != "logs":
        assert not orjson.loads(done.stdout).get("missing"), done.stdout


def missing_in(done: Result) -> list[str]:
    """What a program is told; of lines, the last one."""
    found = done.stdout.splitlines()[-1] if done.stdout.startswith('{"') else done.stdout
    missing: list[str] = orjson.loads(found)["missing"]
    assert all(isinstance(each, str) for each in missing)
    return missing


@pytest.mark.parametrize("kind", [each for each in RUNS if each != "absent"])
def test_what_is_named_next_succeeds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Every command that any command names; those of damaged files tell of it, and `doctor` of more."""
    here = folder / kind if kind in LIVE else tmp_path / kind  # a copy of a live run is a crashed one
    if kind not in LIVE:
        shutil.copytree(folder / kind, here)
    run = here / (_HOSTILE if kind == "hostile" else "run")
    shutil.copytree(folder / "fine", tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    named: dict[str, str] = {}
    for command, arguments in COMMANDS.items():
        out = tmp_path / command
        out.mkdir()
        done = invoke(command, arguments(run, tmp_path / "other" / "run", out))
        lines = done.stderr.splitlines()
        begin = next((at for at, line in enumerate(lines) if line.startswith("next: ")), len(lines))
        for line in lines[begin:]:
            named.setdefault(line.removeprefix("next: ").strip(), command)
    assert named
    for text, by in named.items():
        if not text.startswith("sightline ") or " DIR" in text or "--serve" in text:
            continue  # another program's, or one that goes on until Ctrl-C
        shown = subprocess.run(  # as a shell takes it
            ["bash", "-c", f'for each in {text.partition("  #")[0]}; do printf "%s\\0" "$each"; done'],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        words = shown.decode().split("\0")[1:-1]
        if "FROM…" in words:
            other = folder / ("root-of-16" if kind == "third-of-16" else "third-of-16") / "run"
            words[words.index("FROM…")] = str(other)
        if words[:2] == ["trace", "view"]:  # which serves it
            if Path(words[2]).is_file():
                check_is_trace(Path(words[2]))
                continue
            words = ["trace", "merge", *words[2:], "-o", str(tmp_path / "merged.json.gz"), "--force"]
        if words[0] == "report":
            words += ["-o", str(tmp_path / "page.html"), "--force"]
        done = CliRunner().invoke(main, words, prog_name="sightline")
        said = f"{by} names {text}: {done.exit_code}, {done.stderr}"
        if words[0] == "doctor":
            assert done.exit_code in (0, 1), said
        elif done.exit_code == 1:
            assert kind in ("torn", "newer-logs", "newer-sessions", "newer-traces"), said
            assert "problem: " in done.stderr, said
            assert "no steps" not in done.stderr, said
        else:
            assert done.exit_code == 0, said


@pytest.mark.parametrize(
    ("kind", "where"),
    [("newer-logs", "logs/p00000.a01.jsonl"), ("newer-traces", "traces/p00000.a01.0000.json"),
     ("newer-sessions", "sessions/p00000.a01.jsonl")],
)  # fmt: skip
def test_of_files_of_a_newer_version_doctor_tells_and_a_report_leaves_them_out(
    folder: Path, tmp_path: Path, kind: str, where: str
) -> None:
    """All else of the run is shown; the command that mends it is named."""
    done = asked(folder, tmp_path, kind, "report", False)
    (problem,) = [each for each in done.stderr.splitlines() if each.startswith("problem: ")]
    assert done.exit_code == 1
    assert f"{where}" in problem
    assert "has format 9" in problem
    assert "pip install --upgrade sightline" in problem
    done = asked(folder, tmp_path / "doctor", kind, "doctor", True)
    found = [each for each in orjson.loads(done.stdout)["findings"] if each["check"] == "files"]
    assert [each["fix"] for each in found if each["level"] == "wrong"] == ["pip install --upgrade sightline"]
    assert f"1 file is of a newer format, which is not read here: {where} (9)" in found[-1]["what"]


def test_nothing_is_to_be_collected_for_a_start_that_failed(folder: Path, tmp_path: Path) -> None:
    """The other process never began, so that no host has files of it, nor is there a step to go on from."""
    done = asked(folder, tmp_path, "failed-start", "doctor", False)
    assert "without process 1" in done.stdout
    assert "collect" not in done.stdout + done.stderr
    assert "must" not in done.stdout


def test_who_is_missing_after_collecting_is_named_with_what_brings_it(folder: Path, tmp_path: Path) -> None:
    done = asked(folder, tmp_path, "root-of-16", "collect", False)
    assert "files of 1 of 16 processes are here, without processes 1-15" in done.stderr
    assert (
        "brings those of processes 1-15"
        in done.stderr.partition("next: sightline collect ")[2].splitlines()[0]
    )


def check_next(lines: list[str]) -> None:
    """Each command that is named exists, and takes what it is given."""
    begin = next((at for at, line in enumerate(lines) if line.startswith("next: ")), len(lines))
    for line in lines[begin:]:
        text = line.removeprefix("next: ").strip()
        if not text.startswith("sightline ") or "$'" in text:
            continue
        command: click.Command = main
        words = shlex.split(text, comments=True)[1:]
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, text
            command = found
        command.make_context("sightline", words)
