"""What no call has logged: exceptions, warnings, the output of all kinds of code."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import sightline as sl
from sightline.text_logging.output import OutputCapture
from sightline.text_logging.process_logging import TextLogging
from tests.harness import until
from tests.text_logging.logged import QUIET, logged, python, records


def test_uncaught_exceptions_go_into_the_files_and_on_to_the_hooks_before(tmp_path: Path) -> None:
    """Of the main thread, of others, and of the block of a run."""
    code = """
import sys, threading, sightline as sl
heard = []
def hook(kind, error, trace):
    heard.append(kind.__name__)
    print("main hook", kind.__name__)
sys.excepthook = hook
threading.excepthook = lambda args: print("thread hook", args.exc_type.__name__)
def bad(): raise KeyError("in a thread")
try:
    with sl.start("runs", name="r"):
        thread = threading.Thread(target=bad, name="loader")
        thread.start(); thread.join()
        raise RuntimeError("in the block")
except RuntimeError: pass
assert sys.excepthook is hook
run = sl.start("runs", name="s")
raise ValueError("last words")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if "hook" in line] == [
        "thread hook KeyError", "main hook ValueError"
    ]  # fmt: skip
    uncaught = [
        (line["message"], line["exception"].splitlines()[-1])
        for name in "rs"
        for line in records(tmp_path / f"runs/{name}/logs/p00000.a01.jsonl")
        if line["logger"] == "uncaught"
    ]
    assert uncaught == [
        ("uncaught KeyError in loader", "KeyError: 'in a thread'"),
        ("uncaught RuntimeError", "RuntimeError: in the block"),
        ("uncaught ValueError", "ValueError: last words"),
    ]


def test_warnings_go_into_the_files_and_are_shown_as_before(
    logs: TextLogging, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """By whoever showed them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = []
        warnings.showwarning = lambda message, *_, **__: shown.append(str(message))  # type: ignore[assignment]
        inner = sl.setup_file_logging(tmp_path / "inner", "unit.log", config=QUIET)
        warnings.warn("careful", stacklevel=1)
        (line,) = logged(inner, tmp_path / "inner")
        inner.close()
        warnings.warn("after", stacklevel=1)
        assert shown == ["careful", "after"]
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "warnings", "UserWarning: careful")
    assert line["where"].startswith(__file__)


def test_a_hook_that_others_have_put_over_ours_stays(tmp_path: Path) -> None:
    """Ours beneath it only passes on."""
    logs = sl.setup_file_logging(tmp_path, config=QUIET)
    ours = sys.excepthook
    heard: list[str] = []
    try:
        sys.excepthook = lambda kind, error, trace: heard.append("theirs")
        theirs = sys.excepthook
        logs.close()
        assert sys.excepthook is theirs
    finally:
        sys.excepthook = sys.__excepthook__
    assert ours is not theirs


def test_output_of_all_kinds_is_captured_and_still_shown(tmp_path: Path) -> None:
    """Python's, that of C and of child processes; long lines in pieces; both streams as before at the end."""
    code = """
import os, subprocess, sys, sightline as sl
with sl.start("runs", name="r", sinks=[], logging={"capture_output": True}):
    print("from python")
    os.write(2, b"from c\\n")
    subprocess.run(["sh", "-c", "echo from a child; printf 'no end' >&2"])
    os.write(1, b"z" * 200_000 + b"\\nprogress 1\\rprogress 2\\r\\n")
    sl.get_logger("a").info("a log line")
print("afterwards")
"""
    done = python(code, tmp_path)
    assert done.stdout.splitlines()[:2] == ["from python", "from a child"]
    assert done.stdout.endswith("\nafterwards\n")
    assert "z" * 200_000 in done.stdout
    assert "from c\n" in done.stderr
    assert "no end" in done.stderr
    lines = records(tmp_path / "runs/r/logs/p00000.a01.jsonl")
    by_stream = {
        name: [x["message"] for x in lines if x["logger"] == name] for name in ("stdout", "stderr", "a")
    }
    assert by_stream["stdout"][:2] == ["from python", "from a child"]
    assert by_stream["stdout"][-2:] == ["progress 1", "progress 2"]
    assert sum(text.count("z") for text in by_stream["stdout"]) == 200_000
    assert by_stream["stderr"] == ["from c", "no end"]
    assert by_stream["a"] == ["a log line"]


def test_last_words_of_an_abort_are_shown_and_kept(tmp_path: Path) -> None:
    """What C writes before it ends the process, and what a child writes that lives longer."""
    code = """
import os, subprocess, sightline as sl
sl.start("runs", name="r", sinks=[], logging={"capture_output": True})
subprocess.Popen(["sh", "-c", "while [ ! -e go ]; do sleep 0.05; done; echo outlived"])
os.write(2, b"terminate called\\n")
os.abort()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.wait(120) == -signal.SIGABRT
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=120)
    assert out == "outlived\n"
    assert "terminate called\n" in err
    folder = tmp_path / "runs/r/logs"
    assert (folder / "p00000.a01.stdout").read_text() == "outlived\n"
    assert "terminate called\n" in (folder / "p00000.a01.stderr").read_text()


def test_output_of_a_run_that_never_gets_a_name_is_shown_and_leaves_no_file(tmp_path: Path) -> None:
    code = """
import os, time, sightline as sl
class Unanswered(sl.Transport):
    process, processes = 1, 2
    def post(self, channel, payload): ...
    def poll(self, channel): return []
    def publish(self, name, value): ...
    def lookup(self, name, timeout): time.sleep(0.02)
run = sl.start("runs", sinks=[], logging={"capture_output": True}, transport=Unanswered())
print("shown", flush=True)
while not any("stdout" in name and os.path.getsize(f"runs/{name}") for name in os.listdir("runs")):
    time.sleep(0.01)
run.finish(0.1)
print("afterwards")
"""
    assert python(code, tmp_path).stdout == "shown\nafterwards\n"
    assert list((tmp_path / "runs").iterdir()) == []


def test_earlier_output_under_a_name_is_kept_beside_it(tmp_path: Path) -> None:
    """Of a process that was restarted in the same attempt."""
    known: list[Path] = []
    (tmp_path / "a.stdout").write_text("earlier\n")
    (tmp_path / "a.0000.stdout").write_text("earliest\n")
    kept: list[logging.LogRecord] = []
    capture = OutputCapture(
        lambda name: tmp_path / f"a.{name}" if known else None,
        lambda name: tmp_path / f".{name}",
        kept.append,
        keep_bytes=1 << 20,
    )
    os.write(1, b"early\n")
    until(lambda: kept, "the first line")
    known.append(tmp_path)
    until((tmp_path / "a.0001.stdout").exists, "the move")
    os.write(1, b"late\n")
    capture.restore()
    assert [(tmp_path / name).read_text() for name in ("a.0000.stdout", "a.0001.stdout", "a.stdout")] == [
        "earliest\n", "earlier\n", "early\nlate\n",
    ]  # fmt: skip
    assert [record.getMessage() for record in kept] == ["early", "late"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
