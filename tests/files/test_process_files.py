"""The files that each process writes for itself: whole lines, in order, in bounds, whatever the disk does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.files.process_files import Place, ProcessFile, ProcessFiles
from tests.files.queue import Queue
from tests.harness import until

LINES = "{name}.jsonl"


def header(facts: dict[str, Any]) -> bytes:
    return json.dumps({"header": facts}).encode() + b"\n"


@pytest.fixture
def files(tmp_path: Path) -> Iterator[ProcessFiles]:
    place = Place(tmp_path, "r", 1)
    files = ProcessFiles(lambda: place, process=3, processes=4, role="rollout")
    yield files
    files.close(2.0)


def write(files: ProcessFiles, pattern: str, *lines: bytes, **limits: Any) -> ProcessFile:
    """Lines one by one, each written before the next one is there."""
    file = files.open(pattern, header, **limits)
    queue = Queue(file)
    files.add_source(queue)
    for line in lines:
        queue.waiting.append(line)
        assert files.flush()
    return file


def bodies(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if not line.startswith(b'{"header"')]


def test_a_file_begins_with_who_writes_it_and_where_its_clock_stands(
    files: ProcessFiles, tmp_path: Path
) -> None:
    """Run, process, host, attempt, number of processes, role, and one moment on two clocks."""
    file = write(files, LINES, b"one\n", b"two\n")
    assert file.path == tmp_path / "p00003.a01.jsonl"
    first, *rest = file.path.read_bytes().splitlines()
    facts = json.loads(first)["header"]
    assert {
        "run_id": "r", "process": 3, "processes": 4, "attempt": 1, "role": "rollout", "segment": 0,
        "host": os.uname().nodename, "pid": os.getpid(),
    }.items() <= facts.items()  # fmt: skip
    assert {"perf_counter_ns", "time_ns"} <= facts.keys()
    assert rest == [b"one", b"two"]


def test_no_file_is_made_for_nothing(files: ProcessFiles, tmp_path: Path) -> None:
    """It comes with its first line."""
    write(files, LINES)
    assert files.flush()
    assert list(tmp_path.iterdir()) == []


def test_full_segments_are_renamed_and_the_file_in_use_keeps_its_name(
    files: ProcessFiles, tmp_path: Path
) -> None:
    """So that `tail -F` follows one name."""
    write(files, LINES, *(b"%d" % i * 99 + b"\n" for i in range(5)), segment_bytes=50)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"p00003.a01.{i:04d}.jsonl" for i in range(4)), "p00003.a01.jsonl"
    ]  # fmt: skip
    assert [bodies(path) for path in sorted(tmp_path.glob("*.0*.jsonl"))] == [
        [b"%d" % i * 99] for i in range(4)
    ]
    assert (
        json.loads((tmp_path / "p00003.a01.0002.jsonl").read_bytes().splitlines()[0])["header"]["segment"]
        == 2
    )


def test_segments_may_have_numbers_from_the_start(files: ProcessFiles, tmp_path: Path) -> None:
    """Where each is a file of its own to those who read it."""
    write(files, "{name}.{segment}.json", *(b"x" * 99 + b"\n" for _ in range(3)), segment_bytes=50)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"p00003.a01.{i:04d}.json" for i in range(3)]


def test_the_oldest_segments_go_when_all_together_are_too_long(files: ProcessFiles, tmp_path: Path) -> None:
    """And only they."""
    write(files, LINES, *(b"%d" % i * 999 + b"\n" for i in range(8)), segment_bytes=50, keep_bytes=3000)
    assert [bodies(path)[0][:1] for path in sorted(tmp_path.glob("*.0*.jsonl"))] == [b"5", b"6"]


def test_what_an_earlier_process_left_under_the_name_stays(files: ProcessFiles, tmp_path: Path) -> None:
    """Its torn last line ends where ours begins, and its segments are not written over."""
    (tmp_path / "mine.jsonl").write_bytes(b"old\nto")
    (tmp_path / "mine.0000.jsonl").write_bytes(b"older\n")
    file = write(files, "mine.jsonl", b"new\n", b"newer\n", segment_bytes=10)
    assert (tmp_path / "mine.0000.jsonl").read_bytes() == b"older\n"
    assert (tmp_path / "mine.0001.jsonl").read_bytes().splitlines()[:2] == [b"old", b"to"]
    assert bodies(tmp_path / "mine.0001.jsonl") == [b"old", b"to", b"new"]
    assert file.path is not None
    assert bodies(file.path) == [b"newer"]


def test_a_full_disk_costs_what_it_refuses_which_is_counted(
    files: ProcessFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and when there is room again the file begins with its header."""
    (tmp_path / "p00003.a01.jsonl").symlink_to("/dev/full")
    file = write(files, LINES, b"lost\n", b"lost too\n")
    assert file.take_dropped() == 2
    assert file.take_dropped() == 0
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["sightline"]
    assert "No space left" in caplog.text
    (tmp_path / "p00003.a01.jsonl").unlink()
    (queue,) = files._sources
    assert isinstance(queue, Queue)
    queue.waiting.append(b"kept\n")
    assert files.flush()
    assert [line[:9] for line in (tmp_path / "p00003.a01.jsonl").read_bytes().splitlines()] == [
        b'{"header"', b"kept"
    ]  # fmt: skip


def test_what_others_have_written_into_the_same_file_is_never_cut_off(tmp_path: Path) -> None:
    """A line of ours that fits only in part stays torn then."""
    code = """
import resource, sys
from pathlib import Path
from sightline.files.process_files import Place, ProcessFiles
from tests.files.queue import Queue
files = ProcessFiles(lambda: Place(Path(sys.argv[1]), "r", 1))
queue = Queue(files.open("a.log", lambda facts: b"header\\n"))
files.add_source(queue)
queue.waiting.append(b"mine\\n")
assert files.flush()
with open(Path(sys.argv[1], "a.log"), "ab") as other:
    other.write(b"theirs\\n" * 50)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
queue.waiting.append(b"b" * 600 + b"\\n")
assert files.flush()
assert queue.file.take_dropped() == 1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path], check=True, timeout=120)
    lines = (tmp_path / "a.log").read_bytes().split(b"\n")
    assert lines[:-1] == [b"header", b"mine", *[b"theirs"] * 50]
    assert set(lines[-1]) <= set(b"b")


def test_a_line_that_fits_only_in_part_is_taken_back(tmp_path: Path) -> None:
    """What the file holds ends with a whole line, and the next one that fits is there."""
    code = """
import resource, sys
from pathlib import Path
from sightline.files.process_files import Place, ProcessFiles
from tests.files.queue import Queue
files = ProcessFiles(lambda: Place(Path(sys.argv[1]), "r", 1))
queue = Queue(files.open("a.log", lambda facts: b"header\\n"))
files.add_source(queue)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for line in (b"a" * 600, b"b" * 600, b"c" * 300):
    queue.waiting.append(line + b"\\n")
    assert files.flush()
assert queue.file.take_dropped() == 1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path], check=True, timeout=120)
    assert (tmp_path / "a.log").read_bytes() == b"header\n" + b"a" * 600 + b"\n" + b"c" * 300 + b"\n"


def test_all_waits_until_the_place_is_known(tmp_path: Path) -> None:
    """On a process that learns from the root where the run lies."""
    place: list[Place] = []
    files = ProcessFiles(lambda: place[0] if place else None)
    file = files.open(LINES, header)
    queue = Queue(file)
    files.add_source(queue)
    queue.waiting.append(b"early\n")
    files.hurry()
    until(lambda: file.waiting)
    assert not files.flush(0.01)
    assert list(tmp_path.iterdir()) == []
    place.append(Place(tmp_path / "late", "r", 2))
    assert files.flush()
    assert bodies(tmp_path / "late" / "p00000.a02.jsonl") == [b"early"]
    assert files.close()


def test_what_waits_is_bounded_and_what_is_left_out_counted() -> None:
    """A disk that hangs must not take the memory."""
    files = ProcessFiles(lambda: None)
    file = files.open(LINES, header)
    for _ in range(40):
        file.put(b"x" * (1 << 20), count=10)
    assert file.waiting <= 32 << 20
    assert file.has_many_waiting
    assert file.take_dropped() == 80


def test_a_source_that_fails_is_left_out_and_the_others_go_on(
    files: ProcessFiles, caplog: pytest.LogCaptureFixture
) -> None:
    """Its trouble is said, and it is told that it is asked no more."""
    told: list[str] = []

    def broken() -> bool:
        raise RuntimeError("no")

    def ends() -> bool:
        raise SystemExit

    files.add_source(broken, left_out=lambda: told.append("broken"))
    files.add_source(ends, left_out=lambda: told.append("ends"))
    file = write(files, LINES, b"one\n")
    assert file.path is not None
    assert bodies(file.path) == [b"one"]
    assert "a source of files fails" in caplog.text
    assert len(files._sources) == 1
    assert not {broken, ends} & set(files._sources)
    assert sorted(told) == ["broken", "ends"]


def test_a_header_that_fails_is_no_end_of_the_writing(files: ProcessFiles) -> None:
    """The other files have a thread still."""

    def broken(facts: dict[str, Any]) -> bytes:
        raise RuntimeError("no")

    bad = files.open("bad", broken)
    bad.put(b"lost\n")
    file = write(files, LINES, b"one\n")
    assert file.path is not None
    assert bodies(file.path) == [b"one"]
    assert bad.take_dropped() == 1


def test_a_source_that_has_more_is_asked_again_before_flush_returns(files: ProcessFiles) -> None:
    """Flush is for all that was recorded before it."""
    file = files.open(LINES, header)
    left = list(range(50))

    def slow() -> bool:
        if left:
            file.put(b"%d\n" % left.pop(0))
        return bool(left)

    files.add_source(slow)
    assert files.flush()
    assert file.path is not None
    assert bodies(file.path) == [b"%d" % i for i in range(50)]


def test_closing_writes_what_is_left_and_ends_the_threads(files: ProcessFiles) -> None:
    """Again and again if one likes."""
    before = threading.active_count()
    file = write(files, LINES)
    assert threading.active_count() == before + 2
    (queue,) = files._sources
    assert isinstance(queue, Queue)
    queue.waiting.append(b"last\n")
    assert files.close()
    assert files.close()
    assert threading.active_count() == before
    assert file.path is not None
    assert bodies(file.path) == [b"last"]


def test_a_forked_child_writes_nothing_and_does_not_wait(tmp_path: Path) -> None:
    """What waits is the parent's, and so are the files."""
    code = """
import os, sys
from pathlib import Path
from sightline.files.process_files import Place, ProcessFiles
from tests.files.queue import Queue
files = ProcessFiles(lambda: Place(Path(sys.argv[1]), "r", 1))
queue = Queue(files.open("a.log", lambda facts: b"header\\n"))
files.add_source(queue)
queue.waiting.append(b"one\\n")
assert files.flush()
queue.waiting.append(b"two\\n")
child = os.fork()
if child == 0:
    queue.file.put(b"from the child\\n")
    files.hurry()
    sys.exit(0 if files.flush(0.0) and files.close(0.0) else 2)
assert os.waitpid(child, 0)[1] == 0
assert files.close()
"""
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, timeout=120)
    assert (tmp_path / "a.log").read_bytes() == b"header\none\ntwo\n"


def test_a_signal_handler_may_hurry_in_the_middle_of_anything() -> None:
    """A lock that is held where the handler interrupts would stop the program for ever."""
    code = """
import signal, time
from sightline.files.process_files import ProcessFiles
files = ProcessFiles(lambda: None)
files.add_source(lambda: False)
handled = 0
def handle(*_):
    global handled
    handled += 1
    files.hurry()
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
while handled < 2000:
    files.hurry()
signal.setitimer(signal.ITIMER_REAL, 0)
assert files.close()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
