"""How runs start and end: never as several roots, and by a signal with all that was committed written."""

import json
import os
import signal
from collections import Counter

import pytest

from tests.harness import Workers, until


@pytest.mark.parametrize(
    "environment",
    [
        {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
        {"SLURM_STEP_NUM_TASKS": "4"},
        {"OMPI_COMM_WORLD_SIZE": "8"},
        {"PMI_SIZE": "2"},
        {"WORLD_SIZE": "2"},
        {"TPU_WORKER_HOSTNAMES": "host0,host1"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_several_processes_without_a_store_are_refused_with_the_line_to_add(
    workers: Workers, environment: dict[str, str]
) -> None:
    worker = workers.start("tries_to_start", resume="never", env=environment)
    worker.wait()
    ((kind, message),) = worker.notes("error")
    (sign,) = [name for name in environment if name != "JAX_PROCESS_ID"]
    assert kind == "ConfigurationError"
    assert sign in message
    assert "jax.distributed.initialize()" in message
    assert worker.runs == []


@pytest.mark.parametrize("environment", [{}, {"JAX_NUM_PROCESSES": "1"}, {"WORLD_SIZE": "1"}])
def test_one_process_is_its_own_root(workers: Workers, environment: dict[str, str]) -> None:
    worker = workers.start("tries_to_start", resume="never", env=environment)
    worker.wait()
    assert len(worker.commits()) == 1


def test_several_processes_may_each_be_a_run_of_their_own(workers: Workers) -> None:
    env = {"WORLD_SIZE": "2"}
    options = {"resume": "never", "transport": "local"}
    runs = [workers.start("tries_to_start", disk=f"p{p}", env=env, **options) for p in (0, 1)]
    for worker in runs:
        worker.wait()
        assert len(worker.commits()) == 1


def test_preempted_processes_write_all_and_agree_on_a_last_step(workers: Workers) -> None:
    """JAX's own handler of SIGTERM, which is in C, gets the signal after sightline."""
    job = workers.start_job(2, "until_preempted", jax_handler=True)
    until(lambda: len(job.root.commits()) > 10, "commits")
    job.signal(signal.SIGTERM)
    job.wait()  # they live on, to the step that they have agreed on
    (last,), (same,) = job[0].notes("sync_point"), job[1].notes("sync_point")
    assert last == same
    commits = job.root.commits()
    assert [c["step"] for c in commits] == list(range(last + 1))
    assert {(c["reported"], c["values"]["everyone"]) for c in commits} == {(2, 2)}
    for worker in job:
        assert "SIGTERM: all is written" in worker.output


def test_processes_that_sigterm_ends_have_written_what_they_committed(workers: Workers) -> None:
    job = workers.start_job(2, "until_preempted", jax_handler=False)
    until(lambda: len(job.root.commits()) > 10, "commits")
    # Each is told by itself, as machines are: the root last, since it writes what the others post.
    sent = []
    for worker in reversed(job):
        sent.append(len(worker.notes("sent")))
        worker.signal(signal.SIGTERM)
        worker.wait(-signal.SIGTERM if worker is job.root else None)
    steps = [c["step"] for c in job.root.commits()]
    assert steps == list(range(len(steps)))
    assert len(steps) >= sent[-1] - 1
    assert "SIGTERM" in job.root.output
    assert [r for r in job.root.journal() if r.get("event") == "sigterm"]


def test_the_programs_own_handler_of_sigterm_runs_when_all_is_written(workers: Workers) -> None:
    worker = workers.start("handles_sigterm_itself")
    until(lambda: len(worker.commits()) > 20, "commits")
    sent = worker.notes("sent")
    worker.signal(signal.SIGTERM)
    worker.wait(3)
    (seen,) = worker.notes("mine")
    assert seen[: len(sent)] == sent
    # The exit hook wrote the rest; the signal may fall between a commit and its note.
    steps, sent = [c["step"] for c in worker.commits()], worker.notes("sent")
    assert steps in (sent, [*sent, len(sent)])


def test_a_process_may_end_while_its_threads_are_in_the_store(workers: Workers) -> None:
    """JAX's C++ aborts the process when a thread comes back to an interpreter that ends."""
    job = workers.start_job(2, "ends_in_the_middle_of_calls", threads=8)
    job.wait()
    assert [worker.notes("ends") for worker in job] == [[0], [1]]


def test_run_json_says_the_hosts_and_the_devices_once_a_back_end_runs(workers: Workers) -> None:
    """Without a collective, and without starting one."""
    job = workers.start_job(2, "introduces_itself", steps=4)
    job.wait()
    host = os.uname().nodename
    kinds = [kind for worker in job for kind in worker.notes("devices")[0]]
    before = job.root.notes("facts")[0]
    assert before["hosts"] == {host: {"processes": [0, 1]}}
    assert "devices" not in before
    (path,) = job.root.disk.glob("runs/run/run.json")
    facts = json.loads(path.read_text())
    assert facts["hosts"] == {host: {"processes": [0, 1], "devices": dict(Counter(kinds))}}
    assert facts["devices"] == dict(Counter(kinds))
    assert {name: facts[name] for name in before if name != "hosts"} == {
        name: value for name, value in before.items() if name != "hosts"
    }
