"""A sink in a process of its own: its trouble stays there, and what it was given is stored in any case."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.sinks import SinkRun, apart
from sightline.sinks.apart import ApartSink
from sightline.sinks.lineage import Rewind
from tests.harness import until
from tests.sinks.apart_sinks import FileConfig


class Apart(ApartSink):
    name = "file"
    rewind: Rewind = "continue"
    stores_at_close = False


@pytest.fixture
def made() -> Iterator[list[Apart]]:
    """Sinks whose children are ended after the test."""
    sinks: list[Apart] = []
    yield sinks
    for sink in sinks:
        sink._end()


@pytest.fixture
def run(tmp_path: Path) -> SinkRun:
    return SinkRun("r", "run", tmp_path, 1)


def sink_of(
    made: list[Apart], run: SinkRun, *, open_s: float = 60, close_s: float = 60, **trouble: str
) -> Apart:
    config = FileConfig(str(run.dir), **trouble)
    made.append(Apart("tests.sinks.apart_sinks:FileSink", config, open_s=open_s, close_s=close_s))
    (run.dir / "kept").touch()
    return made[-1]


def use(sink: ApartSink, run: SinkRun) -> None:
    """All of its calls."""
    sink.open(run)
    sink.write([{"seq": 1}])
    sink.close()


def kept(run: SinkRun) -> list[str]:
    return (run.dir / "kept").read_text().splitlines()


def pid_of(sink: ApartSink) -> int:
    assert sink._child is not None
    return sink._child._process.pid


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_calls_reach_the_sink_and_come_back(
    made: list[Apart], run: SinkRun, caplog: pytest.LogCaptureFixture
) -> None:
    sink = sink_of(made, run)
    assert sink.open(run) == 0
    assert run.kept == {"opened": 1}
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["says the same each time", f"opened by {pid_of(sink)}"]
    assert pid_of(sink) != os.getpid()
    sink.write([{"seq": 1}, {"seq": 2, "text": "\n" * (1 << 20)}])  # longer than a pipe holds
    sink.write([{"seq": 3}])
    pid = pid_of(sink)
    sink.close()
    assert kept(run) == ["open", "seq 1", "seq 2", "seq 3", "close"]
    assert not is_alive(pid)
    assert run.kept == {"opened": 1, "written": 3}
    assert sink.open(run) == 3
    assert run.kept == {"opened": 2, "written": 3}
    assert caplog.text.count("says the same each time") == 1


def test_what_it_prints_goes_to_a_file(
    made: list[Apart], run: SinkRun, capfd: pytest.CaptureFixture[str]
) -> None:
    sink = sink_of(made, run)
    sink.open(run)
    sink.close()
    assert (run.dir / "file" / "sightline.log").read_text() == "a word of the SDK\nand another\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["make", "open", "write", "close"])
def test_what_the_sink_raises_is_raised_here(method: str, made: list[Apart], run: SinkRun) -> None:
    sink = sink_of(made, run, fails=method)
    expected = "ImportError: no such SDK" if method == "make" else f"ValueError: {method} fails"
    with pytest.raises(RuntimeError, match=expected):
        use(sink, run)
    assert expected in (run.dir / "file" / "sightline.log").read_text()


@pytest.mark.parametrize("method", ["open", "write", "close"])
def test_a_call_that_hangs_is_ended(
    method: str, made: list[Apart], run: SinkRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And opening again works."""
    monkeypatch.setattr(apart, "_ENDS_S", 0.0)
    monkeypatch.setattr(apart, "_WRITE_S", 1 if method == "write" else 60)
    sink = sink_of(made, run, hangs=method, open_s=2 if method == "open" else 60, close_s=2)
    with pytest.raises(TimeoutError, match=f"{method} has not returned"):
        use(sink, run)
    assert sink._child is None
    with pytest.raises(ConnectionError, match="not open"):
        sink.write([{"seq": 1}])
    monkeypatch.undo()
    sink_of(made, run).open(run)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_no_fork_comes_while_a_child_is_being_started(
    made: list[Apart], run: SinkRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a data loader would hold its pipes open, and with them the start itself."""
    entered, states = threading.Event(), ["before"]

    class Slow(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            states.append("inside")
            entered.set()
            threading.Event().wait(0.3)
            super().__init__(*arguments, **options)
            states.append("outside")

    monkeypatch.setattr(apart.subprocess, "Popen", Slow)
    sink = sink_of(made, run)
    thread = threading.Thread(target=sink.open, args=(run,))
    thread.start()
    assert entered.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(states[-1] != "outside")
    assert os.waitpid(child, 0)[1] == 0
    thread.join(60)
    sink.close()
    assert kept(run) == ["open", "close"]


def test_a_child_that_is_killed_is_noticed_and_replaced(made: list[Apart], run: SinkRun) -> None:
    sink = sink_of(made, run)
    sink.open(run)
    sink.write([{"seq": 1}])
    os.kill(pid_of(sink), signal.SIGKILL)
    with pytest.raises(ConnectionError, match="gone"):
        sink.write([{"seq": 2}])
    assert sink.open(run) == 1
    sink.write([{"seq": 2}])
    assert kept(run) == ["open", "seq 1", "open", "seq 2"]


def test_it_finds_its_directory_wherever_the_child_begins(
    made: list[Apart], run: SinkRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").touch()
    made.append(Apart("tests.sinks.apart_sinks:FileSink", FileConfig("."), open_s=60, close_s=60))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    use(made[-1], run)
    assert kept(run) == ["open", "seq 1", "close"]


def test_a_call_that_hangs_when_training_is_killed_ends_too(run: SinkRun) -> None:
    script = f"""
import os, signal, threading, time
from pathlib import Path
from sightline.sinks import SinkRun, apart
from tests.sinks.apart_sinks import FileConfig
from tests.sinks.test_apart import Apart

folder = Path({str(run.dir)!r})
apart._CODE = apart._CODE.replace("serve()", "from sightline.sinks import apart; apart._ENDS_S = 0; serve()")
sink = Apart("tests.sinks.apart_sinks:FileSink", FileConfig(str(folder), hangs="write"), open_s=60, close_s=1)
sink.open(SinkRun("r", "run", folder, 1))
(folder / "pid").write_text(str(sink._child._process.pid))
threading.Thread(target=sink.write, args=([{{"seq": 1}}],)).start()
while not (folder / "hangs").exists():
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
    (run.dir / "kept").touch()
    subprocess.run([sys.executable, "-c", script], check=False)
    pid = int((run.dir / "pid").read_text())
    until(lambda: not is_alive(pid), "the child to end")
    assert kept(run) == ["open"]


_TRAIN = """
import os, signal, sys, time
from pathlib import Path
from sightline.sinks import SinkRun
from tests.sinks.apart_sinks import FileConfig
from tests.sinks.test_apart import Apart

folder = Path(sys.argv[1])
sink = Apart("tests.sinks.apart_sinks:FileSink", FileConfig(str(folder)), open_s=60, close_s=60)
sink.open(SinkRun("r", "run", folder, 1))
sink.write([{"seq": 1}])
if "fork" in sys.argv:
    if os.fork() == 0:  # a data loader, which outlives its parent
        (folder / "forked").touch()
        while not (folder / "over").exists():
            time.sleep(0.01)
        os._exit(0)
    while not (folder / "forked").exists():
        time.sleep(0.01)
(folder / "pid").write_text(str(sink._child._process.pid))
if "kill" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", [["kill"], ["kill", "fork"], ["exit"]], ids="-".join)
def test_when_training_is_cut_off_the_sink_is_closed(how: list[str], run: SinkRun) -> None:
    """Also while a forked child of training lives on; and when training only leaves it behind."""
    (run.dir / "kept").touch()
    done = subprocess.run([sys.executable, "-c", _TRAIN, str(run.dir), *how], check=False)
    assert done.returncode == (-signal.SIGKILL if "kill" in how else 0)
    pid = int((run.dir / "pid").read_text())
    until(lambda: not is_alive(pid), "the child to end")
    assert kept(run) == ["open", "seq 1", "abandon"]
    (run.dir / "over").touch()


def test_the_next_attempt_waits_until_the_child_of_the_last_one_has_ended(
    made: list[Apart], run: SinkRun
) -> None:
    first, second = sink_of(made, run, hangs="abandon"), sink_of(made, run)
    first.open(run)
    first.write([{"seq": 1}])
    pid = pid_of(first)
    first_child, first._child = first._child, None
    assert first_child is not None
    first_child._requests.close()  # as the kernel does when training is killed
    opened: list[Any] = []
    thread = threading.Thread(target=lambda: opened.append(second.open(run)))
    thread.start()
    thread.join(2)
    assert thread.is_alive()
    os.kill(pid, signal.SIGKILL)
    thread.join()
    assert opened == [1]
    first_child.end(10)


def test_ctrl_c_and_sigterm_do_not_reach_it(made: list[Apart], run: SinkRun) -> None:
    sink = sink_of(made, run)
    sink.open(run)
    pid = pid_of(sink)
    assert os.getsid(pid) == pid != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    sink.write([{"seq": 1}])
    assert pid_of(sink) == pid


def test_a_forked_child_has_nothing_of_it(made: list[Apart], run: SinkRun) -> None:
    sink = sink_of(made, run)
    sink.open(run)
    assert sink._child is not None
    files = {pipe.fileno() for pipe in (sink._child._requests, sink._child._replies)}
    forked = os.fork()
    if forked == 0:
        open_files = {int(name) for name in os.listdir("/proc/self/fd")}
        os._exit(1 if files & open_files else 0)
    assert os.waitpid(forked, 0)[1] == 0
    sink.write([{"seq": 1}])
    sink.close()
    assert kept(run) == ["open", "seq 1", "close"]
