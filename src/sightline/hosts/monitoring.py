"""``sl.monitor_hosts``: a thread looks at process and machine once a second, and a sampler hands over.

The thread folds what it sees into moments; a commit takes them as they are, so that training is held for
microseconds. JAX is asked about its devices' memory at the commit, since no other thread may call it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from sightline.errors import ConfigurationError
from sightline.hosts.figures import Figures
from sightline.hosts.gpus import Gpus, NoDevices
from sightline.jax.memory import watch_memory
from sightline.recording.monitors import Monitor, running_one
from sightline.recording.sampling import Recorder, add_sampler

log = logging.getLogger("sightline")

_LEAST = {"host/disk/free_bytes"}  # of which the smallest counts
_STOP_S = 1.0  # to wait for the thread; a file system may hang it


class _Gauge:
    """Moments of numbers as they come (Welford)."""

    __slots__ = ("count", "high", "low", "m2", "mean")

    def __init__(self) -> None:
        self.count, self.mean, self.m2 = 0, 0.0, 0.0
        self.low, self.high = float("inf"), float("-inf")

    def add(self, number: float) -> None:
        self.count += 1
        difference = number - self.mean
        self.mean += difference / self.count
        self.m2 += difference * (number - self.mean)
        self.low, self.high = min(self.low, number), max(self.high, number)

    def row(self) -> tuple[float, ...]:
        return (float(self.count), 0.0, 0.0, 0.0, self.mean, 0.0, self.m2, self.low, self.high)


class HostMonitor(Monitor):
    """Looks at process and machine from :func:`monitor_hosts` on until it is stopped; a context manager.

    Args:
        tracker: who records; None: the tracker that is being committed.
        log_dir: whose file system's free space is told.
        interval_s: seconds between two looks.
    """

    def __init__(self, tracker: Recorder | None, log_dir: Path, interval_s: float) -> None:
        super().__init__(tracker)
        self._log_dir = log_dir
        self._interval_s = interval_s
        self._renew()

    def _start(self) -> list[Callable[[], None]]:
        removers = [add_sampler(self._hand_over, in_children=True), watch_memory(self._tracker)]
        self._look_on()
        return [*removers, self._look_no_more]

    def _renew(self) -> None:
        """What a forked child needs anew: the thread is the parent's, and so is what it has seen."""
        self._lock = threading.Lock()
        self._gauges: dict[str, _Gauge] = {}
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def _look_on(self) -> None:
        self._thread = threading.Thread(target=self._look, name="sightline-hosts", daemon=True)
        self._thread.start()

    def _look_no_more(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def _look(self) -> None:
        figures, end = Figures(self._log_dir), self._end
        try:
            gpus = Gpus()
        except NoDevices as error:
            gpus = None
            log.info("sightline: host monitoring: how busy devices are is not known: %s", error)
        failed = False
        while True:
            try:
                found = {key: [number] for key, number in figures.read().items()}
                if gpus is not None:
                    found |= gpus.read()
                self._add(found)
            except Exception:  # a look that fails is no reason to stop looking
                if not failed:
                    failed = True
                    log.exception("sightline: host monitoring failed (said once)")
            if end.wait(self._interval_s):
                break
        if gpus is not None:
            gpus.close()

    def _add(self, found: dict[str, list[float]]) -> None:
        with self._lock:
            for key, numbers in found.items():
                gauge = self._gauges.get(key)
                if gauge is None:
                    gauge = self._gauges[key] = _Gauge()
                for number in numbers:
                    gauge.add(number)

    def _hand_over(self, committed: Recorder) -> None:
        if self._thread is None:  # a forked child that commits
            self._look_on()
        with self._lock:
            gauges, self._gauges = self._gauges, {}
        tracker = self._tracker or committed
        if gauges and tracker.enabled:
            rows = {key: gauge.row() for key, gauge in gauges.items()}
            least = {key: rows.pop(key) for key in _LEAST & rows.keys()}
            tracker._add_gauges(rows, ("mean", "max"))
            tracker._add_gauges(least, ("mean", "min"))


def monitor_hosts(
    tracker: Recorder | None = None, *, log_dir: str | os.PathLike[str] = ".", interval_s: float = 1.0
) -> HostMonitor:
    """Has each commit say what this process and its machine use: memory, CPU, disk, network, devices.

    Call it on every process, or start the run with ``sl.start(…, monitor_hosts=True)``, which ends it with
    the run. A process has one monitor: another call gives the one that runs. A thread looks once a second; a
    commit has the keys of ``docs/hosts.md`` under ``host/``, each with ``/mean`` and ``/max`` (of free disk
    space ``/min``) over all looks since the process's last commit and over all processes, and in the
    journal's ``process_values`` the mean of each process by itself. A commit that comes before the next look
    has none of them. What is of the machine (``host/machine/…``, ``host/memory/…``, ``host/disk/…``) each of
    its processes tells: never add that up.

    Where JAX runs, device memory is recorded as by ``sl.jax.monitor`` (``jax/memory/…``), and once if both
    are on. How busy NVIDIA's devices are needs ``pip install 'sightline[nvidia]'``; others do not say.

    Args:
        tracker: who records; None: the tracker that is being committed.
        log_dir: a folder on the disk whose free space matters.
        interval_s: seconds between two looks, at least 1.

    Returns:
        The monitor: a context manager, with :meth:`~sightline.recording.monitors.Monitor.stop`. It is left
        off where ``SIGHTLINE_DISABLED=1``.

    Raises:
        ConfigurationError: psutil is not installed; ``interval_s`` is no number of at least 1.

    Example:
        >>> import sightline as sl
        >>> with sl.monitor_hosts() as monitor:
        ...     monitor.running
        True
    """
    if isinstance(interval_s, bool) or not isinstance(interval_s, (int, float)) or not interval_s >= 1:
        raise ConfigurationError(
            f"monitor_hosts(interval_s={interval_s!r}): expected a number of at least 1: a look takes CPU"
        )
    made = HostMonitor(tracker, Path(log_dir), interval_s)
    if os.environ.get("SIGHTLINE_DISABLED") == "1":
        return made
    check_installed()
    try:
        import pynvml  # noqa: F401 - a fork while another thread imports would leave the child a locked module
    except ImportError:
        pass
    return made.begin()


def check_installed() -> None:
    """Imports what is needed, so that what is missing is an error at start-up.

    Raises:
        ConfigurationError: psutil is not installed.
    """
    try:
        import psutil  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"monitor_hosts needs psutil ({error}): pip install 'sightline[hosts]'"
        ) from None


def is_monitoring() -> bool:
    """Whether this process has a monitor."""
    return running_one(HostMonitor) is not None
