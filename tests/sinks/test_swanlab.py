"""What SwanLab's own reader finds in its files is what the journal says, after crashes and rewinds too."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import swanlab
import yaml
from swanlab.proto.swanlab.record.v1.record_pb2 import Record

import sightline as sl
from sightline.sinks.swanlab import SwanLabConfig, SwanLabSink
from sightline.sinks.swanlab_file import last_seq, records_in
from sightline.sinks.swanlab_run import SwanLabRun
from tests.harness import until
from tests.sinks import attempts
from tests.sinks.attempts import attempt, commits, kill_and_go_on, paths, rewound, settings, start
from tests.sinks.readers.swanlab import Experiment, experiment, read
from tests.sinks.sockets import TROUBLES, bad_server

VALUES = {"loss": 0.5, "lr": 0.25}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sinks.reader._PAUSE_S", (0.05, 0.5))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The directory of a run with everything in it, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("whole")
    logger = settings("swanlab", tags=["a"], group="g")
    with attempts.warnings_said() as said, start(folder, logger, config={"lr": 0.1}) as run:
        for step in (-2, -1):
            run.commit(step, {"loss": float(step)})
        for step in run.steps(30, start=0):
            sl.scalar(loss=step / 8, odd=attempts.ODD[step % 6], **{"trailing.": step})
            if step % 3 == 0:
                sl.text(split=f"part {step}", empty="")
                sl.sample("rollouts", prompt=["1+1", "2+2"], reward=[0.0, float(step)])
            run.commit(step)
            if step == 3:
                run.commit(step, {"loss": 99.0, "eval/loss": 3.0})
    assert run.dir is not None
    return run.dir, said


def test_swanlab_has_every_value_of_the_journal(whole: tuple[Path, list[str]]) -> None:
    run, _ = whole
    found = experiment(run)
    for key in {key for each in commits(run) for key in each["values"]}:
        of_steps: dict[int, float] = {}
        for step, value in attempts.series(run, key):
            if step >= 0:
                of_steps.setdefault(step, value)
        assert attempts.same(found.series[key.rstrip(".")], list(of_steps.items())), key
    assert found.seqs == [each["seq"] for each in commits(run)]
    assert (found.start.name, found.start.project, found.start.group) == ("run", "sightline", "g")
    assert list(found.start.tags) == ["a"]
    (config,) = (run / "swanlab").glob("run-*/files/config.yaml")
    kept = yaml.safe_load(config.read_text())
    assert kept["lr"]["value"] == 0.1
    assert "python" in kept["sightline"]["value"]["versions"]


def test_texts_and_samples_are_texts(whole: tuple[Path, list[str]]) -> None:
    found = experiment(whole[0])
    assert found.texts["split"] == {step: [(f"part {step}", "")] for step in range(0, 30, 3)}
    assert found.texts["empty"] == {step: [("", "")] for step in range(0, 30, 3)}
    shown = found.texts["samples/rollouts"]
    assert ("[prompt]\n2+2", "reward: 3.0, process: 0") in shown[3]
    assert [len(rows) for rows in shown.values()] == [2] * 10


def test_a_commits_seq_stands_behind_all_else_that_it_has(whole: tuple[Path, list[str]]) -> None:
    """So that a file that is cut anywhere says rightly which commits it has, with their texts."""
    run, _ = whole
    (path,) = (run / "swanlab").glob("run-*/run-*.swanlab")
    of_seq = {each["seq"]: each for each in commits(run)}
    seen: set[tuple[str, int]] = set()
    for record in read(path):
        if record.scalar.key == "sightline/seq" and (commit := of_seq[record.scalar.step])["step"] >= 0:
            keys = [key.rstrip(".") for key in (*commit["values"], *commit.get("texts", {}))]
            assert {(key, commit["step"]) for key in keys} <= seen
        seen.add((record.scalar.key or record.media.key, record.scalar.step or record.media.step))
    assert ("sightline/seq", len(of_seq)) in seen


def test_of_two_commits_of_one_step_the_first_value_of_a_key_stays(whole: tuple[Path, list[str]]) -> None:
    """SwanLab takes no step of a key twice; other keys of the second commit are there."""
    run, said = whole
    found = experiment(run)
    assert (3, 3 / 8) in found.series["loss"]
    assert found.series["eval/loss"] == [(3, 3.0)]
    assert sum("keeps the first value of a step: 'loss' came again at step 3" in each for each in said) == 1


def test_negative_steps_are_left_out_and_said(whole: tuple[Path, list[str]]) -> None:
    run, said = whole
    assert experiment(run).series["loss"][0] == (0, 0.0)
    assert sum("leaves out steps below 0, as this one: -2" in each for each in said) == 1


def test_steps_that_swanlab_does_not_take_are_left_out_and_said(tmp_path: Path) -> None:
    """The limit is SwanLab's own: the last step below it is there."""
    high = 1 << 48
    with attempts.warnings_said() as said, start(tmp_path, settings("swanlab")) as run:
        for step in (7, high, high + 1, 1 << 60):
            run.commit(step, {"loss": 0.5})
    assert run.dir is not None
    found = experiment(run.dir)
    assert found.series["loss"] == [(7, 0.5), (high, 0.5)]
    assert found.seqs == [1, 2, 3, 4]
    assert sum(f"leaves out steps above {high} (2^48), as this one: {high + 1}" in each for each in said) == 1


def test_swanlab_itself_leaves_out_a_step_that_a_key_has(tmp_path: Path) -> None:
    """What the test above would miss if the sink's own count were in SwanLab's place."""
    sink = SwanLabRun(SwanLabConfig())
    sink.open(sl.SinkRun("r", "run", tmp_path, 1))
    run = swanlab.get_run()
    for step, value in ((5, 1.0), (5, 2.0), (3, 3.0), (-1, 4.0)):
        run.log({"loss": value}, step=step)
    sink.close()
    assert Experiment(tmp_path / "swanlab", "r").series == {"loss": [(3, 3.0), (5, 1.0)]}


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.long)])
def test_killed_runs_have_every_commit_once(kills: int, tmp_path: Path) -> None:
    """The child of a killed run stores what it was given, so nothing is in two files."""
    folder = tmp_path / "runs" / "run" / "swanlab"

    def stored() -> int:
        files = list(folder.glob("run-*/run-*.swanlab"))
        return max(
            [0, *(r.scalar.step for path in files for r in read(path) if r.scalar.key == "sightline/seq")]
        )

    run = kill_and_go_on(tmp_path, kills, {"sinks": ["swanlab"]}, stored)
    found = experiment(run)
    assert found.seqs == [each["seq"] for each in commits(run)]
    for key in ("loss", "lr"):
        assert attempts.same(found.series[key], attempts.series(run, key))
    assert found.twice == 0
    assert len(list(folder.glob("run-*"))) > 1


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("rewind", ["fork", "skip"])
def test_a_rewound_run_is_shown_as_wanted(rewind: str, announced: bool, tmp_path: Path) -> None:
    run = rewound(tmp_path, settings("swanlab", rewind=rewind), announced=announced)
    first = [(step, float(step)) for step in range(10)]
    again = [(step, 100.0 + step) for step in range(5, 12)]
    if rewind == "skip":
        assert experiment(run).series["loss"] == [*first, *again[-2:]]
    else:
        assert experiment(run).series["loss"] == first
        forked = experiment(run, fork=".fork02")
        assert forked.series["loss"] == [*first[:5], *again]
        assert forked.start.name == "run.fork02"


def test_a_folder_that_cannot_be_made_costs_training_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it can: then all is there."""
    monkeypatch.setattr("sightline.sinks.reader._PATIENCE", 2)
    folder = tmp_path / "swanlab"
    folder.write_text("a file in the way")
    with start(tmp_path, settings("swanlab", dir=str(folder))) as run, attempts.warnings_said() as said:
        for step in run.steps(20):
            sl.scalar(loss=step)
            run.commit(step)
        until(lambda: any("sink swanlab is down" in each for each in said), "the circuit")
        assert not run.flush(600)
        folder.unlink()
        until(lambda: run.flush(1), "the rest")
    assert experiment(run.dir, folder).seqs == list(range(1, 21))
    assert len(commits(run.dir)) == 20


def test_what_a_full_disk_took_from_swanlab_comes_with_the_next_attempt(tmp_path: Path) -> None:
    """SwanLab loses it without a word; the sink looks, says so, and its cursor stays."""
    (tmp_path / "disk").mkdir()
    script = """
import os
import sightline as sl
from tests.sinks import attempts

logger = attempts.settings("swanlab", dir="disk/files")
def go(first, steps):
    for step in range(first, first + steps):
        run.commit(step, {f"k{i}": float(step) for i in range(50)})

with attempts.warnings_said() as said:
    run = attempts.start("runs", logger)
    go(0, 3)
    assert run.flush(60)
    filler = os.open("disk/filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:  # takes all that is left
            os.write(filler, bytes(4096))
    except OSError:
        pass
    go(3, 50)
    run.flush(60)
    os.close(filler)
    os.remove("disk/filler")
    go(53, 5)
    assert not run.finish()
print(*said, sep="\\n")
run = attempts.start("runs", logger)
go(58, 2)
assert run.finish()
os.system("cp -r disk/files kept")
"""
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c",
         'mount -t tmpfs -o size=1m tmpfs disk && exec "$@"', "sh", sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": paths()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # it needs `unshare`, and a kernel that lets users mount a tmpfs
    assert "of 58; what they lack comes with the next attempt, or with sightline sync" in done.stdout
    run = tmp_path / "runs" / "run"
    found = experiment(run, tmp_path / "kept")
    assert found.seqs == [each["seq"] for each in commits(run)]
    assert found.twice == 0
    for i in range(50):
        assert found.series[f"k{i}"] == [(step, float(step)) for step in range(60)]


@pytest.mark.parametrize("lost", ["loss", "sightline/seq"])
def test_what_stands_behind_a_record_that_a_file_lacks_is_taken_off_and_comes_again(
    lost: str, tmp_path: Path
) -> None:
    """A full disk may leave a gap between whole records; SwanLab, which numbers them, reads on behind it."""
    sink = SwanLabRun(SwanLabConfig())
    sink.open(sl.SinkRun("r", "run", tmp_path, 1))
    store = sink._run._ctx.core._store
    write, refused = store.write, []

    def write_but_one(data: bytes) -> None:
        scalar = Record.FromString(data).scalar
        if (scalar.key, scalar.step) == (lost, 3) and not refused:
            refused.append(data)
        else:
            write(data)

    def go(first: int, last: int) -> None:
        record = {"type": "commit", "attempt": 1, "time": 1.7e9}
        for seq in range(first, last + 1):
            sink.write([{**record, "seq": seq, "step": seq, "values": VALUES}])

    store.write = write_but_one
    go(1, 5)
    with pytest.raises(OSError, match="hold the commits up to 2 of 5"):
        sink.close()
    folder = tmp_path / "swanlab"
    (path,) = folder.glob("run-*/run-*.swanlab")
    assert len(refused) == 1
    assert (last_seq(folder, "r"), Experiment(folder, "r").seqs) == (2, [1, 2])
    assert [record.SerializeToString() for record in records_in(path)] == [
        record.SerializeToString() for record in read(path)
    ]
    sink = SwanLabRun(SwanLabConfig())
    assert sink.open(sl.SinkRun("r", "run", tmp_path, 2)) == 2
    go(3, 6)
    sink.close()
    found = Experiment(folder, "r")
    assert (sorted(found.seqs), found.twice) == ([1, 2, 3, 4, 5, 6], 0)
    assert found.series == {key: [(step, value) for step in range(1, 7)] for key, value in VALUES.items()}


def test_what_a_killed_child_has_begun_comes_again_and_is_nowhere_twice(tmp_path: Path) -> None:
    """SwanLab's file is cut anywhere then; files of other experiments beside it stay as they are."""
    others = tmp_path / "files"
    with start(tmp_path / "other", settings("swanlab", dir=str(others))) as run:
        run.commit(0, {"loss": 0.5})
    (path,) = others.glob("run-*/run-*.swanlab")
    before = path.read_bytes()
    sink = SwanLabSink(SwanLabConfig(dir=str(others)))
    with start(tmp_path, settings("jsonl"), sinks=[sink]) as run:
        for step in run.steps(300):
            run.commit(step, {f"k{i}": float(step) for i in range(30)})
            if step in (100, 200):
                until(lambda: run.flush(1), "what there is")
                assert sink._child is not None
                os.kill(sink._child._process.pid, signal.SIGKILL)
    found = experiment(run.dir, others)
    assert sorted(found.seqs) == list(range(1, 301))
    assert found.twice == 0
    for i in range(30):
        assert found.series[f"k{i}"] == [(step, float(step)) for step in range(300)]
    assert path.read_bytes() == before


def test_a_cloud_in_trouble_costs_training_nothing(tmp_path: Path) -> None:
    """Commits return, the journal and another sink have all of them, finish returns, and the program ends."""
    script = """
import json, sys
import sightline as sl
settings = {"sinks": ["swanlab", "jsonl"], "swanlab": {"mode": "online"}, "naming": "off"}
run = sl.start("runs", name="run", logger=sl.StatsLoggerConfig.from_dict(settings))
for step in run.steps(20):
    sl.scalar(loss=step)
    run.commit(step)
if sys.argv[1:]:
    sys.stdin.readline()  # until a request has come
run.finish(timeout=2)
"""
    with ExitStack() as stack:
        jobs = {}
        for trouble in TROUBLES:
            port, came = stack.enter_context(bad_server(trouble))
            folder = tmp_path / trouble
            folder.mkdir()
            cloud = {"SWANLAB_API_HOST": f"http://127.0.0.1:{port}", "SWANLAB_API_KEY": "k" * 21}
            process = subprocess.Popen(
                [sys.executable, "-c", script, *(["wait"] if trouble != "refuses" else [])],
                cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": paths(), "HOME": str(tmp_path), **cloud},
            )  # fmt: skip
            stack.callback(process.kill)
            jobs[trouble] = (process, came, folder / "runs" / "run")
        for trouble, (process, came, run) in jobs.items():
            if trouble != "refuses":
                until(lambda: came, "a request")  # noqa: B023
            _, errors = process.communicate("go\n", timeout=120)
            assert process.returncode == 0, errors
            assert "sink swanlab was left 20 commits behind" in errors
            assert len(commits(run)) == 20
            assert len((run / "rows.jsonl").read_text().splitlines()) == 20


def test_a_cloud_that_refuses_leaves_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or an outage would leave one for each try."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(401)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("SWANLAB_API_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("SWANLAB_API_KEY", "k" * 21)
    try:
        with pytest.raises(Exception, match="API key"):
            SwanLabRun(SwanLabConfig(mode="online")).open(sl.SinkRun("r", "run", tmp_path, 1))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not list((tmp_path / "swanlab").glob("run-*"))


def test_without_a_key_it_goes_offline_and_says_how_to_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWANLAB_API_KEY", raising=False)
    monkeypatch.setenv("SWANLAB_SAVE_DIR", str(tmp_path / "nothing"))
    with attempts.warnings_said() as said:
        run, _ = attempt(tmp_path, settings("swanlab", mode="online"), 3)
    assert sum("has no key, and writes files for: swanlab sync --id" in each for each in said) == 1
    assert experiment(run.dir).seqs == [1, 2, 3]


def test_training_is_left_as_it_is(tmp_path: Path) -> None:
    """No hook, module or thread of SwanLab's; a signal for training ends nothing else; and a failed program
    is shown as such."""
    script = """
import os, signal, sys, threading
import sightline as sl
from sightline.sinks.swanlab import SwanLabSink
sys.excepthook = hook = lambda kind, error, trace: print("mine:", error)
handler = signal.getsignal(signal.SIGINT)
sink = SwanLabSink()
with sl.start("runs", name="run", sinks=[sink], naming="off", logging={"enabled": False}) as run:
    run.commit(0, {"loss": 1.0})
    assert run.flush(60)
    assert sys.excepthook is hook and signal.getsignal(signal.SIGINT) is handler
    assert "swanlab" not in sys.modules
    assert all("sightline" in each.name for each in threading.enumerate()[1:])
    os.kill(sink._child._process.pid, signal.SIGINT)
    run.commit(1, {"loss": 2.0})
    assert run.flush(60)
    raise ValueError("broken")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": paths()},
    )  # fmt: skip
    assert done.stdout == "mine: broken\n", done.stderr
    assert "swanlab sync" not in done.stderr
    (path,) = (tmp_path / "runs" / "run" / "swanlab").glob("run-*/run-*.swanlab")
    assert read(path)[-1].finish.error == "ValueError: broken"
    assert experiment(tmp_path / "runs" / "run").seqs == [1, 2]


def test_a_killed_run_is_shown_as_crashed(tmp_path: Path) -> None:
    """With all that SwanLab was given, though its own files are whole only when a run has been finished."""
    script = """
import os, signal
from tests.sinks import attempts
run = attempts.start("runs", attempts.settings("swanlab"))
run.commit(0, {"loss": 1.0})
assert run.flush(60)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, timeout=120, env={**os.environ, "PYTHONPATH": paths()},
        check=False,
    )  # fmt: skip
    run = tmp_path / "runs" / "run"
    (path,) = (run / "swanlab").glob("run-*/run-*.swanlab")
    until(lambda: read(path)[-1].HasField("finish"), "the end of the file")
    assert read(path)[-1].finish.error == "training was cut off"
    assert experiment(run).series["loss"] == [(0, 1.0)]


def test_forked_children_write_nothing(tmp_path: Path) -> None:
    """As a data loader's workers, with SwanLab's file and trackio's database open in the parent."""
    script = """
import os
import sightline as sl
with sl.start("runs", name="run", sinks=["jsonl", "swanlab", "trackio"], naming="off") as run:
    for step in run.steps(20):
        sl.scalar(loss=float(step))
        if step % 5 == 4:
            run.flush()
            child = os.fork()
            if child == 0:
                sl.scalar(loss=1e9)
                run.commit(step)
                run.flush(5)
                raise SystemExit
            os.waitpid(child, 0)
        run.commit(step)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, env={**os.environ, "PYTHONPATH": paths()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    found = experiment(run)
    assert found.seqs == list(range(1, 21))
    assert found.twice == 0
    assert found.series["loss"] == [(step, float(step)) for step in range(20)]
    assert len((run / "rows.jsonl").read_text().splitlines()) == 20
    with closing(sqlite3.connect(run / "trackio" / "sightline.db")) as database:
        assert database.execute("SELECT COUNT(*), MAX(step) FROM metrics").fetchall() == [(20, 19)]


@pytest.mark.parametrize(
    ("its", "said"),
    [
        ({"rewind": "continue"}, "rewind='continue': expected 'fork' or 'skip', since SwanLab takes no step"),
        ({"mode": "local"}, "mode='local'; expected 'offline' or 'online'"),
        ({"project": "a b"}, "project='a b': expected letters, digits"),
    ],
)
def test_settings_that_cannot_be_are_refused(its: dict[str, Any], said: str) -> None:
    with pytest.raises(sl.ConfigurationError, match=said):
        settings("swanlab", **its)


def test_a_missing_extra_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sinks.extras.find_spec", lambda name: None)
    with pytest.raises(sl.ConfigurationError, match=r"pip install 'sightline\[swanlab\]'"):
        SwanLabSink()
