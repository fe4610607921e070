"""What commits say of processes and machines: real memory, threads, forks, ends."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.hosts import HostMonitor, monitoring
from sightline.recording.monitors import running_one
from sightline.runs.host_health import health_series, host_health
from sightline.values.naming import unconventional
from tests.harness import until

RSS, CORES = "host/process/rss_bytes", "host/process/cpu_cores"
MB = 1 << 20


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    if (left := running_one(HostMonitor)) is not None:
        left.stop()
    assert "sightline-hosts" not in [thread.name for thread in threading.enumerate()]


class Training:
    """A run whose journal is read while it goes on."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.run = sl.start(folder, sinks=[], naming="strict", **options)
        self.step = 0

    def commit_until(self, condition: Callable[[list[dict[str, Any]]], Any], what: str) -> Any:
        """Commits, several times a second, until the journal fulfils a condition; its value."""

        def fulfilled() -> Any:
            self.run.commit(self.step)
            self.step += 1
            time.sleep(0.1)
            assert self.run.flush(60)
            return condition(list(sl.read_journal(self.run.wait_dir())))

        return until(fulfilled, what)

    def readings(self, key: str, *, after: int = -1) -> list[float]:
        """What this process's commits after a step have said."""
        assert self.run.flush(60)
        series = health_series(sl.read_journal(self.run.wait_dir()), key)
        return [value for step, value in series.get(0, []) if step > after]


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    made = Training(tmp_path, monitor_hosts=True)
    yield made
    made.run.finish()


def test_memory_that_is_taken_is_seen(training: Training) -> None:
    """200 MB more, in the process's own mean, in the commit's maximum, and at the peak after it is gone."""
    training.commit_until(lambda _: training.readings(RSS), "a first look")
    before = training.readings(RSS)[-1]
    block = bytearray(200 * MB)
    block[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(block[:: os.sysconf("SC_PAGE_SIZE")])
    journal = training.commit_until(
        lambda journal: host_health(journal)[0][RSS].latest > before + 190 * MB and journal,
        "the 200 MB",
    )
    last = [r for r in journal if r["type"] == "commit" and f"{RSS}/max" in r["values"]][-1]["values"]
    assert last[f"{RSS}/max"] >= last[f"{RSS}/mean"] > before + 190 * MB
    del block
    journal = training.commit_until(
        lambda journal: host_health(journal)[0][RSS].latest < before + 100 * MB and journal, "it gone"
    )
    of = host_health(journal)[0]
    assert of[RSS].peak > before + 190 * MB > of[RSS].latest
    assert of["host/process/peak_rss_bytes"].latest > before + 190 * MB


def test_a_busy_thread_is_seen_in_the_cpu(training: Training) -> None:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(10_000))

    thread = threading.Thread(target=spin)
    training.commit_until(lambda _: training.readings(CORES), "two looks")
    began, used = training.step, time.process_time()
    thread.start()
    try:  # as much as it gets on a shared machine
        training.commit_until(lambda _: time.process_time() > used + 1.0, "a second of CPU")
        training.commit_until(
            lambda _: max(training.readings(CORES, after=began), default=0) > 0.05, "the CPU"
        )
    finally:
        stop.set()
        thread.join()
    busy = training.readings("host/machine/cpu_fraction")
    assert busy
    assert all(0 <= fraction <= 1 for fraction in busy)


def test_what_a_commit_says(training: Training) -> None:
    """Each key keeps the conventions (the run is strict), has a mean and a maximum, and its process's own."""

    def full(journal: list[dict[str, Any]]) -> Any:
        return next((r for r in journal if f"{CORES}/mean" in r.get("values", {})), None)

    commit = training.commit_until(full, "a commit with rates")
    keys = {
        RSS, CORES, "host/process/peak_rss_bytes", "host/process/open_files", "host/machine/load",
        "host/machine/cpu_fraction", "host/machine/received_bytes_per_s", "host/machine/sent_bytes_per_s",
        "host/memory/used_bytes", "host/memory/limit_bytes",
    }  # fmt: skip
    said = {key for key in commit["values"] if key.startswith("host/")}
    assert {f"{key}/{name}" for key in keys for name in ("mean", "max")} <= said
    assert {key for key in said if "/disk/" in key} == {
        "host/disk/free_bytes/mean",
        "host/disk/free_bytes/min",
    }
    assert [reason for key in said if (reason := unconventional(key))] == []
    own = host_health(sl.read_journal(training.run.wait_dir()))[0]
    assert keys <= own.keys()
    assert 0 < own["host/memory/used_bytes"].latest < own["host/memory/limit_bytes"].latest
    free = os.statvfs(training.run.wait_dir())
    assert own["host/disk/free_bytes"].latest < free.f_blocks * free.f_frsize


def test_a_step_without_a_look_says_nothing(training: Training) -> None:
    """Looks are a second apart; what is said once is not said again."""
    training.commit_until(lambda _: training.readings(RSS), "a look")
    for step in range(training.step, training.step + 50):
        training.run.commit(step)
    assert training.run.flush(60)
    journal = list(sl.read_journal(training.run.wait_dir()))
    told = [f"{RSS}/mean" in r["values"] for r in journal if r["type"] == "commit"]
    assert told.count(True) < len(told) / 2


def test_what_is_written_to_disk_is_seen(training: Training, tmp_path: Path) -> None:
    key = "host/process/write_bytes_per_s"
    training.commit_until(lambda _: training.readings(key), "two looks")
    began = training.step
    with open(tmp_path / "block", "wb") as file:
        file.write(b"x" * 20 * MB)
        os.fsync(file.fileno())
    rates = training.commit_until(lambda _: training.readings(key, after=began), "the next look")
    assert all(rate >= 0 for rate in rates)
    assert max(training.readings(key)) > MB


def test_it_ends_with_the_run_that_began_it(tmp_path: Path) -> None:
    run = sl.start(tmp_path, sinks=[], monitor_hosts=True)
    assert monitoring.is_monitoring()
    run.finish()
    assert not monitoring.is_monitoring()


def test_one_that_was_called_outlasts_runs_and_is_one(tmp_path: Path) -> None:
    """Until `stop`, which may be called again."""
    with sl.monitor_hosts() as monitor:
        assert sl.monitor_hosts(interval_s=5) is monitor
        with sl.start(tmp_path, sinks=[], monitor_hosts=True):
            pass
        assert monitor.running
    assert not monitor.running
    monitor.stop()
    with sl.monitor_hosts() as another:
        assert another is not monitor


@pytest.mark.parametrize("interval_s", [0.5, 0, -1, True, "1", float("nan")])
def test_a_wrong_interval_is_an_error(interval_s: Any) -> None:
    with pytest.raises(sl.ConfigurationError, match="at least 1"):
        sl.monitor_hosts(interval_s=interval_s)


def test_a_wrong_switch_is_an_error() -> None:
    with pytest.raises(sl.ConfigurationError, match="monitor_hosts"):
        sl.StatsLoggerConfig(monitor_hosts=1)  # type: ignore[arg-type]
    assert sl.StatsLoggerConfig.from_dict({"monitor_hosts": True}).monitor_hosts


def test_another_tracker_may_take_the_records(tmp_path: Path) -> None:
    own = sl.StatsTracker()
    logger = sl.StatsLogger(sl.StatsLoggerConfig(log_dir=tmp_path, sinks=[]), tracker=sl.StatsTracker())
    with sl.monitor_hosts(own):

        def has_come() -> bool:
            logger.commit(1)
            return f"{RSS}/mean" in own.export(reduce="local", reset=False)

        until(has_come, "a look")
    assert logger.finish()
    assert not host_health(sl.read_journal(logger.wait_dir()))


def run_python(code: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


FORKS = """
import json, os, sys, time
import sightline as sl
from sightline.runs.host_health import host_health
parent = sl.start("parent", sinks=[])
block = bytearray(b"x") * (150 << 20)
monitor = sl.monitor_hosts()
until = time.time() + 60
child = os.fork()
if not child:
    del block
    with sl.start("child", sinks=[]) as run:
        step = 0
        while time.time() < until:
            run.commit(step); run.flush(60)
            if host_health(sl.read_journal(run.dir)): break
            step += 1; time.sleep(.1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
step = 0
while time.time() < until:
    parent.commit(step); parent.flush(60)
    if host_health(sl.read_journal(parent.dir)): break
    step += 1; time.sleep(.1)
parent.finish()
print(json.dumps([host_health(sl.read_journal(f"{name}/latest"))[0]["host/process/rss_bytes"].latest
                  for name in ("parent", "child")]))
"""


def test_a_forked_child_tells_of_itself(tmp_path: Path) -> None:
    """In a run of its own; what the parent has seen stays the parent's."""
    parent, child = json.loads(run_python(FORKS, tmp_path))
    assert parent > 150 * MB > child


def test_a_process_ends_while_it_is_looked_at(tmp_path: Path) -> None:
    """By its last line, without `stop`, without a complaint."""
    code = "import sightline as sl, time; sl.monitor_hosts(); time.sleep(0.3); print('done')"
    assert run_python(code, tmp_path, PYTHONWARNINGS="error") == "done\n"


def test_it_needs_no_jax_and_loads_none(tmp_path: Path) -> None:
    code = """
import sys, time, sightline as sl
def told():
    records = sl.read_journal(run.dir)
    return sum("host/process/rss_bytes/max" in record.get("values", {}) for record in records)
with sl.start("runs", sinks=[], monitor_hosts=True) as run:
    step, until = 0, time.time() + 60
    while not told() and time.time() < until:
        time.sleep(.2); run.commit(step); run.flush(60); step += 1
print("jax" in sys.modules, told())
"""
    loaded, times = run_python(code, tmp_path).split()
    assert loaded == "False"
    assert int(times) >= 1


def test_switched_off_it_starts_nothing(tmp_path: Path) -> None:
    code = """
import sys, threading, sightline as sl
assert not sl.monitor_hosts().running
with sl.start("runs", monitor_hosts=True) as run:
    run.commit(0)
assert threading.active_count() == 1 and "psutil" not in sys.modules
"""
    run_python(code, tmp_path, SIGHTLINE_DISABLED="1")


def test_without_psutil_it_says_what_to_install(tmp_path: Path) -> None:
    """At start-up, in place of a run without the figures."""
    (tmp_path / "psutil.py").write_text("raise ImportError('No module named psutil')")
    code = """
import sightline as sl
try:
    sl.start("runs", monitor_hosts=True)
except sl.ConfigurationError as error:
    print(error)
import threading
assert threading.active_count() == 1, threading.enumerate()
"""
    assert "pip install 'sightline[hosts]'" in run_python(code, tmp_path, PYTHONPATH=_path(tmp_path))


def _path(*folders: Path) -> str:
    return os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])


def test_training_is_not_held_by_a_disk_that_hangs(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the thread asks the file system; commits go on without the figures."""
    training.commit_until(lambda _: training.readings(RSS), "a look")
    hangs, go = threading.Event(), threading.Event()
    real = os.statvfs

    def hanging(path: Any) -> os.statvfs_result:
        if threading.current_thread().name == "sightline-hosts":
            hangs.set()
            go.wait(60)
        return real(path)

    monkeypatch.setattr(os, "statvfs", hanging)
    assert hangs.wait(60)
    first = training.step
    for step in range(first, first + 10):
        training.run.commit(step)
    assert training.run.flush(60)
    go.set()


def test_device_memory_is_told_once_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `sl.jax.monitor` and by this one together: one record a device, not two; the limit too."""
    import jax
    import jax.numpy as jnp

    class Device:
        """CPUs do not say, so that this one does."""

        def memory_stats(self) -> dict[str, int]:
            return {"bytes_in_use": 100, "peak_bytes_in_use": 300, "bytes_limit": 1000}

    jnp.ones(1).block_until_ready()
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(), Device()])
    run = sl.start(tmp_path, sinks=[])
    with sl.jax.monitor(), sl.monitor_hosts():
        run.commit(0)
    with sl.monitor_hosts():
        run.commit(1)
    run.commit(2)
    assert run.finish()
    commits = [r for r in sl.read_journal(run.wait_dir()) if r["type"] == "commit"]
    for commit in commits[:2]:
        assert commit["counts"]["jax/memory/in_use_bytes__count"] == 2
        assert commit["values"]["jax/memory/limit_bytes/max"] == 1000
        assert commit["values"]["jax/memory/process_limit_bytes"] == 1000
    assert not [key for key in commits[2]["values"] if key.startswith("jax/memory/")]
    assert host_health(sl.read_journal(run.wait_dir()))[0]["jax/memory/process_peak_bytes"].peak == 300


def test_that_devices_say_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if os.path.exists("/dev/nvidia0"):
        pytest.skip("NVIDIA's devices are here, and say how busy they are: this is for machines without")
    caplog.set_level(logging.INFO, "sightline")
    with sl.monitor_hosts():
        until(lambda: [r for r in caplog.records if "how busy devices are" in r.getMessage()], "that")


NVML = r"""
#include <string.h>
typedef struct { unsigned gpu, memory; } util;
typedef struct { unsigned long long total, free, used; } mem;
static int devices[3] = {0, 1, 2};
int nvmlInitWithFlags(unsigned f) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = &devices[i]; return 0; }
int nvmlDeviceGetUtilizationRates(void *h, util *u) { u->gpu = 20 + 30 * *(int *)h; u->memory = 0; return 0; }
int nvmlDeviceGetMemoryInfo(void *h, mem *m) { m->used = 1000 * (1 + *(int *)h); return 0; }
int nvmlDeviceGetPowerUsage(void *h, unsigned *mw) { return 3; }
int nvmlDeviceGetTemperature(void *h, unsigned s, unsigned *c) { *c = 60; return 0; }
const char *nvmlErrorString(int r) { return "Not Supported"; }
"""


@pytest.mark.parametrize(
    ("visible", "busy"), [(None, [0.2, 0.5, 0.8]), ("2,0", [0.8, 0.2]), ("1,x,0", [0.5]), ("-1", [])]
)
def test_devices_say_how_busy_they_are(tmp_path: Path, visible: str | None, busy: list[float]) -> None:
    """Asked by NVIDIA's own package, of a library built here in place of the driver's."""
    (tmp_path / "nvml.c").write_text(NVML)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True)
    code = """
import json
from sightline.hosts.gpus import Gpus, NoDevices
try:
    gpus = Gpus()
    print(json.dumps([gpus.read(), gpus.read()][1]))
    gpus.close()
except NoDevices as error:
    print("{}")
"""
    environment = {"LD_LIBRARY_PATH": str(tmp_path)}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    said = json.loads(run_python(code, tmp_path, **environment))
    assert said.get("host/gpu/busy_fraction", []) == busy
    assert "host/gpu/power_w" not in said  # which these devices do not support
    assert said.get("host/gpu/temperature_c", []) == [60.0] * len(busy)
