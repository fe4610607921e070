"""What W&B's SDK has written is what the journal says: in its run files, and at a server."""

from __future__ import annotations

import fcntl
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.sinks import apart
from sightline.sinks import reader as room
from sightline.sinks.cursor import Cursor
from sightline.sinks.syncing import Replay
from sightline.sinks.wandb import make
from sightline.sinks.wandb_file import rows
from sightline.sinks.wandb_run import SEQ, run_files
from tests.harness import Worker, until, workers_of
from tests.sinks.readers.wandb import run_id, seen_by_wandb, stored
from tests.sinks.wandb_server import API_KEY, WandbServer, serving

NOBODY = "http://127.0.0.1:9"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the machine's own, and no server but one on loopback."""
    return {"HOME": str(home), "WANDB_BASE_URL": NOBODY, "WANDB_ERROR_REPORTING": "false", **more}


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """One that works, for processes that have a key."""
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", API_KEY)
        yield server


def start(folder: Path, *others: Any, state: Mapping[str, Any] | None = None, **settings: Any) -> sl.Run:
    """A run with the W&B sink, offline unless it is said otherwise."""
    logger = sl.StatsLoggerConfig(
        sinks=["wandb", *others],
        resume="allow",
        naming="off",
        wandb=sl.WandbConfig(**{"mode": "offline", **settings}),
    )
    return sl.start(folder, name="run", state_dict=state, logger=logger)


def train(run: sl.Run, steps: range, loss: Callable[[int], float] = float) -> list[dict[str, Any]]:
    """One commit a step; returns the state of each step's checkpoint."""
    states = []
    for step in run.steps(steps.stop, start=steps.start):
        sl.scalar(loss=loss(step))
        run.commit(step)
        states.append(run.state_dict())
    return states


def commits(run: Path) -> list[dict[str, Any]]:
    return [record for record in sl.read_journal(run) if record["type"] == "commit"]


def steps_and(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, Any]]:
    return [(row["step"], row[key]) for row in rows if key in row]


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """As W&B's reader shows a row: names with dots, and what JSON has not as text."""
    found = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            special = isinstance(value, float) and not math.isfinite(value)
            text = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value))
            found[prefix + name] = text if special else value
    return found


# --- offline -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run with everything in it."""
    folder = tmp_path_factory.mktemp("whole")
    config = {"lr": 1e-3, "model": {"width": 8}, "api_key": "hunter2hunter2", "pad_token_id": 7}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(folder, WANDB_API_KEY=API_KEY).items():
            patch.setenv(name, value)
        with sl.start(
            folder, name="run", sinks=["wandb"], naming="off", config=config,
            logger=sl.StatsLoggerConfig(wandb=sl.WandbConfig(mode="offline", project="tests", tags=["a"])),
        ) as run:  # fmt: skip
            for step in run.steps(6):
                sl.scalar(**{"train/loss": 1.0 / (step + 1)}, odd=math.inf if step == 2 else -0.5)
                sl.summary("reward", np.arange(step + 1.0))
                sl.histogram("length", np.arange(100.0 + step), bins=10)
                sl.histogram("fine", np.arange(100.0 + step), bins=1000)
                sl.text(split=f"test {step}")
                sl.sample("rollouts", prompt=f"p{step}", reward=step / 2)
                run.commit(step, None)
                sl.scalar(**{"eval/score": step / 7})
                sl.scalar(odd=math.nan)
                run.commit(step)
    return folder / "run"


def test_a_run_file_holds_every_value_of_the_journal(whole: Path) -> None:
    """As W&B's own reader finds them; commits of one step share a row."""
    (path,) = run_files(whole, run_id(whole))
    shown = seen_by_wandb(path, "history")
    journal = [list(lines) for _, lines in groupby(commits(whole), key=lambda commit: commit["step"])]
    assert len(shown) == len(journal) == 6
    for row, (first, second) in zip(shown, journal, strict=True):
        values = {
            key: (commit["nonfinite"][key] if value is None else value)
            for commit in (first, second)
            for key, value in commit["values"].items()
        }
        values |= {key: {"nan": "NaN", "inf": "Infinity"}.get(value, value) for key, value in values.items()}
        item = row["item"]
        assert {key: item[key] for key in values} == values
        assert item["split"] == first["texts"]["split"]
        assert item["step"] == item["_step"] == row["step"]["num"] == first["step"]
        assert item[SEQ] == second["seq"]
        assert item["_timestamp"] == second["time"]
        assert not any(key.endswith("__count") for key in item)
    (glob,) = [each for each in seen_by_wandb(path, "metric") if "glob_name" in each]
    assert (glob["glob_name"], glob["step_metric"]) == ("*", "step")


def test_a_key_that_is_called_as_ours_gets_another_name(tmp_path: Path) -> None:
    """W&B's file has both: what was recorded, and our number by which nothing comes twice."""
    for stop in (2, 4):
        with start(tmp_path) as run:
            for step in run.steps(stop):
                run.commit(step, {SEQ: 0.25})
    found = stored(run.dir)
    assert [row[SEQ] for row in found] == [1, 2, 3, 4]
    assert [row[f"{SEQ}_c009c84b"] for row in found] == [0.25] * 4


def test_a_histogram_has_its_bins_or_wider_ones(whole: Path) -> None:
    lines = [line for line in sl.read_journal(whole) if line["type"] == "histogram"]
    for key in ("length", "fine"):
        of_key = [line for line in lines if line["key"] == key]
        for row, line in zip(stored(whole), of_key, strict=True):
            shown = row[key]
            assert shown["_type"] == "histogram"
            if key == "length":
                assert (shown["bins"], shown["values"]) == (line["edges"], line["counts"])
            else:
                assert len(shown["values"]) == 500 == len(shown["bins"]) - 1
                assert shown["values"] == [sum(line["counts"][i : i + 2]) for i in range(0, 1000, 2)]
                assert shown["bins"] == line["edges"][::2]


def test_a_commit_s_sample_rows_are_a_table_of_its_own(whole: Path) -> None:
    samples = [line for line in sl.read_journal(whole) if line["type"] == "sample"]
    (path,) = run_files(whole, run_id(whole))
    for row, line in zip(stored(whole), samples, strict=True):
        shown = row["samples/rollouts"]
        assert shown["_type"] == "table-file"
        table = json.loads((path.parent / "files" / shown["path"]).read_text())
        assert [dict(zip(table["columns"], each, strict=True)) for each in table["data"]] == [
            {"step": line["step"], **each} for each in line["rows"]
        ]


def test_the_config_stands_as_it_is_beside_the_facts(whole: Path) -> None:
    (path,) = run_files(whole, run_id(whole))
    run, *_ = seen_by_wandb(path, "run")
    assert (run["run_id"], run["display_name"], run["project"]) == (run_id(whole), "run", "tests")
    config = run["config"]["update"]
    facts = json.loads((whole / "run.json").read_bytes())
    assert config["lr"] == 1e-3
    assert config["model"] == {"width": 8}
    assert config["pad_token_id"] == 7
    assert config["sightline"]["versions"] == facts["versions"]
    assert set(config) == {*facts["config"], "sightline", "_wandb"}


def test_no_secret_and_no_code_in_any_file(whole: Path) -> None:
    for path in whole.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"hunter2" not in data, path
            assert API_KEY.encode() not in data, path
    (path,) = run_files(whole, run_id(whole))
    files = {each.relative_to(path.parent) for each in path.parent.rglob("*") if each.is_file()}
    assert {str(file).partition("/")[0] for file in files} == {path.name, "logs", "files"}
    assert [each.name for each in (path.parent / "files").iterdir()] == ["media"]  # the tables


def test_our_reader_of_run_files_finds_what_wandb_s_own_finds_also_in_a_cut_file(
    whole: Path, tmp_path: Path
) -> None:
    (path,) = run_files(whole, run_id(whole))
    data = path.read_bytes()
    assert len(data) > 40_000  # more than one block
    random_ = random.Random(1)
    for size in (len(data), 0, 3, 7, *(random_.randrange(len(data)) for _ in range(12))):
        cut = tmp_path / f"run-{size}.wandb"
        cut.write_bytes(data[:size])
        assert [flat(row) for row in rows(cut)] == [row["item"] for row in seen_by_wandb(cut, "history")], (
            size
        )


def test_a_damaged_run_file_counts_up_to_the_damage(whole: Path, tmp_path: Path) -> None:
    (path,) = run_files(whole, run_id(whole))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "run-damaged.wandb"
    damaged.write_bytes(data)
    found = [flat(row) for row in rows(damaged)]
    assert 0 < len(found) < 6
    assert found == [flat(row) for row in rows(path)][: len(found)]


def test_a_resumed_run_goes_on_in_another_file_of_the_same_id(tmp_path: Path) -> None:
    """Where W&B's files stand, whatever our cursor says, which is at the end when all is closed."""
    with start(tmp_path) as run:
        train(run, range(4))
    assert Cursor(run.dir / "cursors" / "wandb.json", run.run_id).seq == 4
    (path,) = run_files(run.dir, run.run_id)
    data = path.read_bytes()
    while len(stored(run.dir)) > 2:  # as a crash of the machine would leave it
        data = data[:-50]
        path.write_bytes(data)
    assert [row[SEQ] for row in stored(run.dir)] == [1, 2]
    with start(tmp_path) as run:
        train(run, range(4, 6))
    assert len(run_files(run.dir, run.run_id)) == 2
    assert [row[SEQ] for row in stored(run.dir)] == [1, 2, 3, 4, 5, 6]
    assert [row["_step"] for row in stored(run.dir)] == list(range(6))


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("rewind", ["continue", "fork", "skip"])
def test_a_rewound_run_is_shown_as_wanted(rewind: Any, announced: bool, tmp_path: Path) -> None:
    """Six steps, and again from the fourth on, with other values."""
    with start(tmp_path, rewind=rewind) as run:
        states = train(run, range(6))
    with start(tmp_path, rewind=rewind, state=states[2] if announced else None) as run:
        train(run, range(3, 8), lambda step: 100.0 + step)
    first = [(step, float(step)) for step in range(6)]
    again = [(step, 100.0 + step) for step in range(3, 8)]
    shown = stored(run.dir)
    if rewind == "continue":
        assert steps_and(shown, "loss") == [*first, *again]
        assert [row["_step"] for row in shown] == list(range(11))  # never back, or W&B would leave it out
    elif rewind == "fork":
        assert steps_and(shown, "loss") == first
        fork = stored(run.dir, "-fork02")
        assert steps_and(fork, "loss") == [*first[:3], *again]
        assert [row["_step"] for row in fork] == list(range(8))
    else:
        assert steps_and(shown, "loss") == [*first, *again[-2:]]


def test_a_disabled_run_starts_no_process_and_says_nothing_of_the_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However that is spelled, and without W&B; and a later attempt takes nothing for done."""
    monkeypatch.setattr("sightline.sinks.extras.find_spec", missing)
    monkeypatch.setattr(apart, "Child", missing)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    for mode in ("disabled", "disable", "off", None):
        with start(tmp_path / str(mode), mode=mode) as run:
            train(run, range(2))
        assert not (run.dir / "wandb").exists()
        assert not (run.dir / "cursors").exists()
        assert not [key for commit in commits(run.dir) for key in commit["values"] if "obs/sink" in key]
        with pytest.raises(sl.ConfigurationError, match=r"it is disabled; set wandb\.mode"):
            Replay(run.dir, make(sl.WandbConfig(mode=mode)))


def missing(*_: Any) -> None:
    return None


def test_what_cannot_work_raises_at_start_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, message in (
        ({"mode": "onlin"}, "mode='onlin': expected one of 'online'"),
        ({"rewind": "back"}, "rewind='back'"),
        ({"id": "a/b"}, "id='a/b'"),
        ({"tags": "a"}, r"expected a list, as in \['a'\]"),
        ({"finish_timeout_s": 0}, "finish_timeout_s=0: expected a positive number"),
    ):
        with pytest.raises(sl.ConfigurationError, match=message):
            sl.WandbConfig(**settings)  # type: ignore[arg-type]
    monkeypatch.setenv("WANDB_MODE", "onlin")
    with pytest.raises(sl.ConfigurationError, match="WANDB_MODE='onlin'"):
        start(tmp_path, mode=None)
    monkeypatch.setattr("sightline.sinks.extras.find_spec", missing)
    with pytest.raises(sl.ConfigurationError, match=r"pip install 'sightline\[wandb\]'"):
        start(tmp_path)


def test_training_is_left_as_it_is(tmp_path: Path) -> None:
    """No hook, variable, module or thread of W&B's; and no process of it is left."""
    with workers_of(str(Path(__file__).parent / "wandb_workers.py"), tmp_path) as workers:
        worker = workers.start("untouched", env=environment(tmp_path, WANDB_MODE="offline"))
        worker.wait(0)
        before, during, after = worker.notes("state")
        assert before == during == after
        assert before["modules"] == []
        assert "wandb" not in worker.output.lower()
        assert len(stored(worker.runs[0])) == 1
    log_file = worker.runs[0] / "wandb" / "sightline.log"
    with open(log_file) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held as long as there is one


@pytest.mark.parametrize("mode", [None, "online"])
def test_without_an_api_key_it_is_offline_and_says_how_to_bring_it_up(
    mode: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with start(tmp_path, mode=mode) as run:
        train(run, range(2))
    warnings = [record.getMessage() for record in caplog.records if "API key" in record.getMessage()]
    assert len(warnings) == 1
    assert f"sightline sync {run.dir} --to wandb" in warnings[0]
    assert [row["loss"] for row in stored(run.dir)] == [0, 1]
    assert "offline" in run_files(run.dir, run.run_id)[0].parent.name


_SMALL_DISK = """
import json, logging, os
import sightline as sl

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("sightline").addHandler(handler)
logger = sl.StatsLoggerConfig(sinks=["wandb"], naming="off", resume="allow", wandb=sl.WandbConfig(dir="disk"))

def go(steps):
    with sl.start("runs", name="run", logger=logger) as run:
        for step in run.steps(steps):
            sl.scalar(**{f"loss/{i}": step / (i + 1) for i in range(60)})
            run.commit(step)

go(400)
assert os.system("mount -o remount,size=20m disk") == 0
go(402)
os.system("cp -r disk/wandb kept")
print(json.dumps(said))
"""


def test_what_a_full_disk_kept_from_w_b_is_said_and_made_good_by_the_next_attempt(tmp_path: Path) -> None:
    """W&B itself says nothing of it."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "script.py").write_text(_SMALL_DISK)
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c",
         f"mount -t tmpfs -o size=400k tmpfs disk && exec {sys.executable} script.py"],
        cwd=tmp_path, env=os.environ | {"WANDB_MODE": "offline"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # it needs `unshare`, and a kernel that lets users mount a tmpfs
    (said,) = [line for line in json.loads(done.stdout.splitlines()[-1]) if "has stored" in line]
    up_to = int(said.partition("the commits up to ")[2].split()[0])
    assert 0 < up_to < 400
    found = [list(rows(path)) for path in sorted((tmp_path / "kept").glob("offline-*/*.wandb"))]
    assert [len(each) for each in found] == [up_to, 402 - up_to]
    assert [row[SEQ] for each in found for row in each] == list(range(1, 403))


# --- processes that are killed -----------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        found = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*found, *(each for child in found for each in children(child))]


def is_alive(pid: int, name: str = "") -> bool:
    """Whether it runs, under such a name; one that has ended and waits for its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return name in stat and stat.rpartition(")")[2].split()[0] not in "ZX"


def kill(worker: Worker, what: str) -> bool:
    """SIGKILL for training, or for it and all that W&B has there, as when a container ends; or for a part of
    W&B only. Returns whether W&B has to begin again."""
    below = children(worker.popen.pid)
    victims = {
        "training": [worker.popen.pid],
        "all": [worker.popen.pid, *below],
        "sink": below[:1],
        "core": below[1:],
    }[what]
    hit = any(is_alive(pid, "wandb-core" if what == "core" else "") for pid in victims)
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return hit


def killed_often(tmp_path: Path, kills: int, seed: int, env: dict[str, str]) -> Path:
    """A run that is killed at random moments, started again each time, and then ends; its directory."""
    random_ = random.Random(seed)
    whats = ["training", "all", "sink", "core"] * -(-kills // 4)
    random_.shuffle(whats)
    with workers_of(str(Path(__file__).parent / "wandb_workers.py"), tmp_path) as workers:

        def start() -> Worker:
            return workers.start("train", env=env, steps=10**6, pause_s=0.01)

        def files() -> int:
            return len(list(tmp_path.glob("*/runs/run/wandb/*/*.wandb")))

        def until_it_has_more(than: tuple[int, int]) -> None:
            until(lambda: len(worker.commits()) > than[0])
            if random_.random() < 0.8 and begins:  # else before W&B has begun
                until(lambda: files() > than[1])

        worker, begins = start(), True
        for what in whats[:kills]:
            until_it_has_more((len(worker.commits()), files()))
            threading.Event().wait(random_.uniform(0, 1))
            begins = kill(worker, what)
            if what in ("training", "all"):
                worker.wait(-signal.SIGKILL)
                worker = start()
        attempt = len([record for record in worker.journal() if record["type"] == "run"])
        until(lambda: worker.commits()[-1]["attempt"] >= attempt)
        kill(worker, "training")
        worker.wait(-signal.SIGKILL)
        last = worker.commits()[-1]["step"]
        worker = workers.start("train", env=env, steps=last + 3, pause_s=0)
        worker.wait(0)
        assert "commits behind" not in worker.output
        return worker.runs[0]


def check_exactly_once(run: Path, shown: Sequence[Mapping[str, Any]]) -> None:
    """Each committed step, its values equal to the journal's. Commits of one step may be in two rows, if a
    kill came between them."""
    seqs = [row[SEQ] for row in shown]
    assert seqs == sorted(set(seqs))
    rows_ = [row["_step"] for row in shown]
    assert rows_ == sorted(set(rows_))
    for key in ("train/loss", "eval/score"):
        expected = [(c["step"], c["values"][key]) for c in commits(run) if key in c["values"]]
        assert steps_and(shown, key) == expected


@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.long)])
def test_after_kills_every_commit_is_in_the_run_files_exactly_once(kills: int, tmp_path: Path) -> None:
    often = {"WANDB__TRANSACTION_LOG_FLUSH_INTERVAL": "0.2"}  # so that something is there to be cut
    env = environment(tmp_path, WANDB_MODE="offline", **often)
    run = killed_often(tmp_path, kills, seed=kills, env=env)
    check_exactly_once(run, stored(run))


def test_a_forked_data_loader_neither_writes_nor_keeps_the_run_open(tmp_path: Path) -> None:
    with workers_of(str(Path(__file__).parent / "wandb_workers.py"), tmp_path) as workers:
        worker = workers.start("fork", env=environment(tmp_path, WANDB_MODE="offline"))
        worker.wait(-signal.SIGKILL)
        (run,) = worker.runs
        until(lambda: len(stored(run)) == 2, "the run to be closed")
        assert [row["loss"] for row in stored(run)] == [0, 1]
        (path,) = run_files(run, run_id(run))
        assert [each["exit_code"] for each in seen_by_wandb(path, "exit")] == [1]
        worker.tell("over")


# --- online ------------------------------------------------------------------------------------------------


def test_a_server_gets_the_run_and_is_asked_where_it_goes_on(server: WandbServer, tmp_path: Path) -> None:
    for first in (0, 4):
        with start(tmp_path, mode=None, project="tests") as run:
            train(run, range(first, first + 4))
        assert run.run_id is not None
        assert [row[SEQ] for row in server.rows(run.run_id)] == list(range(1, first + 5))
        assert server.finished[run.run_id] == 0
    shown = server.rows(run.run_id)
    assert steps_and(shown, "loss") == [(step, float(step)) for step in range(8)]
    assert [row["_step"] for row in shown] == list(range(8))
    assert [row["_timestamp"] for row in shown] == [commit["time"] for commit in commits(run.dir)]
    assert server.config(run.run_id)["sightline"]["run_id"] == run.run_id
    assert "SampledHistoryPage" not in server.asked  # what the SDK is told when it resumes is enough


def test_a_server_whose_summary_says_nothing_is_asked_for_the_history(
    server: WandbServer, tmp_path: Path
) -> None:
    """Whatever the cursor says."""
    with start(tmp_path, mode="online") as run:
        train(run, range(4))
    assert run.run_id is not None
    server.summaries[run.run_id] = json.dumps({SEQ: 3})
    (run.dir / "cursors" / "wandb.json").unlink()
    with start(tmp_path, mode="online") as run:
        train(run, range(4, 6))
    assert "SampledHistoryPage" in server.asked
    assert [row[SEQ] for row in server.rows(str(run.run_id))] == [1, 2, 3, 4, 5, 6]


def test_what_a_server_missed_comes_with_the_next_attempt(
    server: WandbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stops answering in the middle of the run: `finish` says so, and the cursor stays."""
    with start(tmp_path, mode="online", finish_timeout_s=3) as run:
        train(run, range(2))
        assert run.flush(600)
        server.answers = False
        train(run, range(2, 4))
        assert run.flush(600)  # W&B has taken them, and keeps them for the server
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "has not taken everything within 3 s" in said
    assert f"sightline sync {run.dir} --to wandb" in said
    assert Cursor(run.dir / "cursors" / "wandb.json", str(run.run_id)).seq == 0
    server.answers = True
    with start(tmp_path, mode="online") as run:
        train(run, range(4, 6))
    assert [row[SEQ] for row in server.rows(str(run.run_id))] == [1, 2, 3, 4, 5, 6]


class Others:
    """Another sink, which keeps the steps it was given."""

    name = "others"

    def __init__(self) -> None:
        self.steps: list[int] = []

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.steps += [record["step"] for record in records if record["type"] == "commit"]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("trouble", ["refuses", "hangs", "answers 500"])
def test_a_server_in_trouble_holds_up_nobody(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the journal nor other sinks; and `finish` returns."""
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    others = Others()
    with socket.create_server(("127.0.0.1", 0)) as silent, serving() as failing:
        failing.answers = False
        url = {
            "refuses": NOBODY,
            "hangs": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "answers 500": failing.url,
        }[trouble]
        monkeypatch.setenv("WANDB_BASE_URL", url)
        run = start(tmp_path, others, mode="online", init_timeout_s=2)
        train(run, range(5))
        until(lambda: len(commits(run.dir)) == len(others.steps) == 5)
        until(lambda: any("sink wandb fails" in record.getMessage() for record in caplog.records))
        train(run, range(5, 8))
        until(lambda: len(commits(run.dir)) == len(others.steps) == 8)
        assert run.finish(timeout=1) is False
    assert others.steps == list(range(8))
    said = [record.getMessage() for record in caplog.records]
    assert f"sightline sync {run.dir} --to wandb" in said[-2]
    assert "left 8 commits behind" in said[-2]


def test_a_server_that_comes_back_gets_everything(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "_PAUSE_S", (0.01, 0.1))
    server.answers = False
    with start(tmp_path, mode="online", init_timeout_s=2) as run:
        train(run, range(3))
        until(lambda: any("sink wandb fails" in record.getMessage() for record in caplog.records))
        server.answers = True
        train(run, range(3, 6))
        until(lambda: any("works again" in record.getMessage() for record in caplog.records))
    assert [row[SEQ] for row in server.rows(str(run.run_id))] == [1, 2, 3, 4, 5, 6]


def test_after_kills_a_server_has_every_commit_exactly_once(server: WandbServer, tmp_path: Path) -> None:
    often = {"WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "0.2"}
    online = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": API_KEY, "WANDB_MODE": "online"}
    run = killed_often(tmp_path, 3, seed=4, env=environment(tmp_path, **online, **often))
    check_exactly_once(run, server.rows(run_id(run)))


def test_offline_files_of_all_attempts_make_one_run_when_wandb_syncs_them(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    for first in (0, 3):
        with start(tmp_path) as run:
            train(run, range(first, first + 3))
    folders = [path.parent for path in run_files(run.dir, str(run.run_id))]
    assert len(folders) == 2
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *folders],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["_step"] for row in server.rows(str(run.run_id))] == list(range(6))
    assert [row[SEQ] for row in server.rows(str(run.run_id))] == [1, 2, 3, 4, 5, 6]


def test_sightline_sync_brings_up_an_offline_run_and_nothing_twice(
    server: WandbServer, tmp_path: Path
) -> None:
    with start(tmp_path, mode="offline") as run:
        train(run, range(5))
    assert server.lines == {}
    for _ in range(2):
        command = ["sync", str(run.dir), "--to", "wandb", "--set", "wandb.mode=online"]
        done = subprocess.run(
            [sys.executable, "-m", "sightline.cli", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert steps_and(server.rows(str(run.run_id)), "loss") == [(step, float(step)) for step in range(5)]


def test_in_shared_mode_others_write_to_the_same_run(server: WandbServer, tmp_path: Path) -> None:
    """What `_step` is there is W&B's business; the axis is our `step`."""
    with start(tmp_path, mode="shared", id="together") as run:
        train(run, range(4))
    assert steps_and(server.rows("together"), "loss") == [(step, float(step)) for step in range(4)]
    assert [row[SEQ] for row in server.rows("together")] == [1, 2, 3, 4]


def test_two_runs_with_one_id_and_one_folder_both_store_every_commit(tmp_path: Path) -> None:
    """The rows of the one are not taken for those of the other, and `_step` goes on rising."""
    shared: dict[str, Any] = {"id": "fixed", "dir": str(tmp_path / "shared")}
    for name in ("a", "b"):
        with start(tmp_path / name, **shared) as run:
            train(run, range(3))
    found = [row for path in run_files(tmp_path / "shared", "fixed") for row in rows(path)]
    assert sorted(row["sightline/seq"] for row in found) == [1, 1, 2, 2, 3, 3]
    assert sorted(row["_step"] for row in found) == list(range(6))


def test_credentials_in_its_settings_do_not_reach_its_files(tmp_path: Path) -> None:
    with start(tmp_path, notes="see https://me:hunter2@host/x", tags=["api_key=hunter2", "rl"]) as run:
        train(run, range(1))
    (path,) = run_files(run.dir, str(run.run_id))
    (shown,) = (each for each in seen_by_wandb(path, "run") if "notes" in each)
    assert shown["notes"] == "see https://me:[redacted]@host/x"
    assert shown["tags"] == ["api_key=[redacted]", "rl"]
    assert not any(b"hunter2" in each.read_bytes() for each in run.dir.rglob("*") if each.is_file())
