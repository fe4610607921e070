"""Whether a directory can hold a run: room, speed, and what sightline needs of the file system."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.doctor.findings import Finding, note, ok, wrong
from sightline.support.wording import size

_LEAST_FREE = 256 << 20
_LITTLE_FREE = 4 << 30
_LEAST_INODES = 1000
_BULK = 8 << 20
_LINES = 50
_SLOW_LINE_MS = 20.0
_SLOW_MB_S = 5.0
_SKEW_S = 2.0
#: File systems that lie on another machine, or behind an interface that is none of a disk.
_REMOTE = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "fuse", "9p", "afs", "gfs", "weka")


def file_system(path: Path) -> str:
    """The type of the file system that a path lies on, as in ``ext4``; empty where it cannot be known."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
        device = os.stat(path).st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        found = [line.split(" - ")[1].split()[0] for line in lines if line.split()[2] == wanted]
    except (OSError, IndexError):
        return ""
    return found[-1] if found else ""


def disk_checks(log_dir: Path) -> list[Finding]:
    """Room, speed, and behaviour of the disk under a directory; what is written for it is deleted again."""
    place = log_dir
    while not place.exists() and place.parent != place:
        place = place.parent
    where = str(log_dir) if place == log_dir else f"{log_dir} (yet to be made, in {place})"
    kind = file_system(place)
    found = [*_room(place, where, kind)]
    probe = place / f".sightline-doctor.{os.getpid()}"
    try:
        if not place.is_dir():
            raise NotADirectoryError(20, "is no directory", str(place))
        probe.mkdir()
    except OSError as error:
        return [
            *found,
            wrong(
                "disk write",
                f"{where}: {error.strerror}",
                "a run cannot be written there",
                f"choose another log_dir, or: chmod u+w {place}",
                {"file_system": kind},
            ),
        ]
    try:
        found += _behaviour(probe, where, kind)
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    return found


def _room(place: Path, where: str, kind: str) -> list[Finding]:
    disk = os.statvfs(place)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    inodes = disk.f_favail if disk.f_files else None
    data = {"free": free, "total": total, "free_inodes": inodes, "file_system": kind}
    said = f"{size(free)} free of {size(total)}{f' ({kind})' if kind else ''}: {where}"
    if free < _LEAST_FREE or (inodes is not None and inodes < _LEAST_INODES):
        what = said if free < _LEAST_FREE else f"{inodes} files may yet be made: {where}"
        return [
            wrong(
                "disk room",
                what,
                "what does not fit waits in memory, and is lost beyond 64 MiB",
                f"du -xh --max-depth=2 {place} | sort -h | tail",
                data,
            )
        ]
    if free < _LITTLE_FREE:
        return [
            note(
                "disk room",
                said,
                "traces and logs of a long run may take more",
                f"du -xh --max-depth=2 {place} | sort -h | tail",
                data,
            )
        ]
    return [ok("disk room", said, data=data)]


def _behaviour(probe: Path, where: str, kind: str) -> list[Finding]:
    """What a file system does, tried in a directory of our own on it."""
    found: list[Finding] = []
    speed = _speed(probe)
    data: dict[str, Any] = {"file_system": kind, **speed}
    said = f"{speed['mb_s']:.3g} MB/s, {speed['line_ms']:.2g} ms for a line of the journal"
    if speed["mb_s"] < _SLOW_MB_S or speed["line_ms"] > _SLOW_LINE_MS:
        found.append(
            note(
                "disk speed",
                f"slow: {said}",
                "traces may be dropped; training does not wait for it",
                "a log_dir on a local disk",
                data,
            )
        )
    else:
        found.append(ok("disk speed", said, data=data))
    lacks = [*_append(probe), *_lock(probe), *_replace(probe)]
    if lacks:
        found += [
            wrong(
                "disk kind",
                f"{what} ({kind or 'unknown file system'}): {where}",
                why,
                "a log_dir on another file system; bring files together afterwards",
                {"file_system": kind},
            )
            for what, why in lacks
        ]
    else:
        remote = any(kind.startswith(name) or name in kind for name in _REMOTE)
        unsafe = "; SQLite (trackio, mlflow) is unsafe on it" if remote else ""
        found.append(ok("disk kind", f"append, lock and rename work{unsafe}", data={"remote": remote}))
    return [*found, *_clock(probe)]


def _speed(probe: Path) -> dict[str, float]:
    block = os.urandom(1 << 20)
    began = time.perf_counter()
    with open(probe / "bulk", "wb", buffering=0) as file:
        for _ in range(_BULK >> 20):
            file.write(block)
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
    bulk = time.perf_counter() - began
    times = []
    file_ = os.open(probe / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        for _ in range(_LINES):
            began = time.perf_counter()
            os.write(file_, block[:2000])
            times.append(time.perf_counter() - began)
    finally:
        os.close(file_)
    return {"mb_s": _BULK / 1e6 / max(bulk, 1e-9), "line_ms": 1e3 * sorted(times)[int(0.9 * _LINES)]}


def _append(probe: Path) -> Iterator[tuple[str, str]]:
    """Two that append to one file: nothing may be written over."""
    path, flags = probe / "append", os.O_WRONLY | os.O_CREAT | os.O_APPEND
    one, other = os.open(path, flags, 0o644), os.open(path, flags, 0o644)
    try:
        for number in range(20):
            os.write(one if number % 2 else other, b"%02d\n" % number)
    finally:
        os.close(one)
        os.close(other)
    if path.read_bytes() != b"".join(b"%02d\n" % number for number in range(20)):
        yield "appending (O_APPEND) does not work", "lines of the journal would be lost"


def _lock(probe: Path) -> Iterator[tuple[str, str]]:
    """The lock that keeps two runs from writing one journal."""
    with open(probe / "lock", "w") as one, open(probe / "lock", "w") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            yield f"there are no locks (flock: {error.strerror})", "a run cannot start there"
            return
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    yield "a lock keeps nobody out (flock)", "two runs could write one journal"


def _replace(probe: Path) -> Iterator[tuple[str, str]]:
    """Putting a file in another's place, as cursors are kept."""
    old, new = probe / "old", probe / "new"
    old.write_text("old")
    new.write_text("new")
    try:
        os.replace(new, old)
    except OSError as error:
        yield f"a file cannot be put in another's place ({error.strerror})", "sinks would begin anew"
        return
    if old.read_text() != "new":
        yield "a file put in another's place is not there", "sinks would begin anew"


def _clock(probe: Path) -> list[Finding]:
    """The time of day: whether it can be, and agrees with that of the disk."""
    path = probe / "clock"
    before = time.time()
    path.write_text("now")
    skew = path.stat().st_mtime - (before + time.time()) / 2
    data = {"time": before, "disk_skew_s": skew}
    if before < 1_700_000_000:
        return [
            wrong(
                "clock",
                f"it is {time.strftime('%Y-%m-%d', time.gmtime(before))} here",
                "the clock is not set",
                "sudo chronyc makestep, or timedatectl set-ntp true",
                data,
            )
        ]
    if abs(skew) > _SKEW_S:
        ahead = "ahead of" if skew > 0 else "behind"
        return [
            note(
                "clock",
                f"the disk's clock is {abs(skew):.1f} s {ahead} this host's",
                "another host keeps the disk, and one of the two is wrong",
                "chronyc tracking, or timedatectl, on both",
                data,
            )
        ]
    return [ok("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(before)), data=data)]
