"""What trackio's own storage reads back is what the journal says, after crashes, outages and rewinds too."""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import trackio.fragments
import trackio.sqlite_storage
import trackio.utils

import sightline as sl
from sightline.sinks.trackio import TrackioSink
from tests.harness import until
from tests.sinks import attempts
from tests.sinks.attempts import attempt, commits, kill_and_go_on, rewound, settings, start
from tests.sinks.readers.trackio import rows, seqs, shown


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sinks.reader._PAUSE_S", (0.05, 0.5))


def test_trackio_has_all_values_texts_histograms_and_samples(tmp_path: Path) -> None:
    with start(tmp_path, settings("trackio"), config={"lr": 0.1, "_private": 1}) as run:
        for step in run.steps(7):
            sl.scalar(loss=step / 8, odd=attempts.ODD[step % 6])
            sl.histogram("length", np.arange(100.0), bins=10)
            sl.text(split=f"part {step}")
            sl.sample("rollouts", prompt=["1+1", "2+2"], reward=[0.0, float(step)])
            run.commit(step)
    found = rows(run.dir / "trackio")
    for key in commits(run.dir)[0]["values"]:
        assert attempts.same(shown(found, key), attempts.series(run.dir, key)), key
    assert [row["split"] for row in found] == [f"part {step}" for step in range(7)]
    assert [sum(row["length"]["values"]) for row in found] == [100] * 7
    assert found[0]["length"]["_type"] == trackio.Histogram.TYPE
    tables = [row["samples/rollouts"] for row in found]
    assert {table["_type"] for table in tables} == {trackio.Table.TYPE}
    best = {"prompt": "2+2", "reward": 6.0, "process": 0}
    assert best in tables[6]["_value"]
    assert seqs(found) == list(range(1, 8))
    with sqlite3.connect(run.dir / "trackio" / "sightline.db") as database:
        ((name, config),) = database.execute("SELECT run_name, json_extract(config, '$') FROM configs")
    database.close()
    assert name == "run"
    assert '"lr":0.1,"private":1' in config
    assert '"python"' in config


def test_names_of_the_configuration_with_underscores_in_front_are_told_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """trackio takes such names for its own; whoever is called so without them keeps its name."""
    config = {"_x": 1, "x": {"_y": 2}, "__x": 3, "_": 4, "_z": 5}
    with start(tmp_path, settings("trackio"), config=config) as run:
        run.commit(0, {"loss": 1.0})
    with closing(sqlite3.connect(run.dir / "trackio" / "sightline.db")) as database:
        ((text,),) = database.execute("SELECT json_extract(config, '$') FROM configs")
    kept = json.loads(text)
    told = {f"x_{zlib.crc32(name.encode()):08x}": value for name, value in (("_x", 1), ("__x", 3))}
    assert {name: kept[name] for name in ("x", "z", *told)} == {"x": {"_y": 2}, "z": 5, **told}
    assert any("shows '_x' as 'x_" in each.getMessage() for each in caplog.records)


def test_keys_that_trackio_keeps_for_itself_are_renamed_as_it_does(tmp_path: Path) -> None:
    with start(tmp_path, settings("trackio")) as run:
        run.commit(7, {"step": 1.5, "time": 2.5, "__x": 3.5, "sightline/seq": 4.5})
    (row,) = rows(run.dir / "trackio")
    assert (row["step"], row["__step"], row["__time"], row["____x"]) == (7, 1.5, 2.5, 3.5)
    assert row["sightline/seq"] == 1
    assert 4.5 in row.values()


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.long)])
def test_killed_runs_have_every_commit_once(kills: int, tmp_path: Path) -> None:
    database = tmp_path / "runs" / "run" / "trackio" / "sightline.db"

    def stored() -> int:
        if not database.exists():
            return 0
        connection = sqlite3.connect(database, timeout=60)
        try:
            return int(connection.execute("SELECT COUNT(*) FROM metrics").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # no table yet
        finally:
            connection.close()

    run = kill_and_go_on(tmp_path, kills, {"sinks": ["trackio"]}, stored)
    found = rows(run / "trackio")
    assert seqs(found) == [each["seq"] for each in commits(run)]
    for key in ("loss", "lr"):
        assert attempts.same(shown(found, key), attempts.series(run, key))


def test_a_store_that_is_gone_for_a_while_has_every_commit_once_afterwards(tmp_path: Path) -> None:
    with start(tmp_path, settings("trackio")) as run, attempts.warnings_said() as said:
        folder, aside = run.dir / "trackio", run.dir / "aside"
        for step in run.steps(60):
            sl.scalar(loss=step / 8)
            run.commit(step)
            if step == 20:
                assert run.flush()
                folder.rename(aside)
                folder.write_text("a file in the way")
        until(lambda: any("sink trackio fails" in each for each in said), "the first failure")
        assert not run.flush(0.1)
        folder.unlink()
        aside.rename(folder)
        until(lambda: run.flush(1), "the rest")
    found = rows(run.dir / "trackio")
    assert seqs(found) == list(range(1, 61))
    assert attempts.same(shown(found, "loss"), attempts.series(run.dir, "loss"))


def test_a_store_that_cannot_be_opened_costs_training_nothing(tmp_path: Path) -> None:
    """Until it can: then all is there."""
    folder = tmp_path / "store"
    folder.write_text("a file in the way")
    logger = settings("trackio", dir=str(folder))
    with start(tmp_path, logger) as run, attempts.warnings_said() as said:
        for step in run.steps(20):
            sl.scalar(loss=step)
            run.commit(step)
        until(lambda: any("sink trackio is down" in each for each in said), "the circuit")
        assert not run.flush(600)
        folder.unlink()
        until(lambda: run.flush(1), "the rest")
    assert seqs(rows(folder)) == list(range(1, 21))
    assert len(commits(run.dir)) == 20


def test_on_a_network_file_system_rows_reach_the_dashboard_by_its_inbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, though the sink cannot ask and hands some over twice."""
    monkeypatch.setattr(trackio.utils, "_filesystem_type_for_path", lambda path: "nfs4")
    attempt(tmp_path, settings("trackio"), 5, config={"lr": 0.1})
    (tmp_path / "run" / "cursors" / "trackio.json").unlink()
    run, _ = attempt(tmp_path, settings("trackio"), 8, config={"lr": 0.1})
    assert run.dir is not None
    folder = run.dir / "trackio"
    assert not (folder / "sightline.db").exists()
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        for module in (trackio.sqlite_storage, trackio.utils):
            patch.setattr(module, "TRACKIO_DIR", folder)
        imported = trackio.fragments.import_inbox_dir()
    assert imported == 5 + 8
    found = rows(folder)
    assert seqs(found) == list(range(1, 9))
    assert attempts.same(shown(found, "loss"), attempts.series(run.dir, "loss"))


def test_two_runs_of_one_process_keep_to_their_stores_and_leave_trackios_alone(tmp_path: Path) -> None:
    before = trackio.sqlite_storage.TRACKIO_DIR, trackio.utils.TRACKIO_DIR
    barrier = threading.Barrier(2)

    def train(folder: Path) -> None:
        barrier.wait()
        run = sl.start(
            folder, name="run", logger=settings("trackio", project=folder.name, name="seed 1"), transport=None
        )
        for step in range(50):
            run.commit(step, {"loss": float(step)})
        run.finish()

    threads = [threading.Thread(target=train, args=(tmp_path / name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("a", "b"):
        folder = tmp_path / name / "run" / "trackio"
        assert {path.suffix for path in folder.iterdir()} <= {".db", ".lock", ".db-wal", ".db-shm"}
        assert {path.stem for path in folder.iterdir()} == {name}
        assert seqs(rows(folder, project=name)) == list(range(1, 51))
    after = trackio.sqlite_storage.TRACKIO_DIR, trackio.utils.TRACKIO_DIR
    assert after == before


def test_runs_may_share_a_store(tmp_path: Path) -> None:
    logger = settings("trackio", dir=str(tmp_path / "all"))
    for name, stop in (("a", 3), ("b", 2), ("a", 5)):
        attempt(tmp_path / name, logger, stop)
    for name, stop in (("a", 5), ("b", 2)):
        run_id = next(sl.read_journal(tmp_path / name / "run"))["run_id"]
        assert seqs(rows(tmp_path / "all", run_id)) == list(range(1, stop + 1))


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("rewind", ["continue", "fork", "skip"])
def test_a_rewound_run_is_shown_as_wanted(rewind: str, announced: bool, tmp_path: Path) -> None:
    run = rewound(tmp_path, settings("trackio", rewind=rewind), announced=announced)
    first = [(step, float(step)) for step in range(10)]
    again = [(step, 100.0 + step) for step in range(5, 12)]
    run_id = next(sl.read_journal(run))["run_id"]
    losses = shown(rows(run / "trackio", run_id), "loss")
    if rewind == "continue":
        assert losses == [*first, *again]
    elif rewind == "skip":
        assert losses == [*first, *again[-2:]]
    else:
        assert losses == first
        assert shown(rows(run / "trackio", f"{run_id}.fork02"), "loss") == [*first[:5], *again]


def test_what_is_missing_or_cannot_be_is_refused_at_start_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for its, said in (({"project": ""}, "trackio project=''"), ({"rewind": "back"}, "rewind='back'")):
        with pytest.raises(sl.ConfigurationError, match=said):
            settings("trackio", **its)
    monkeypatch.setattr("sightline.sinks.extras.find_spec", lambda name: None)
    with pytest.raises(sl.ConfigurationError, match=r"pip install 'sightline\[trackio\]'"):
        TrackioSink()


def test_a_million_commits_still_sort(tmp_path: Path) -> None:
    """The last one is found by the text of its id."""
    sink = TrackioSink()
    run = sl.SinkRun("r", "run", tmp_path, 1)
    assert sink.open(run) == 0
    for seq in (9, 10, 999_999, 1_000_000):
        commit = {
            "type": "commit",
            "seq": seq,
            "attempt": 1,
            "step": seq,
            "time": 1.7e9,
            "values": {"a": 1.0},
        }
        sink.write([commit])
    assert TrackioSink().open(run) == 1_000_000
