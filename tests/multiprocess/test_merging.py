"""What the root's journal says is what NumPy says of all processes' data put together."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.harness import Job, Workers, process_values, until
from tests.multiprocess.workers.merging import BIG, rewards

STEPS = 6
close = pytest.approx


def together(processes: list[int], step: int) -> np.ndarray[Any, Any]:
    return np.concatenate([rewards(p, step) for p in processes])


def train_commits(job: Job) -> dict[int, dict[str, Any]]:
    return {c["step"]: c for c in job.root.commits() if "train/tokens" in c["values"]}


# Eight go the ways of four; they take as long as all the others of this file.
@pytest.mark.parametrize("processes", [2, 4, pytest.param(8, marks=pytest.mark.long)])
def test_values_counts_and_timings_are_those_of_all_processes(workers: Workers, processes: int) -> None:
    skips = {"1": [2, 3], str(processes - 1): [2, 5]}
    job = workers.start_job(processes, "merge", steps=STEPS, skips=skips)
    job.wait()  # nobody calls finish(): the exit hook does, before JAX's own
    assert [worker.notes("backends") for worker in job] == [[False]] * processes

    train = train_commits(job)
    assert sorted(train) == list(range(STEPS))
    for step, commit in train.items():
        present = [p for p in range(processes) if step not in skips.get(str(p), [])]
        values, counts = commit["values"], commit["counts"]
        assert (commit["reported"], commit["expected"], commit.get("missing")) == (
            len(present),
            processes,
            None,
        )
        assert not [key for key in values if key.startswith("obs/")]

        data = together(present, step)
        expected = {
            "mean": data.mean(), "std": data.std(), "min": data.min(), "max": data.max(),
            "sum": math.fsum(data), "count": data.size,
        }  # fmt: skip
        for name, value in expected.items():
            assert values[f"train/reward/{name}"] == close(value, rel=1e-9), name
        assert values["train/loss"] == close(data.mean(), rel=1e-9)
        assert values["train/kept/mean"] == close(data[data > 1e6].mean(), rel=1e-9)
        assert values["train/solved"] == (data > 1e6).sum() / data.size
        assert counts["train/reward__count"] == counts["train/loss__count"] == data.size
        assert counts["train/kept__count"] == (data > 1e6).sum()

        only = {f"train/only/{p}": rewards(p, step) for p in present if rewards(p, step).size}
        assert {k: v for k, v in values.items() if k.startswith("train/only/")} == {
            key: close(own.mean(), rel=1e-9) for key, own in only.items()
        }
        assert {key: counts[f"{key}__count"] for key in only} == {key: own.size for key, own in only.items()}

        assert values["train/tokens"] == sum(BIG + p for p in present)
        assert values["train/documents"] == 7
        assert values["train/version"] == 10 * step + present[0]
        assert commit["texts"]["train/split"] == f"from {present[0]}"

        own_values = process_values(job.root.journal(), commit)
        assert own_values["train/shard"] == {p: p + 0.5 for p in present}
        took = own_values["time/train/rollout_s"]
        assert list(took) == present
        assert values["time/train/rollout_s"] == close(np.mean(list(took.values())), rel=1e-9)
        assert values["time/train/rollout_s_max"] == max(took.values())
        assert values["time/train/rollout_s_slowest"] == max(took, key=took.__getitem__)
        for p in present:
            done_before = [s for s in range(step) if s not in skips.get(str(p), [])]
            assert took[p] == close(job[p].notes("rollout_s")[len(done_before)], abs=1e-12)


def test_a_nan_is_traced_to_its_process_and_first_step(workers: Workers) -> None:
    """In the commits from there on, and once as an event with the line that recorded it."""
    job = workers.start_job(3, "diverges", process=1, step=2, steps=5)
    job.wait()
    commits = job.root.commits()
    record = {"count": 1, "processes": [1], "nan": 1}
    assert [c.get("nonfinite_records") for c in commits] == [None, None, *[{"train/loss": record}] * 3]
    (event,) = [r for r in job.root.journal() if r["type"] == "event" and r["event"] == "nonfinite"]
    assert (event["key"], event["step"], event["processes"], event["count"]) == ("train/loss", 2, [1], 1)
    file, line = event["site"].rsplit(":", 1)
    assert "sl.scalar(loss=" in Path(file).read_text().splitlines()[int(line) - 1]
    assert job.root.output.count("non-finite") == 1


def test_histograms_are_numpys_over_all_processes(workers: Workers) -> None:
    """Edges to the bit and all values counted, of processes with shares of different length or none."""
    job = workers.start_job(3, "diverges", process=1, step=9, steps=5)
    job.wait()
    lines = {r["step"]: r for r in job.root.journal() if r["type"] == "histogram"}
    commits = job.root.commits()
    assert [lines[c["step"]]["seq"] for c in commits] == [c["seq"] for c in commits]
    for step, line in lines.items():
        data = together([0, 1, 2], step)
        assert line["key"] == "train/reward"
        assert line["edges"] == np.histogram(data, 16)[1].tolist()
        assert sum(line["counts"]) == commits[step]["counts"]["train/reward__count"] == data.size


def test_train_eval_and_root_only_commits_of_a_step_stay_apart(workers: Workers) -> None:
    job = workers.start_job(2, "merge", steps=STEPS, skips={"1": [2, 3]})
    job.wait()
    commits = job.root.commits()
    assert [r for r in job.root.journal() if r["type"] == "late"] == []
    assert [c["seq"] for c in commits] == list(range(1, len(commits) + 1))
    assert [(c["step"], c["k"]) for c in commits] == sorted({(c["step"], c["k"]) for c in commits})
    for step in range(STEPS):
        mine = [c for c in commits if c["step"] == step]
        kinds = ["before", "train", *(["eval"] if step % 2 == 0 else []), "root"]
        assert [next(iter(sorted(c["values"]))) for c in mine] == [
            {
                "before": "root/before",
                "train": "time/train/rollout_s",
                "eval": "eval/accuracy",
                "root": "root/step",
            }[k]
            for k in kinds
        ]
        here = [0] if step in (2, 3) else [0, 1]
        assert [c["reported"] for c in mine] == [1, len(here), *([len(here)] if step % 2 == 0 else []), 1]
        if step % 2 == 0:
            assert mine[2]["values"]["eval/accuracy"] == close(together(here, step).mean(), rel=1e-9)
            assert mine[2]["counts"]["eval/accuracy__count"] == together(here, step).size


def test_process_allgather_gives_the_numbers_of_the_store(workers: Workers) -> None:
    job = workers.start_job(2, "merge", steps=3, skips={}, transport="process_allgather")
    job.wait()
    assert [worker.notes("backends") for worker in job] == [[True], [True]]
    for step, commit in train_commits(job).items():
        data = together([0, 1], step)
        assert (commit["reported"], commit.get("missing")) == (2, None)
        assert commit["values"]["train/reward/mean"] == close(data.mean(), rel=1e-9)
        assert commit["values"]["train/reward/std"] == close(data.std(), rel=1e-9)
        assert commit["counts"]["train/reward__count"] == data.size
        assert commit["values"]["train/tokens"] == 2 * BIG + 1
        assert process_values(job.root.journal(), commit)["train/shard"] == {0: 0.5, 1: 1.5}


def test_exports_of_two_trackers_do_not_mix(workers: Workers) -> None:
    job = workers.start_job(2, "two_unnamed_trackers")
    job.wait()
    assert job.root.notes("exported") == [
        [{"loss": step, "loss__count": 2}, {"accuracy": 10 + step, "accuracy__count": 2}] for step in range(3)
    ]
    assert job[1].notes("exported") == [[{}, {}]] * 3


@pytest.mark.parametrize("processes", [2, 4])
def test_two_calls_commit_the_merged_export_on_the_root_alone(workers: Workers, processes: int) -> None:
    job = workers.start_job(processes, "two_calls", steps=4)
    job.wait()
    assert [[stats for _, stats in worker.notes("exported")] for worker in job[1:]] == [[{}] * 4] * (
        processes - 1
    )
    commits = job.root.commits("run")
    assert [(c["step"], c["k"], c["seq"]) for c in commits] == [(step, 0, step + 1) for step in range(4)]
    for step, stats in job.root.notes("exported"):
        data = together(list(range(processes)), step)
        assert stats["loss"] == close(data.mean(), rel=1e-9)
        assert stats == {
            "loss": stats["loss"], "loss__count": data.size, "split": "train",
            "tokens": processes * BIG + sum(range(processes)),
        }  # fmt: skip
        assert commits[step]["values"] == {"loss": stats["loss"], "tokens": stats["tokens"]}
        assert commits[step]["counts"] == {"loss__count": data.size}
        assert commits[step]["texts"] == {"split": "train"}


def test_reduce_all_gives_everyone_the_result(workers: Workers) -> None:
    job = workers.start_job(4, "two_calls", steps=4, reduce="all")
    job.wait()
    assert job.root.notes("exported")[0][1]["loss__count"] == together([0, 1, 2, 3], 0).size
    for worker in job[1:]:
        assert worker.notes("exported") == job.root.notes("exported")


def test_two_calls_pair_by_the_active_step(workers: Workers) -> None:
    job = workers.start_job(2, "two_calls", steps=4, active=True, skip={"1": [1]}, timeout=60.0)
    job.wait()
    exported = dict(job.root.notes("exported"))
    assert {step: stats["tokens"] for step, stats in exported.items()} == {
        step: BIG if step == 1 else 2 * BIG + 1 for step in range(4)
    }
    assert "obs/missing_processes" not in exported[1]  # it went past the step: nobody waits


def test_an_export_names_the_process_that_does_not_export(workers: Workers) -> None:
    job = workers.start_job(3, "two_calls", steps=4, hang=[2], timeout=2.0)

    until(lambda: len(job.root.notes("exported")) == 4, "the root's exports")
    job[2].tell("go")
    job.wait()
    exported = [stats for _, stats in job.root.notes("exported")]
    assert [stats.get("obs/missing_processes") for stats in exported] == [None, 1, None, None]
    assert exported[1]["tokens"] == 2 * BIG + 1
    assert "no snapshot from process 2 within 2 s" in job.root.output
    assert job.root.output.count("no snapshot from process") == 1


def test_odd_keys_of_any_process_are_said_once_by_the_root(workers: Workers) -> None:
    """Who runs a job of many processes reads one log."""
    job = workers.start_job(2, "names_keys_oddly", naming="warn")
    job.wait()
    for key in ("everyone", "only_one"):
        assert job.root.output.count(f"'{key}' (recorded at") == 1
        assert f"'{key}' (recorded at" not in job[1].output
    assert "'train/loss'" not in job.root.output


def test_under_strict_odd_keys_raise_on_the_process_that_recorded_them(workers: Workers) -> None:
    """At its commit, which is made all the same: nobody waits for it."""
    job = workers.start_job(2, "names_keys_oddly", naming="strict")
    job.wait()
    root, other = job.root.notes("raised"), job[1].notes("raised")
    assert len(root) == len(other) == 3
    assert all("'everyone'" in said and "'only_one'" not in said for said in root)
    assert all("'everyone'" in said and "'only_one'" in said for said in other)
    assert [(c["step"], c["reported"]) for c in job.root.commits()] == [(0, 2), (1, 2), (2, 2)]
