"""What the health of machines tells: memory near its limit, a disk that was nearly full."""

from __future__ import annotations

from collections.abc import Mapping

from sightline.doctor.findings import Finding, note, ok
from sightline.runs.host_health import Reading
from sightline.runs.run_state import RunState
from sightline.support.wording import size

_FULL = 0.92  # of the memory, from which on it is worth knowing
_LITTLE = 1 << 30  # bytes of a disk
_USED, _LIMIT, _FREE = "host/memory/used_bytes", "host/memory/limit_bytes", "host/disk/free_bytes"


def host_findings(hosts: Mapping[int, Mapping[str, Reading]], state: RunState) -> list[Finding]:
    """What is to be said of them; nothing where no host was watched.

    Args:
        hosts: by process and key, as of :class:`sightline.runs.host_health.HostHealth`.
        state: of the run.
    """
    shares = {
        process: figures[_USED].peak / figures[_LIMIT].latest
        for process, figures in hosts.items()
        if _USED in figures and _LIMIT in figures and figures[_LIMIT].latest > 0
    }
    free = {process: figures[_FREE] for process, figures in hosts.items() if _FREE in figures}
    found = []
    if shares and (share := max(shares.values())) >= _FULL:
        process = max(shares, key=shares.__getitem__)
        used, limit = hosts[process][_USED], hosts[process][_LIMIT]
        killed = state.state == "crashed" and used.latest / limit.latest >= _FULL
        found.append(
            note(
                "hosts",
                f"process {process} used {share:.0%} of its memory: {size(used.peak)} of "
                f"{size(limit.latest)}, in step {used.peak_step}",
                "the system kills who uses more" + ("; it may have done so" if killed else ""),
                "dmesg | grep -i 'out of memory'  # on its host"
                if killed
                else "smaller batches, or more memory",
                {"process": process, "peak_bytes": used.peak, "limit_bytes": limit.latest},
            )
        )
    if free and (least := min(free.values(), key=lambda each: each.low)).low < _LITTLE:
        process = next(process for process, each in free.items() if each is least)
        found.append(
            note(
                "hosts",
                f"process {process} had {size(least.low)} of disk left in step {least.low_step}",
                "what the disk refuses waits in memory, and is lost beyond 64 MiB",
                "df -h  # on its host",
                {"process": process, "free_bytes": least.low},
            )
        )
    if not found and shares:
        found = [ok("hosts", f"memory was {max(shares.values()):.0%} full at most")]
    return found
