"""The run directory: its name, its lock, and whether a run starts in it or goes on."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from sightline.errors import ConfigurationError, RunDirectoryError

log = logging.getLogger("sightline")

Resume = Literal["never", "allow", "must"]
JOURNAL = "metrics.jsonl"


class RunDirectory:
    """A run directory, held by this process until :meth:`close`, or until it dies.

    Args:
        log_dir: where run directories lie.
        name: the run's own name, one path component. None: a new one from date and time; with ``resume``
            the run that ``log_dir/latest`` points to.
        resume: ``"never"`` wants a fresh directory, ``"must"`` one with a journal, ``"allow"`` takes either.

    Raises:
        RunDirectoryError: taken, missing, or held by a live run.
        ConfigurationError: a name that is no path component, an unknown ``resume``.
    """

    def __init__(
        self, log_dir: str | os.PathLike[str], name: str | None = None, resume: Resume = "never"
    ) -> None:
        if resume not in ("never", "allow", "must"):
            raise ConfigurationError(f"resume={resume!r}; expected 'never', 'allow' or 'must'")
        if name is not None and (
            not name or name in (".", "..", "latest") or "/" in name or "\0" in name or not _is_utf8(name)
        ):
            raise ConfigurationError(f"name={name!r}; expected one path component in UTF-8, and not 'latest'")
        folder = Path(log_dir)
        if name is None and resume != "never":
            name = _latest(folder)
            if name is None and resume == "must":
                raise RunDirectoryError(
                    f"resume='must', but {folder} has no run (no link {folder / 'latest'})"
                )
        self.name = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}"
        self.path = folder / self.name
        journal = self.path / JOURNAL
        if resume == "must" and not journal.exists():
            raise RunDirectoryError(f"resume='must', but there is no journal {journal}")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"cannot make the run directory {self.path}: {error}") from error
        self._lock = _lock(self.path / ".lock", self.path)
        if resume == "never" and journal.exists() and journal.stat().st_size:
            self.close()
            raise RunDirectoryError(
                f"{self.path} holds an earlier run, and resume='never' would not append to it: "
                f"choose another name, or resume='allow' to go on with it"
            )
        _point_latest(folder, self.name)

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL

    def close(self) -> None:
        """Lets the directory go."""
        if self._lock >= 0:
            _held.discard(self._lock)
            os.close(self._lock)
            self._lock = -1


_held: set[int] = set()


@contextmanager
def _released(lock: int) -> Iterator[None]:
    try:
        yield
    finally:
        if lock >= 0:
            _held.discard(lock)
            os.close(lock)


def held(directory: Path, *, writes: bool = True) -> AbstractContextManager[None]:
    """Holds the directory of a run that has ended, as a live run does.

    Args:
        directory: of the run.
        writes: whether the lock may be made where there is none.

    Raises:
        RunDirectoryError: somebody holds it.
    """
    path = directory / ".lock"
    can = path.exists() or (writes and os.access(directory, os.W_OK))
    return _released(_lock(path, directory) if can else -1)


class Lock(NamedTuple):
    """What can be seen of a run directory's lock.

    Attributes:
        is_held: by a live process; None if that cannot be seen here, and ``why``.
        pid, host: who took it last; None if that cannot be read.
        why: it cannot be seen: no lock file, or a file system without locks.
    """

    is_held: bool | None
    pid: int | None = None
    host: str | None = None
    why: str = ""


def no_journal(run_dir: Path) -> str:
    """What is wrong with a directory that has no journal, in a sentence with what to do."""
    if any(run_dir.glob("*/p[0-9]*.a[0-9]*")):
        why = "the files are of processes whose root wrote elsewhere: look there, or bring its files here"
    elif runs := sorted(each.parent.name for each in run_dir.glob(f"*/{JOURNAL}")):
        why = f"expected a run directory; it has runs: {', '.join(runs[:5])}"
    else:
        why = "expected a run directory, as in runs/latest"
    return f"{run_dir} has no journal {JOURNAL}: {why}"


def lock_of(directory: Path) -> Lock:
    """Looks at the lock of a run directory and keeps nobody out: a run that starts meanwhile starts.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     directory = RunDirectory(folder, "run")
        ...     before = lock_of(directory.path).is_held
        ...     directory.close()
        ...     before, lock_of(directory.path).is_held
        (True, False)
    """
    try:
        file = os.open(directory / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return Lock(None, why=f"{directory / '.lock'}: {error.strerror}")
    pid = host = None
    try:
        pid, host = _holder(os.pread(file, 200, 0))
        try:
            # Shared: others may look at the same time, and a run that starts tries for a second. On a disk
            # of the network a shared lock needs no more than reading.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Lock(True, pid, host)
        return Lock(False, pid, host)
    except OSError as error:
        return Lock(None, pid, host, f"{directory / '.lock'} cannot be locked here: {error.strerror}")
    finally:
        os.close(file)


def _holder(text: bytes) -> tuple[int | None, str | None]:
    try:
        said = json.loads(text)
        return int(said["pid"]), str(said["host"])
    except (ValueError, TypeError, LookupError):
        return None, None


def _lock(path: Path, directory: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _flock(file)
    except BlockingIOError:
        holder = os.pread(file, 200, 0).decode(errors="replace") or "another process"
        os.close(file)
        raise RunDirectoryError(
            f"{directory} is held by a live run or by `sightline sync` ({holder}). Two runs cannot write one "
            f"journal, and a live run feeds its sinks itself: choose another name, or wait for its end"
        ) from None
    except OSError as error:  # as Lustre does that is mounted without flock
        log.warning(
            "sightline: %s: its file system has no locks (%s), so nothing keeps a second run of this name "
            "out: start no two at once, or choose a log_dir on another disk",
            directory,
            error.strerror,
        )
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps({"pid": os.getpid(), "host": os.uname().nodename}).encode(), 0)
    _held.add(file)
    return file


def _flock(file: int) -> None:
    # Tries again for a moment: a run that was killed in the middle of a fork leaves the lock with its child,
    # until the child has closed it below.
    for _ in range(20):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _close_in_child() -> None:
    # A forked child (a data loader) must not hold the lock after its parent has died.
    for file in _held:
        os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _latest(folder: Path) -> str | None:
    try:
        return os.readlink(folder / "latest").rstrip("/").rpartition("/")[2] or None
    except OSError:
        return None


def _point_latest(folder: Path, name: str) -> None:
    link = folder / f".latest.{os.getpid()}"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.replace(folder / "latest")
    except OSError:
        pass  # a file system without links; the name itself still leads there
