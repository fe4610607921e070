"""All sinks on one run: the same trouble in each at once, forks, secrets, sample tables, `sightline sync`."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

import sightline as sl
from sightline.cli import main as cli
from sightline.sinks import wandb_file
from sightline.sinks.jsonl import JSONLSink
from sightline.sinks.swanlab_file import records_in
from sightline.sinks.wandb_run import run_files
from tests.harness import until
from tests.hostile_configs import LOOK_ALIKES, MARKER, hostile, secret, with_look_alikes
from tests.sinks import attempts
from tests.sinks.all_sinks import STORING, check, check_console, check_prometheus, held, settings, sinks_of
from tests.sinks.attempts import commits
from tests.sinks.faulty import FaultySink, Kind, Trouble, faulty
from tests.sinks.readers import swanlab, tensorboard, trackio, wandb
from tests.sinks.readers.jsonl import rows as read_rows
from tests.sinks.readers.prometheus import scraped
from tests.sinks.sockets import bad_server

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of MLflow, which takes seconds to make one."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own; and short pauses between tries."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "SWANLAB_", "MLFLOW_TRACKING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setattr("sightline.sinks.reader._PAUSE_S", (0.05, 0.5))


@pytest.fixture
def start(tmp_path: Path, database: Path) -> Iterator[Callable[[Kind], Job]]:
    """Starts a job, which is over after the test."""
    jobs: list[Job] = []

    def started(kind: Kind) -> Job:
        jobs.append(Job(tmp_path, database, kind))
        return jobs[-1]

    yield started
    for job in jobs:
        job.trouble.over.set()
        job.run.finish(timeout=60)


class Well(JSONLSink):
    """The sink that is well."""

    name = "well"


class Job:
    """A run with every sink in trouble around the real one, and another that is well."""

    def __init__(self, folder: Path, database: Path, kind: Kind) -> None:
        self.database = database
        self.trouble = Trouble(kind)
        self.logger = settings(database)
        self.sinks = {name: faulty(sink, self.trouble) for name, sink in sinks_of(self.logger).items()}
        well = Well(sl.JSONLConfig(path=folder / "well.jsonl"))
        self.run = sl.start(
            folder, name="run", logger=self.logger,
            sinks=[well, *self.sinks.values()],
        )  # fmt: skip
        self.next = 0
        self._rows = folder / "well.jsonl"

    def commit(self, steps: int) -> None:
        for step in range(self.next, self.next + steps):
            sl.scalar(**{"train/loss": 1.0 / (step + 1)})
            self.run.commit(step)
        self.next += steps

    def check_untouched(self) -> None:
        """The journal and the sink that is well have all of it, while the others are in trouble."""
        until(lambda: len(commits(self.run.dir)) == self.next, "the journal")
        rows = self._rows
        until(lambda: rows.exists() and rows.read_bytes().count(b"\n") == self.next, "the sink that is well")
        assert [row["seq"] for row in read_rows(rows)] == [each["seq"] for each in commits(self.run.dir)]
        assert threading.get_ident() not in {thread for sink in self.all for thread in sink.threads}

    def told(self, what: str) -> dict[str, list[float]]:
        """What the journal says of each sink, commit by commit."""
        return {
            sink.name: [
                value
                for commit in commits(self.run.dir)
                if (value := commit["values"].get(f"obs/sink/{sink.name}/{what}")) is not None
            ]
            for sink in self.all
        }

    @property
    def all(self) -> list[FaultySink]:
        return list(self.sinks.values())

    @property
    def storing(self) -> list[FaultySink]:
        return [sink for sink in self.all if sink.stores]

    @property
    def dir(self) -> Path:
        assert self.run.dir is not None
        return self.run.dir


@pytest.mark.parametrize("kind", ["open raises", "write raises"])
def test_sinks_that_raise_get_everything_in_the_next_attempt(
    kind: Kind, start: Callable[[Kind], Job], database: Path, tmp_path: Path
) -> None:
    """All at once; nobody waits for them, and the journal counts what they raised."""
    job = start(kind)
    job.commit(30)
    until(lambda: all(len(sink.calls) >= 3 for sink in job.all), "failures of each")
    job.commit(1)
    job.check_untouched()
    assert all(sum(errors) > 0 for errors in job.told("errors").values()), job.told("errors")
    assert all(job.told("lag_steps")[sink.name][-1] == 30 for sink in job.storing)
    assert not job.run.finish(timeout=1)
    assert all("write" not in sink.calls for sink in job.storing) is (kind == "open raises")
    with sl.start(tmp_path, name="run", resume="must", logger=settings(database, *STORING)) as run:
        for step in run.steps(35):
            sl.scalar(**{"train/loss": 1.0 / (step + 1)})
            run.commit(step)
    check(run.dir, database)
    assert len(commits(run.dir)) == 35


def test_slow_sinks_are_behind_and_complete_at_the_end(start: Callable[[Kind], Job], database: Path) -> None:
    job = start("slow")
    job.commit(100)
    until(lambda: all(sink.calls for sink in job.all), "a call of each")
    job.check_untouched()
    until(lambda: job.run.flush(1), "all that there is")
    job.commit(1)
    until(lambda: len(commits(job.dir)) == job.next, "the journal")
    # A call takes a second, over 100 commits at most.
    assert all(max(ms) >= 10 for name, ms in job.told("commit_ms").items() if job.sinks[name].stores)
    until(lambda: job.run.flush(1), "all that there is")
    check_prometheus(job.dir, job.sinks["prometheus"].sink.port)  # type: ignore[attr-defined]
    assert job.run.finish()
    check(job.dir, database)
    check_console(job.dir, job.sinks["console"].sink._terminal._stream.getvalue())  # type: ignore[attr-defined]


def test_sinks_that_come_back_after_200_steps_have_each_of_them_once(
    start: Callable[[Kind], Job], database: Path
) -> None:
    """Though half of what they had refused was stored."""
    job = start("answers are lost")
    job.commit(10)
    until(lambda: all(len(sink.calls) >= 3 for sink in job.all), "failures of each")
    job.commit(190)
    job.check_untouched()
    job.trouble.over.set()
    job.commit(60)
    until(lambda: job.run.flush(1), "the rest")
    check_prometheus(job.dir, job.sinks["prometheus"].sink.port)  # type: ignore[attr-defined]
    assert job.run.finish()
    job.check_untouched()
    check(job.dir, database)
    check_console(job.dir, job.sinks["console"].sink._terminal._stream.getvalue())  # type: ignore[attr-defined]
    assert all(sum(errors) > 0 for errors in job.told("errors").values())


_HANGS = """
import sys
from pathlib import Path
from tests.harness import until
from tests.sinks.test_all_sinks import Job

job = Job(Path("runs"), Path(sys.argv[1]), "hangs")
job.commit(30)
until(lambda: all("write" in sink.calls for sink in job.all), "a write that hangs, of each")
job.commit(1)
job.check_untouched()
for sink in job.storing:
    assert job.told("lag_steps")[sink.name][-1] == 30
assert not job.run.finish(timeout=1)
print("finished")
"""


def sync(run: Path, *sinks: str) -> list[str]:
    """What ``sightline sync`` says of them."""
    done = CliRunner().invoke(cli, ["sync", str(run), *(f"--to={sink}" for sink in sinks)])
    assert done.exit_code == 0, done.output
    return [line for line in done.output.splitlines() if "up to date" in line]


def test_sinks_that_hang_for_ever_get_everything_by_sightline_sync_and_nothing_twice(
    database: Path, tmp_path: Path
) -> None:
    """The commits, `finish` and the end of the program are as if they were not there."""
    assert run_python(_HANGS, tmp_path, str(database)).endswith("finished\n")
    run = tmp_path / "runs" / "run"
    for missing in (31, 0):
        said = sync(run, *STORING)
        assert [
            line.partition("; ")[2].split(" (")[0].removesuffix(" were handed over") for line in said
        ] == [f"{missing} commits"] * len(STORING)
        check(run, database)


_DIES = """
import os, signal, sys
from pathlib import Path
import sightline as sl
from tests.harness import until
from tests.sinks.all_sinks import STORING, settings

logger = settings(Path(sys.argv[1]), *STORING)
run = sl.start("runs", name="run", logger=logger)
for step in range(300):
    sl.scalar(**{"train/loss": 1.0 / (step + 1)})
    run.commit(step)
    if step == 200:
        until(lambda: run.flush(1))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.long
def test_a_killed_run_is_brought_up_in_every_sink_and_nothing_twice(database: Path, tmp_path: Path) -> None:
    """Each has another part of it already."""
    run_python(_DIES, tmp_path, str(database), code=-signal.SIGKILL)
    run = tmp_path / "runs" / "run"
    assert len(commits(run)) > 200
    for _ in range(2):
        assert len(sync(run, *STORING)) == len(STORING)
        check(run, database)


_FORKS = """
import multiprocessing, os, sys
from pathlib import Path
import sightline as sl
from sightline.sinks.prometheus import PrometheusSink
from tests.harness import until
from tests.sinks.all_sinks import STORING, check_prometheus, settings

def load(tasks, done):  # what a data loader's worker does, and more
    for step in iter(tasks.get, None):
        sl.scalar(**{"train/loss": 1e9})
        run.commit(step)
        run.flush(5)
        done.put(step)

logger = settings(Path(sys.argv[1]))
prometheus = PrometheusSink(logger.prometheus)
context = multiprocessing.get_context("fork")
loaders = []
with sl.start("runs", name="run", sinks=["console", prometheus, *STORING], logger=logger) as run:
    for step in run.steps(60):
        sl.scalar(**{"train/loss": 1.0 / (step + 1)})
        run.commit(step)
        if step == 10:
            until(lambda: run.flush(1))  # every sink is open
        if step in (0, 10, 30):  # the first one while sinks are being opened
            tasks, done = context.Queue(), context.Queue()
            loaders.append((context.Process(target=load, args=(tasks, done)), tasks, done))
            loaders[-1][0].start()
        if step in (0, 20, 40):
            child = os.fork()
            if child == 0:
                sl.scalar(**{"train/loss": 1e9})
                run.commit(step)
                run.flush(5)
                raise SystemExit  # with all exit hooks
            assert os.waitpid(child, 0)[1] == 0
        for _, tasks, done in loaders:
            tasks.put(step)
            assert done.get(timeout=120) == step
    for process, tasks, _ in loaders:
        tasks.put(None)
        process.join(120)
        assert process.exitcode == 0
    until(lambda: run.flush(1))
    check_prometheus(run.dir, prometheus.port)
"""


def test_forks_of_a_run_with_every_sink_write_nothing_and_hang_nobody(database: Path, tmp_path: Path) -> None:
    """Data loaders that live through the run, and children that end as any program does."""
    output = run_python(_FORKS, tmp_path, str(database))
    run = tmp_path / "runs" / "run"
    assert len(commits(run)) == 60
    check(run, database)
    check_console(run, output)


def run_python(script: str, cwd: Path, *arguments: str, code: int = 0) -> str:
    """What it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments], cwd=cwd, capture_output=True, text=True,
        timeout=300, env={**os.environ, "PYTHONPATH": attempts.paths()},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


_ENDS_SOON = """
import sys, threading
from pathlib import Path
import sightline as sl
from tests.harness import until

url = sys.argv[1]
servers = {"wandb": {"mode": "online"}, "swanlab": {"mode": "online"}, "mlflow": {"tracking_uri": url}}
logger = sl.StatsLoggerConfig.from_dict({"sinks": ["jsonl", *servers], "naming": "off", **servers})
run = sl.start("runs", name="run", logger=logger)
run.commit(0, {"loss": 1.0})
assert not run.finish(timeout=600)
print("finished", flush=True)
children = lambda: [task for task in Path("/proc/self/task").glob("*/children") if task.read_text()]
until(lambda: not children() and not any("sink" in each.name for each in threading.enumerate()))
"""


@pytest.mark.long
def test_a_run_that_ends_before_a_server_was_reached_is_left_to_sightline_sync(tmp_path: Path) -> None:
    """None waits out the patience of its SDK, which is a minute and more; no thread or process is left; and
    a line for each sink names the command."""
    with ExitStack() as stack:
        jobs = {}
        for trouble in ("refuses", "hangs"):
            url = f"http://127.0.0.1:{stack.enter_context(bad_server(trouble))[0]}"
            (tmp_path / trouble).mkdir()
            jobs[trouble] = process = subprocess.Popen(
                [sys.executable, "-c", _ENDS_SOON, url], cwd=tmp_path / trouble, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={
                    **os.environ, "PYTHONPATH": attempts.paths(), "HOME": str(tmp_path),
                    "WANDB_BASE_URL": url, "WANDB_API_KEY": "a" * 40,
                    "SWANLAB_API_HOST": url, "SWANLAB_API_KEY": "k" * 21,
                },
            )  # fmt: skip
            stack.callback(process.kill)
        for trouble, process in jobs.items():
            output, errors = process.communicate(timeout=75)
            assert (process.returncode, output) == (0, "finished\n"), errors
            for sink in ("wandb", "swanlab", "mlflow"):
                (said,) = [line for line in errors.splitlines() if f"sink {sink} was left" in line]
                assert "was left 1 commit behind, and has not been reached; " in said
                assert said.endswith(f"sightline sync runs/run --to {sink}")
            rows = tmp_path / trouble / "runs" / "run" / "rows.jsonl"
            assert rows.read_bytes().count(b"\n") == 1


_OTHER_DISK = """
import dataclasses, json, logging, os, shutil
from pathlib import Path
import sightline as sl
from tests.sinks.all_sinks import STORING, settings

said = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("sightline").addHandler(handler)
disk = Path("disk/run")
places = {
    "jsonl": {"path": disk / "rows.jsonl"}, "swanlab": {"dir": disk / "swanlab"}, "wandb": {"dir": disk},
    "tensorboard": {"dir": disk / "tensorboard"}, "trackio": {"dir": disk / "trackio"},
}
logger = settings(Path("disk/mlflow.db"), *STORING)
logger = dataclasses.replace(
    logger, resume="allow",
    **{name: dataclasses.replace(getattr(logger, name), **its) for name, its in places.items()},
)
def go(first, stop):
    for step in range(first, stop):
        run.commit(step, {f"k{i}": float(step) for i in range(60)})

run = sl.start("runs", name="run", logger=logger)
go(0, 3)
assert run.flush(120)
with open("disk/filler", "wb", 0) as filler:
    try:
        while True:  # takes all that is left
            filler.write(bytes(4096))
    except OSError:
        pass
go(3, 60)
while sum(reader.is_down for reader in run.logger._worker._readers) < 4:
    run.flush(0.1)
when_full = said[:]
os.remove("disk/filler")
go(60, 65)
while not run.flush(1):
    pass
run.finish()
print(json.dumps([when_full, said[len(when_full):]]))
run = sl.start("runs", name="run", logger=logger)
go(65, 67)
assert run.finish()
shutil.copytree("disk", "kept", symlinks=True)
for name in ("metrics.jsonl", "run.json"):
    shutil.copy(f"runs/run/{name}", "kept/run")
"""


@pytest.mark.long
def test_a_full_disk_of_the_sinks_alone_is_said_once_with_its_path_and_costs_no_sink_a_step(
    tmp_path: Path,
) -> None:
    """The journal is on another one, and has all of it. W&B and SwanLab say at the end what they lack."""
    (tmp_path / "disk").mkdir()
    script = f"import sightline.sinks.reader as reader; reader._PAUSE_S = (0.05, 0.5)\n{_OTHER_DISK}"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c",
         'mount -t tmpfs -o size=6m tmpfs disk && exec "$@"',
         "sh", sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=400,
        env={**os.environ, "PYTHONPATH": attempts.paths()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # it needs `unshare`, and a kernel that lets users mount a tmpfs
    when_full, later = json.loads(done.stdout.splitlines()[-1])
    assert len(when_full) == 1, when_full
    (said,) = when_full
    assert said.startswith("sightline: no space for ")
    assert "disk/" in said.partition(" (")[0]
    assert [each for each in later if "there is space again for" in each and "disk/" in each]
    for sink, words in (("wandb", "has stored the commits up to"), ("swanlab", "hold the commits up to")):
        (said,) = [each for each in later if f"sink {sink} fails" in each]
        assert words in said
        assert str(tmp_path / "disk" / "run") in said
        assert said.count(f"sightline sync runs/run --to {sink}") == 1
    check(tmp_path / "kept" / "run", tmp_path / "kept" / "mlflow.db")
    assert len(commits(tmp_path / "kept" / "run")) == 67


# --- one run with everything in it -------------------------------------------------------------------------


class Whole(NamedTuple):
    """A run with hostile configurations, and what the sinks that store nothing have shown."""

    run: Path
    page: str
    scrape: dict[str, tuple[float, dict[str, str], str]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """All hostile configurations at once, the command line among them; sample tables; counts of tokens."""
    folder = tmp_path_factory.mktemp("whole")
    configs = hostile()
    with pytest.MonkeyPatch.context() as patch:
        argv = ["python", "train.py", *configs["command lines"]["argv"], configs["command lines"]["command"]]
        patch.setattr(sys, "orig_argv", argv)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("WANDB_API_KEY", secret() * 4)
        patch.setenv("SWANLAB_API_KEY", secret())
        yield shown_everywhere(folder, configs)


def shown_everywhere(folder: Path, config: Any) -> Whole:
    """A run of that configuration in all sinks, each with a store in the run directory."""
    logger = dataclasses.replace(
        settings(folder / "run" / "mlflow.db"), console=sl.ConsoleConfig(style="table", interval=0)
    )
    sinks = sinks_of(logger)
    with sl.start(
        folder, name="run", logger=logger, sinks=list(sinks.values()), config=with_look_alikes(config)
    ) as run:
        for step in run.steps(3):
            sl.scalar(**{"train/loss": step / 8})
            sl.total(token=1000 + step, **{"train/token_count": 2000 + step})
            sl.sample(
                "rollouts",
                prompt=[f"<b>1+{step}</b>", "2+2"],
                completion=[f"é {step}", "```"],
                reward=[0.5, 1.0 * step],
            )
            run.commit(step)
        until(lambda: run.flush(1), "every sink")
        scrape = scraped(sinks["prometheus"].port)  # type: ignore[attr-defined]
    assert run.dir is not None
    return Whole(run.dir, sinks["console"]._terminal._stream.getvalue(), scrape)  # type: ignore[attr-defined]


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what its format may have cut in pieces or compressed."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())
    if data.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as connection:
            yield "\n".join(connection.iterdump()).encode()
    if path.suffix == ".wandb":
        yield from wandb_file.records(path)
    if path.suffix == ".swanlab":
        yield from (record.SerializeToString() for record in records_in(path))


def leaks(folder: Path) -> dict[str, list[bytes]]:
    """The markers that are in files of a directory."""
    found = {
        str(path.relative_to(folder)): sorted(
            {each for data in contents(path) for each in MARKER.findall(data)}
        )
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    return {path: markers for path, markers in found.items() if markers}


def test_no_secret_of_thirty_hostile_configurations_is_in_any_file_of_any_sink(whole: Whole) -> None:
    assert leaks(whole.run.parent) == {}
    assert MARKER.findall(whole.page.encode()) == []
    # All are looked into that have something to hide.
    names = " ".join(str(path.relative_to(whole.run)) for path in whole.run.rglob("*") if path.is_file())
    for part in (
        "run.json",
        "metrics.jsonl",
        "rows.jsonl",
        "mlflow.db",
        ".wandb",
        ".swanlab",
        "config.yaml",
        "events.",
        "sightline.db",
    ):
        assert part in names
    said = [
        data
        for path in whole.run.rglob("*")
        if path.is_file()
        for data in contents(path)
        if b"[redacted]" in data
    ]
    assert len(said) >= 6


def test_what_only_sounds_like_a_secret_is_in_every_sink(whole: Whole, database: Path) -> None:
    """In its configuration, where it keeps one; and counts of tokens, as metrics."""
    for name in STORING:
        folder = whole.run / {"jsonl": "rows.jsonl", "mlflow": "mlflow.db"}.get(name, name)
        files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
        data = b"\n".join(each for path in files for each in contents(path))
        for key, value in LOOK_ALIKES.items() if name != "jsonl" else ():
            assert key.encode() in data, (name, key)
            for text in map(str, value) if isinstance(value, list) else (str(value),):
                escaped = text.replace("<", r"\\u003c").replace(">", r"\\u003e").encode()
                assert text.encode() in data or escaped in data, (name, key)
        series = held(name, whole.run, whole.run / "mlflow.db").series
        for key, first in (("token", 1000), ("train/token_count", 2000)):
            assert series[key] == [(step, float(first + step)) for step in range(3)], name
    assert whole.scrape["sightline_token"][0] == 1002
    assert "token" in whole.page
    assert "2002" in whole.page


def test_the_rows_of_sample_tables_are_in_every_sink_that_shows_tables(whole: Whole) -> None:
    """W&B's table files, trackio's tables, SwanLab's texts, TensorBoard's, and the console's page."""
    lines = [line for line in sl.read_journal(whole.run) if line["type"] == "sample"]
    assert [len(line["rows"]) for line in lines] == [2, 2, 2]
    (file,) = run_files(whole.run, wandb.run_id(whole.run))
    rows = wandb.stored(whole.run)
    of_trackio = trackio.rows(whole.run / "trackio")
    of_swanlab = swanlab.experiment(whole.run).texts["samples/rollouts"]
    of_tensorboard = tensorboard.read(whole.run / "tensorboard").Tensors("samples/rollouts")
    for i, line in enumerate(lines):
        table = json.loads((file.parent / "files" / rows[i]["samples/rollouts"]["path"]).read_text())
        shown = [dict(zip(table["columns"], each, strict=True)) for each in table["data"]]
        assert shown == [{"step": i, **row} for row in line["rows"]]
        assert of_trackio[i]["samples/rollouts"]["_value"] == line["rows"]
        assert [text for text, _ in of_swanlab[i]] == [
            f"[prompt]\n{row['prompt']}\n\n[completion]\n{row['completion']}" for row in line["rows"]
        ]
        text = of_tensorboard[i].tensor_proto.string_val[0].decode()
        for row in line["rows"]:
            assert f"```\n{row['prompt']}\n```" in text
            assert f"\n{row['completion']}\n" in text
            assert f"reward: {row['reward']}, process: 0" in text
    for row in lines[-1]["rows"]:
        assert f"prompt: {row['prompt']}  completion: {row['completion']}" in whole.page


@pytest.mark.long
@pytest.mark.parametrize("name", hostile())
def test_no_secret_of_one_hostile_configuration_is_in_any_file_of_any_sink(name: str, tmp_path: Path) -> None:
    """As it stands, at the top."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.sinks.test_all_sinks.with_look_alikes", lambda config: config)
        whole = shown_everywhere(tmp_path, hostile()[name])
    assert leaks(whole.run.parent) == {}
    assert MARKER.findall(whole.page.encode()) == []
