"""One look at the process and its machine: numbers by key. Rates are since the look before.

| key | of | what |
|---|---|---|
| ``host/process/rss_bytes`` | process | resident memory |
| ``host/process/peak_rss_bytes`` | process | the most that it has been since the process began |
| ``host/process/cpu_cores`` | process | CPU seconds per second: 1.0 is one core |
| ``host/process/read_bytes_per_s``, ``write_bytes_per_s`` | process | what went from and to disks for it |
| ``host/process/open_files`` | process | file descriptors, sockets and pipes too |
| ``host/machine/cpu_fraction`` | machine | of all cores: the share of time that was not idle |
| ``host/machine/load`` | machine | tasks that run or wait to, mean of a minute |
| ``host/machine/received_bytes_per_s``, ``sent_bytes_per_s`` | machine | network, without the loopback |
| ``host/memory/used_bytes``, ``limit_bytes`` | container, else machine | what counts for being killed |
| ``host/disk/free_bytes`` | file system of ``log_dir`` | free for this user |
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from sightline.hosts import cgroup

log = logging.getLogger("sightline")

_STATUS = Path("/proc/self/status")
_INTERFACES = Path("/sys/class/net")


class Figures:
    """Looks at this process and its machine. For one thread; psutil must be there.

    Args:
        log_dir: whose file system's free space is told; need not exist yet.

    Example:
        >>> 0 < Figures(Path(".")).read()["host/process/rss_bytes"] < 1e12
        True
    """

    def __init__(self, log_dir: Path) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self._log_dir = log_dir
        self._before: dict[str, tuple[float, float]] = {}  # of counters: when they were read, and what
        self._is_first = True
        self._failed: set[str] = set()
        self._parts: list[Callable[[], dict[str, float]]] = [
            self._memory, self._peak, self._cpu, self._io, self._open_files, self._machine, self._network,
            self._limit, self._disk,
        ]  # fmt: skip

    def read(self) -> dict[str, float]:
        """All that is to be had. What is not (another system, a sandbox) is left out, and logged once."""
        found: dict[str, float] = {}
        for part in self._parts:
            name = part.__name__
            try:
                found |= part()
            except Exception as error:  # noqa: BLE001 - whatever a system refuses, the rest is told
                if name not in self._failed:
                    self._failed.add(name)
                    log.info("sightline: host monitoring: no%s here: %r", name.replace("_", " "), error)
        self._is_first = False
        return found

    def _memory(self) -> dict[str, float]:
        return {"host/process/rss_bytes": self._process.memory_info().rss}

    def _peak(self) -> dict[str, float]:
        # Not getrusage's, which is handed on from whoever has started the process.
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return {"host/process/peak_rss_bytes": int(line.split()[1]) << 10}
        return {}

    def _cpu(self) -> dict[str, float]:
        times = self._process.cpu_times()
        return self._rates({"host/process/cpu_cores": times.user + times.system})

    def _io(self) -> dict[str, float]:
        done = self._process.io_counters()
        return self._rates(
            {
                "host/process/read_bytes_per_s": done.read_bytes,
                "host/process/write_bytes_per_s": done.write_bytes,
            }
        )

    def _open_files(self) -> dict[str, float]:
        return {"host/process/open_files": self._process.num_fds()}

    def _machine(self) -> dict[str, float]:
        busy = self._psutil.cpu_percent() / 100  # since this thread's last call; of the first there is none
        load = {"host/machine/load": os.getloadavg()[0]}
        return load if self._is_first else {**load, "host/machine/cpu_fraction": busy}

    def _network(self) -> dict[str, float]:
        counters = self._psutil.net_io_counters(pernic=True, nowrap=False)
        names = [name for name in counters if name != "lo"]
        # Bridges and bonds count again what their devices do; in a container there is no device.
        names = [name for name in names if (_INTERFACES / name / "device").exists()] or names
        return self._rates(
            {
                "host/machine/received_bytes_per_s": sum(counters[name].bytes_recv for name in names),
                "host/machine/sent_bytes_per_s": sum(counters[name].bytes_sent for name in names),
            }
        )

    def _limit(self) -> dict[str, float]:
        machine = self._psutil.virtual_memory()
        used, limit = machine.total - machine.available, machine.total
        container = cgroup.memory()
        if container is not None and container.limit_bytes <= limit:
            used, limit = container
        return {"host/memory/used_bytes": used, "host/memory/limit_bytes": limit}

    def _disk(self) -> dict[str, float]:
        folder = self._log_dir.absolute()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return {"host/disk/free_bytes": self._psutil.disk_usage(str(folder)).free}

    def _rates(self, counters: dict[str, float]) -> dict[str, float]:
        now = time.monotonic()
        rates = {}
        for key, count in counters.items():
            before = self._before.get(key)
            self._before[key] = (now, count)
            if before is not None and now > before[0] and count >= before[1]:  # else it has begun anew
                rates[key] = (count - before[1]) / (now - before[0])
        return rates
