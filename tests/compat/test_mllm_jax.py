"""MLLM-JAX's logger, tracker, timings and text logs, on one process."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.compat.mllm_jax import (
    PerfTracer,
    StatsLogger,
    StatsTracker,
    WandbRunSpec,
    get_logger,
    saying,
    setup_file_logging,
    setup_logging,
)
from sightline.compat.mllm_jax.wandb_module import SETTINGS


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once a process may be said by each test."""
    monkeypatch.setattr(saying, "_said", set())


def logger_in(folder: Path, **given: Any) -> StatsLogger:
    settings = dataclasses.replace(SETTINGS, log_dir=folder)
    return StatsLogger(**{"cfg": None, "wandb": WandbRunSpec("p", name="n"), "settings": settings, **given})


def test_commits_return_the_last_step_and_never_go_back(tmp_path: Path) -> None:
    """Without a step the next one; lists take consecutive ones; a lower one counts as the last."""
    logger = logger_in(tmp_path)
    steps = [
        logger.commit({"a": 0}), logger.commit([{"a": 1}, {"a": 2}]), logger.commit({"a": 7}, step=7),
        logger.commit({"b": 7}, step=7), logger.commit({"a": 8}, step=3), logger.commit([]),
        logger.commit(({"a": i} for i in (9, 10)), step=9),
    ]  # fmt: skip
    assert steps == [0, 2, 7, 7, 7, 7, 10]
    logger.finish()
    commits = [r for r in sl.read_journal(tmp_path / "p" / "n") if r["type"] == "commit"]
    assert [commit["step"] for commit in commits] == [0, 1, 2, 7, 7, 7, 9, 10]


def test_counts_are_kept_apart_from_values(tmp_path: Path) -> None:
    """They went nowhere before."""
    logger = logger_in(tmp_path)
    logger.commit({"loss": 0.5, "loss__count": 8.0}, step=1)
    logger.finish()
    (commit,) = [r for r in sl.read_journal(tmp_path / "p" / "n") if r["type"] == "commit"]
    assert (commit["values"], commit["counts"]) == ({"loss": 0.5}, {"loss__count": 8})


@pytest.mark.parametrize("given", [{"process_index": 1}, {"wandb": WandbRunSpec("p", mode="off")}])
def test_a_logger_that_does_not_write_counts_all_the_same(tmp_path: Path, given: dict[str, Any]) -> None:
    """On other processes, and when it is off."""
    logger = logger_in(tmp_path, **given)
    assert [logger.commit({"a": 1}), logger.commit({"a": 1}, step=5)] == [0, 5]
    logger.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("data", "step"), [(3, None), ({"a": 1}, "x"), ([3], None), (None, 1)])
def test_a_commit_that_cannot_be_right_does_not_raise(tmp_path: Path, data: Any, step: Any) -> None:
    """It is said in the log."""
    logger = logger_in(tmp_path)
    logger.commit(data, step=step)
    assert logger.commit({"a": 1}, step=4) == 4
    logger.finish()


def test_a_tracker_exports_under_the_names_it_always_had() -> None:
    """Scalars with their mean, summaries with four statistics, timings apart from any scope, and counts."""
    tracker = StatsTracker("train/")
    with tracker.scope("/actor/"), tracker.record_timing("/update/"):
        tracker.scalar(loss=1.0, kl=np.float32(0.5))
        tracker.scalar(loss=3.0)
        with tracker.disable_scope(), tracker.scope(""):
            tracker.summary("/reward/", [[1, 3]])
    stats = tracker.export()
    assert stats.pop("timeperf/update") > 0
    assert stats == {
        "train/actor/loss": 2.0, "train/actor/loss__count": 2, "train/actor/kl": 0.5,
        "train/actor/kl__count": 1, "reward/mean": 2.0, "reward/std": 1.0, "reward/min": 1.0,
        "reward/max": 3.0, "reward__count": 2, "timeperf/update__count": 1,
    }  # fmt: skip
    assert tracker.export() == {}


def test_an_export_may_leave_the_records_in_place() -> None:
    """For a look at what there is."""
    tracker = StatsTracker()
    tracker.scalar(a=1.0)
    assert tracker.export(reduce=False, reset=False) == tracker.export(reduce=False)
    assert tracker.export(reduce=False) == {}


def test_a_scope_is_left_on_an_exception_and_a_timing_is_recorded() -> None:
    """As with any block."""
    tracker = StatsTracker()
    with pytest.raises(KeyError), tracker.scope("a"), tracker.record_timing("t"):
        raise KeyError
    tracker.scalar(b=1.0)
    assert {"b", "timeperf/t"} <= set(tracker.export(reduce=False))


def test_what_a_key_cannot_hold_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A key has one reduction, and training goes on."""
    tracker = StatsTracker()
    tracker.scalar(a=1.0)
    for _ in range(2):
        tracker.summary("a", [1.0, 2.0])
        tracker.scalar(b="x", c=2.0)
    assert tracker.export(reduce=False) == {"a": 1.0, "a__count": 1, "c": 2.0, "c__count": 2}
    assert sorted(message.partition(":")[2][:4] for message in caplog.messages) == [" 'a'", " 'b'"]


def test_blocks_and_functions_are_timed() -> None:
    """Coroutines too; as sums since the last export."""
    tracer = PerfTracer()

    @tracer.trace_perf("sync")
    def sync() -> int:
        return 1

    @tracer.trace_perf("async")
    async def waits() -> int:
        await asyncio.sleep(0.01)
        return 2

    with tracer.trace_scope("block"):
        assert (sync(), sync(), asyncio.run(waits())) == (1, 1, 2)
    stats = tracer.export()
    assert {key for key in stats if not key.endswith(("_max", "_slowest"))} == {
        "timeperf/sync", "timeperf/async", "timeperf/block",
    }  # fmt: skip
    assert float(stats["timeperf/async"]) >= 0.01
    assert float(stats["timeperf/block"]) >= float(stats["timeperf/async"])


def test_a_tracer_that_is_off_is_not_there() -> None:
    """A decorated function is the function itself."""
    tracer = PerfTracer(enabled=False)

    def function() -> None: ...

    assert tracer.trace_perf("x")(function) is function
    with tracer.trace_scope("x"):
        pass
    assert tracer.export() == {}


@pytest.fixture
def plugins() -> Iterator[logging.Logger]:
    """The logger that all of them hang on, as it was before."""
    logger = logging.getLogger("plugins")
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.NOTSET)


def test_text_logs_name_their_process_and_touch_nobody_elses(
    plugins: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr and in a file of the process's own, each from its level on; set up again, still once."""
    before = logging.getLogger().handlers[:]
    for _ in range(2):
        setup_logging("WARNING", process_index=3)
        path = setup_file_logging(tmp_path / "logs", process_index=3)
    assert path == tmp_path / "logs" / "p00003.log"
    get_logger("plugins.training.x").info("for the file")
    get_logger("elsewhere").warning("for both")
    written = path.read_text().splitlines()
    assert [line.partition(" [p3] ")[2] for line in written] == [
        "INFO plugins.training.x: for the file",
        "WARNING plugins.elsewhere: for both",
    ]
    assert capsys.readouterr().err.splitlines() == written[1:]
    assert logging.getLogger().handlers == before
    assert len(plugins.handlers) == 2
