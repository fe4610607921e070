"""Device values of several real processes: NumPy's numbers, however arrays lie, and nobody waits for them."""

import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.harness import Worker, Workers, until, workers_of
from tests.multiprocess.workers import device_values as script
from tests.multiprocess.workers.device_values import (
    DATA,
    QUANTILES,
    Array,
    batch_of,
    big_amount,
    by_programs,
    key_of,
    mask_of,
    numbers,
    places,
)

close = pytest.approx
ROOT = str(Path(__file__).parent.parent.parent)


def with_devices(number: int) -> dict[str, str]:
    return {"XLA_FLAGS": f"--xla_force_host_platform_device_count={number}", "PYTHONPATH": ROOT}


# --- the same numbers as NumPy -----------------------------------------------------------------------------


def wrong_elements(commit: dict[str, Any], key: str, data: Array, *, quantiles: bool = False) -> list[str]:
    """What a commit says of an array's elements that NumPy does not say, in float64, of all of them."""
    values, x = commit["values"], data.astype(np.float64).ravel()
    said = {
        name: values.get(f"{key}/{name}", math.nan)
        for name in ("mean", "std", "min", "max", *(f"p{100 * q:g}" for q in QUANTILES if quantiles))
    }
    near = 1e-6 * max(abs(x.mean()), x.std())
    right = {
        "count": commit["counts"].get(f"{key}__count") == x.size,
        "mean": abs(said["mean"] - x.mean()) <= near,
        "std": abs(said["std"] - x.std()) <= 1e-5 * x.std(),  # also where the mean is far from zero
        "min": said["min"] == x.min(),
        "max": said["max"] == x.max(),
    }
    for q in QUANTILES if quantiles else ():
        exact = np.quantile(x, q, method="lower")
        right[f"p{100 * q:g}"] = abs(said[f"p{100 * q:g}"] - exact) <= 0.0101 * abs(exact)
    return [f"{key}/{name} is {said.get(name)}" for name, is_right in right.items() if not is_right]


class Recorded(NamedTuple):
    """A job that has recorded everything, and how much of it by programs."""

    processes: int
    root: Worker
    all_by_programs: bool


@pytest.fixture(
    scope="module",
    params=[1, 2, 4, *(pytest.param(-n, marks=pytest.mark.long, id=f"{n}-programs") for n in (1, 2, 4))],
)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    processes, whole = abs(request.param), request.param < 0
    with workers_of(script.__file__, tmp_path_factory.mktemp("recorded")) as workers:
        devices = with_devices(4 if processes == 1 else 2)
        job = workers.start_job(processes, "records_everything", all_by_programs=whole, env=devices)
        job.wait(patience=1200)
    return Recorded(processes, job.root, whole)


def test_however_arrays_lie_their_numbers_are_numpys(recorded: Recorded) -> None:
    """Sharded, replicated, partly so, on some processes' devices, on one's own; nine dtypes; with a mask and
    without; by programs on the devices, and beyond their cap."""
    processes, root, whole = recorded
    commits = root.commits()
    assert [commit["step"] for commit in commits] == [0, 1, 2]
    histograms = {(r["step"], r["key"]): r["counts"] for r in root.journal() if r["type"] == "histogram"}
    wrong: list[str] = []
    for commit in commits:
        assert [key for key in commit["values"] if key.startswith("obs/")] == []
        for place, lies in places(processes).items():
            for name in [d for d in DATA if whole or not commit["step"] or by_programs(processes, place, d)]:
                key = f"{place}/{key_of(name)}"
                data = lies.data(numbers, name, lies.shape, processes)
                chosen = data[lies.data(mask_of, name, lies.shape, processes) == 1]
                wrong += wrong_elements(commit, f"{key}/summary", data)
                wrong += wrong_elements(commit, f"{key}/masked", chosen, quantiles=True)
                wrong += wrong_elements(commit, f"{key}/host_mask", chosen, quantiles=True)
                if name == "float32" and place in ("sharded", "own"):
                    wrong += wrong_elements(commit, f"{key}/quantiles", data, quantiles=True)
                    wrong += wrong_elements(commit, f"{key}/host_values", chosen)
                    assert sum(histograms[commit["step"], f"{key}/histogram"]) == chosen.size
    assert wrong == []


def test_scalars_on_devices_count_as_often_as_there_are_values(recorded: Recorded) -> None:
    """A replicated one once, one of each process's own on each; the sums of ints to the last digit."""
    processes, root, _ = recorded
    for commit in root.commits():
        values, counts = commit["values"], commit["counts"]
        for place in ("replicated", "own", "some"):
            lies = places(processes)[place]
            for name in DATA:
                data = lies.data(numbers, name, (), processes).astype(np.float64).ravel()
                key = key_of(name)
                assert values[f"{place}/scalar/{key}"] == close(data.mean(), rel=1e-12)
                assert counts[f"{place}/scalar/{key}__count"] == data.size
                assert values[f"{place}/total/{key}"] == math.fsum(data)
                assert values[f"{place}/last/{key}"] == data[0]
            whole = int(numbers("int32", ()))
            parts = [
                lies.data(numbers, name, (), processes).astype(np.int64).sum() for name in ("int32", "uint32")
            ]
            assert values[f"{place}/once"] == whole
            assert values[f"{place}/ratio"] == close(parts[0] / parts[1], rel=1e-15)
            assert values[f"{place}/ratio_once"] == whole / 1000


def test_what_a_jitted_step_reduces_over_processes_counts_once(workers: Workers) -> None:
    steps = 5
    job = workers.start_job(2, "computes_globally", steps=steps, env=with_devices(2))
    job.wait()
    for step, commit in enumerate(job.root.commits()):
        batch = batch_of(step)
        values, counts = commit["values"], commit["counts"]
        assert values["loss"] == (batch * batch).sum()
        assert counts["loss__count"] == 1
        assert values["sequences"] == 3
        assert wrong_elements(commit, "most", batch.max(axis=0)) == []
        assert wrong_elements(commit, "batch", batch) == []
    assert step == steps - 1


def test_totals_of_int32_are_exact_beyond_all_floats(workers: Workers) -> None:
    """Amounts past 2^24, sums past 2^31; over records and processes."""
    records = 100
    job = workers.start_job(2, "big_totals", records=records, env=with_devices(1))
    job.wait()
    (commit,) = job.root.commits()
    tokens = sum(int(big_amount(process, i)) for process in range(2) for i in range(records))
    assert commit["values"]["tokens"] == tokens > 2**37
    assert commit["values"]["tokens_of_all"] == sum(int(big_amount(9, i)) for i in range(records))


def test_a_global_array_without_some_of_its_owners_is_said_to_be_partial(workers: Workers) -> None:
    """In each such commit, and once in the log for each key."""
    job = workers.start_job(2, "some_owners_record", env=with_devices(2))
    job.wait()
    commits = job.root.commits()
    # The scalar lies on all devices and is counted by process 0: where that is missing it is partial too.
    assert [commit["values"].get("obs/partial_keys") for commit in commits] == [None, 1, 1, 2, None]
    assert [commit["counts"]["batch__count"] for commit in commits] == [24, 12, 12, 12, 24]
    assert [commit["counts"].get("loss__count", 0) for commit in commits] == [1, 1, 1, 0, 1]
    assert [commit["counts"]["of_one__count"] for commit in commits] == [24] * 5
    output = job.root.output
    assert output.count("'batch' holds 12 of 24 elements of global arrays") == 1
    assert output.count("'loss' holds 0 of 1 elements of global arrays") == 1
    assert output.count("elements of global arrays") == 2


# --- without waiting ---------------------------------------------------------------------------------------


def test_recording_what_is_still_computed_holds_nobody(workers: Workers) -> None:
    """A second of work in flight: its result is recorded, timed and committed at once, and rightly."""
    steps = 3
    job = workers.start_job(2, "records_in_flight", steps=steps, env=with_devices(1))
    job.wait()
    for worker in job:
        noted = worker.notes("step")
        held = statistics.median(each["held"] for each in noted)
        took = statistics.median(each["took"] for each in noted)
        recording = statistics.median(each["recording"] for each in noted)
        print(f"held {1e3 * held:.2f} ms ({1e3 * recording:.2f} ms of it recording) of {1e3 * took:.0f} ms")
        # When all was recorded and committed, it was still computed.
        assert [each["early"] for each in noted] == [False] * steps
        assert [each["compiled"] for each in noted] == [[]] * steps
        assert worker.notes("compiled on") == [["MainThread"]]
        for each in noted:
            assert each["held"] - each["inside"] < each["timing"] < each["known"]
    commits = [commit for commit in job.root.commits() if "loss" in commit["values"]]
    finals = [commit for commit in job.root.commits() if "final/loss" in commit["values"]]
    assert [commit["step"] for commit in commits] == list(range(steps + 1))
    for commit, final in zip(commits, finals, strict=True):
        values, counts = commit["values"], commit["counts"]
        assert (values["loss"], values["result/mean"], values["result/std"]) == (1.5, 0.5, 0.0)
        assert (counts["loss__count"], counts["result__count"]) == (2, 2 * 64 * 64)
        assert values["result/p50"] == close(0.5, rel=0.01)
        assert final["values"] == {"final/loss": 1.5, "final/step": commit["step"]}
        if commit["step"]:
            times = [worker.notes("step")[commit["step"] - 1]["timing"] for worker in job]
            assert values["time/update_s"] == close(np.mean(times), rel=1e-9)


@pytest.mark.parametrize("max_programs", [64, 0])
def test_what_is_recorded_may_be_donated_on_the_next_line(workers: Workers, max_programs: int) -> None:
    """200 steps, each with the numbers of its own state; also beyond the cap of programs."""
    steps = 200
    worker = workers.start("donates", steps=steps, max_programs=max_programs, env=with_devices(1))
    worker.wait()
    commits = worker.commits()
    assert len(commits) == steps
    weights = np.arange(5000)
    for step, commit in enumerate(commits):
        values = commit["values"]
        assert values["loss"] == values["latest"] == step / 2
        assert values["weights/min"] == step
        assert values["weights/mean"] == close(weights.mean() + step, rel=1e-6)
        assert values["weights/std"] == close(weights.std(), rel=1e-6)
        assert values["chosen/min"] == step + step % 2  # every second one, in turn
        assert commit["counts"]["chosen__count"] == 2500
        assert 0 < values["time/weights_s"] < 60


@pytest.mark.parametrize("max_programs", [64, 0])
def test_what_is_recorded_may_be_deleted_or_overwritten_while_the_device_works(
    workers: Workers, max_programs: int
) -> None:
    """Its numbers are those at the call; with programs and, beyond their cap, with copies."""
    worker = workers.start("forgets", max_programs=max_programs, env=with_devices(1))
    worker.wait()
    commits = worker.commits()
    assert len(commits) == 2
    for commit in commits:
        values, counts = commit["values"], commit["counts"]
        assert (values["loss"], values["amount"], values["result/mean"]) == (1.5, 1.5, 0.5)
        assert (values["masked/mean"], values["values/mean"]) == (0.5, 2.0)
        assert (counts["masked__count"], counts["values__count"]) == (64 * 64 - 32, 64 * 64)
        assert not [key for key in values if key.startswith("obs/")]


def test_threads_record_device_values_while_commits_are_made(workers: Workers) -> None:
    """Each value is in one commit, and in no other."""
    threads, records = 4, 300
    worker = workers.start("threads_record", threads=threads, records=records, env=with_devices(1))
    worker.wait()
    commits = worker.commits()
    amounts = [commit["values"].get("amount", 0) for commit in commits]
    assert sum(amounts) == threads * sum(range(records))
    counts = [commit["counts"] for commit in commits]
    assert sum(each.get("values__count", 0) for each in counts) == 3 * threads * records
    for number in range(threads):
        assert sum(each.get(f"of/{number}__count", 0) for each in counts) == records


# --- devices that fail -------------------------------------------------------------------------------------


def check_around_a_hang(commits: list[dict[str, Any]], processes: int, process: int) -> None:
    """All that the hung device did not hold is there, and what it did is counted."""
    assert [commit["step"] for commit in commits] == [0, 1, 2, 3]
    for step, commit in enumerate(commits):
        values, counts = commit["values"], commit["counts"]
        assert (commit["reported"], commit.get("missing")) == (processes, None)
        assert {key: values[key] for key in values if key.startswith("host/")} == {
            f"host/{p}": step for p in range(processes)
        }
        assert (values["fine"], counts["fine__count"]) == (2.0, processes)
        assert (values["device/mean"], counts["device__count"]) == (2.0, processes)
        assert values["everyone"] == processes
        assert not [key for key in values if "hung" in key]
        assert values.get("obs/pending_device_values") == (3 if step == 1 else None)


def test_a_hung_device_costs_its_own_values_alone(workers: Workers) -> None:
    """In one process: later commits are complete, and the end comes in time."""
    worker = workers.start("a_device_hangs", process=0, deadline_s=3.0, finish_s=60.0, env=with_devices(2))
    worker.wait()
    *commits, final = worker.commits()
    check_around_a_hang(commits, 1, 0)
    assert final["values"] == {"final/host": 3.0, "obs/pending_device_values": 1}
    assert worker.output.count("were not computed in time") == 1
    ((done, took),) = worker.notes("finished")
    assert done
    assert took < 60
    assert max(worker.notes("commit_s")) < 3.0  # whoever waits for the device waits for a deadline


@pytest.mark.parametrize("process", [0, 1])
def test_a_hung_device_of_one_process_holds_up_no_other(workers: Workers, process: int) -> None:
    """Neither does the root's, nor does the root call a process missing whose device hangs."""
    job = workers.start_job(
        2, "a_device_hangs", process=process, deadline_s=3.0, finish_s=60.0, env=with_devices(2)
    )
    for step in range(4):
        if process:
            until(lambda step=step: len(job[1].notes("commit_s")) > step, "process 1's commit")  # type: ignore[misc]
            job.root.tell(f"commit{step}")
    until(lambda: all(worker.notes("finished") for worker in job), "finish")
    job.tell("end")
    job.wait()
    commits = [commit for commit in job.root.commits() if "everyone" in commit["values"]]
    check_around_a_hang(commits, 2, process)
    assert [worker.notes("finished")[0][0] for worker in job] == [True, True]


def test_a_silent_process_costs_one_deadline_though_the_roots_devices_never_rest(workers: Workers) -> None:
    """The journal follows a loop that always has values in flight."""
    job = workers.start_job(2, "the_roots_devices_never_rest", deadline_s=1.0, steps=10, env=with_devices(1))
    job.root.wait()
    job.tell("end")
    ((last, _),) = job.root.notes("written")
    assert last >= 10
    missing = [commit["step"] for commit in job.root.commits() if commit.get("missing") == [1]]
    assert len(missing) == 1


def test_finish_ends_in_time_though_a_device_hangs(workers: Workers) -> None:
    """The host values are written, though the commit's own patience would last for minutes."""
    worker = workers.start("a_device_hangs", process=0, deadline_s=600.0, finish_s=3.0, env=with_devices(2))
    worker.wait()
    ((_, took),) = worker.notes("finished")
    assert took < 60
    *commits, final = worker.commits()
    check_around_a_hang(commits, 1, 0)
    assert final["values"] == {"final/host": 3.0, "obs/pending_device_values": 1}


def test_a_computation_that_raises_costs_its_own_values_alone(workers: Workers) -> None:
    worker = workers.start("a_computation_raises", env=with_devices(2))
    worker.wait()
    *commits, final = worker.commits()
    assert [commit["step"] for commit in commits] == [0, 1, 2, 3]
    for step, commit in enumerate(commits):
        values = commit["values"]
        assert (values["fine"], values["host"], values["everyone"]) == (2.0, step, 1)
        assert not [key for key in values if "failing" in key]
        assert values.get("obs/failed_device_values") == (3 if step == 1 else None)
    assert final["values"] == {"final/host": 3.0, "obs/failed_device_values": 1}
    assert worker.output.count("sightline: failing is left out") == 1
    assert worker.output.count("the reward model is down") >= 1
    assert worker.notes("finished") == [True]
