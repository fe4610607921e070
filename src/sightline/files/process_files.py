"""The files that each process writes for itself: text logs, traces, sessions.

Two threads stand between the callers and the disk, so that neither formatting nor a disk that hangs reaches
training. One asks the sources, several times a second, to turn what was recorded into lines; it touches no
disk, so it can always bound what waits. The other writes.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sightline.files import full_disks
from sightline.support.clock import anchor

log = logging.getLogger("sightline")

#: How often the sources are asked: what is younger is lost when the process is killed or aborts. More often
#: would cost more of the interpreter than it saves: at 0.1 s it is 0.2 % of a core.
_TICK_S = 0.1
_CHORES_S = 1.0
_PLACE_S = 1.0
_WAITING_BYTES = 32 << 20  # for each file; what comes beyond is dropped, and counted
_MANY_BYTES = 8 << 20  # so much is waiting that sources which can should hold back


class Place(NamedTuple):
    """Where a process's files belong.

    Attributes:
        dir: the run directory.
        run_id: the run's identity over all attempts.
        attempt: which start of the run this is, from 1.
    """

    dir: Path
    run_id: str
    attempt: int


class ProcessFiles:
    """The files of one process, and the two threads that fill them.

    Args:
        place: says where the files belong; None while that is not known, for which they wait.
        process, processes: this process's place in the job.
        role: what the process does, as in ``"rollout"``; for the headers.
    """

    def __init__(
        self,
        place: Callable[[], Place | None],
        *,
        process: int = 0,
        processes: int = 1,
        role: str = "",
    ) -> None:
        self.process = process
        self.processes = processes
        self.role = role
        #: Called about once a second on the thread that writes.
        self.chores: list[Callable[[], None]] = []
        self._place = place
        self._sources: list[Callable[[], bool]] = []
        self._left_out: dict[Callable[[], bool], Callable[[], object]] = {}  # to be told
        self._places: dict[Callable[[], bool], Callable[[], tuple[int, int]]] = {}  # in what they have
        self._files: list[ProcessFile] = []
        # Not an Event: a signal handler that logs in the middle of its `set` would wait for itself.
        self._urgent: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._chores_done = 0.0
        self._rounds = 0  # that have begun
        self._ended_round = 0  # the last one that has ended
        self._clean: dict[Callable[[], bool], int] = {}  # the last one after which a source had nothing left
        self._is_closing = False
        self._is_ours = True  # False in a forked child
        self._ticker: threading.Thread | None = None
        self._writer: threading.Thread | None = None
        _open.add(self)

    @property
    def place(self) -> Place | None:
        """Where the files belong; None while that is not known."""
        return self._place()

    def open(self, pattern: str, header: Callable[[dict[str, Any]], bytes], **limits: Any) -> ProcessFile:
        """A file of this process; see :class:`ProcessFile`. It is made when there is something to write."""
        file = ProcessFile(self, pattern, header, **limits)
        with self._changed:
            self._files.append(file)
        return file

    def add_source(
        self,
        source: Callable[[], bool],
        *,
        left_out: Callable[[], object] | None = None,
        place: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        """Has a function called several times a second, on another thread, to put what it has into files.

        It must not touch disk or network. It returns whether it has more, and is then called again at once.
        One that raises is called no more, and ``left_out`` is called once, so that nothing is kept for it.

        Args:
            source: the function.
            left_out: see above.
            place: of a source that may always have more: how many things it has been given so far, and how
                many of them, in their order, it has put into files. So a flush need not wait for later ones.
        """
        with self._changed:
            self._sources.append(source)
            if left_out is not None:
                self._left_out[source] = left_out
            if place is not None:
                self._places[source] = place
            if self._ticker is None and self._is_ours and not self._is_closing:
                self._ticker = threading.Thread(target=self._tick, name="sightline-recorder", daemon=True)
                self._writer = threading.Thread(target=self._write, name="sightline-files", daemon=True)
                self._ticker.start()
                self._writer.start()

    def remove_source(self, source: Callable[[], bool]) -> None:
        """Has it called no more."""
        with self._changed:
            if source in self._sources:
                self._sources.remove(source)
            for of_sources in (self._left_out, self._places, self._clean):
                of_sources.pop(source, None)

    def hurry(self) -> None:
        """Has the sources asked at once. Safe in signal handlers and finalisers."""
        if self._is_ours:
            self._urgent.put(None)

    def settle(self, timeout: float) -> None:
        """As :meth:`flush`, but without a lock, so that signal handlers and finalisers may call it too."""
        if (
            not self._is_ours
            or self._is_closing
            or threading.current_thread() in (self._ticker, self._writer)
        ):
            return
        target = self._rounds + 1
        self._urgent.put(None)
        end = time.monotonic() + timeout
        while not self._is_taken(target, {}) or any(file.waiting for file in self._files):
            if time.monotonic() >= end:
                return
            time.sleep(0.001)

    def full_segments(self) -> list[Path]:
        """The files that are full, and change no more; oldest first, without those deleted since."""
        return [path for file in list(self._files) for path, _ in file._segments.copy()]

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until all that was recorded before this call is with the kernel; returns whether it is.

        While the place is not known, one second at most: it may never be.
        """
        if not self._is_ours or self._ticker is None:
            return True
        if self._is_closing:
            return not any(file.waiting for file in self._files)
        if self.place is None:
            timeout = min(timeout, _PLACE_S)
        with self._changed:
            target = self._rounds + 1  # the one under way may have passed a source already
            given = {source: place()[0] for source, place in self._places.items()}
            self._urgent.put(None)
            end = time.monotonic() + timeout
            if not self._changed.wait_for(lambda: self._is_taken(target, given), timeout):
                return False
            pieces = [(file, file.pieces_put) for file in self._files]
            return self._changed.wait_for(
                lambda: all(file.pieces_done >= put for file, put in pieces),
                max(0.0, end - time.monotonic()),
            )

    def _is_taken(self, target: int, given: dict[Callable[[], bool], int]) -> bool:
        """Whether each source had nothing left after that round, or has put into files what it was given."""
        return self._ended_round >= target and all(
            self._clean.get(source, 0) >= target
            or (source in given and source in self._places and self._places[source]()[1] >= given[source])
            for source in self._sources.copy()
        )

    def close(self, timeout: float = 10.0) -> bool:
        """Writes what is left, and ends the threads; returns whether all is written."""
        done = self.flush(timeout)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._urgent.put(None)
        for thread in (self._ticker, self._writer):
            if thread is not None and done:
                thread.join(timeout)
        return done

    # --- the threads ---------------------------------------------------------------------------------------

    def _tick(self) -> None:
        while not self._is_closing:
            self._wait_for_tick()
            self._rounds += 1
            have_more = False
            for source in list(self._sources):
                if self._ask(source):
                    have_more = True
                else:
                    self._clean[source] = self._rounds
            if have_more and not any(file.has_many_waiting for file in self._files):
                self._urgent.put(None)
            with self._changed:
                self._ended_round = self._rounds
                self._changed.notify_all()

    def _wait_for_tick(self) -> None:
        try:
            self._urgent.get(timeout=_TICK_S)
            while True:
                self._urgent.get_nowait()
        except queue.Empty:
            pass

    def _ask(self, source: Callable[[], bool]) -> bool:
        try:
            return source()
        except BaseException:  # one source's trouble is not the others', nor this thread's
            log.warning("sightline: a source of files fails (it is left out now)", exc_info=True)
            told = self._left_out.get(source, bool)
            self.remove_source(source)
            try:
                told()
            except Exception:
                log.warning("sightline: a source of files cannot be ended", exc_info=True)
            return False

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_closing or any(file.waiting for file in self._files), _CHORES_S
                )
                if self._is_closing and not any(file.waiting for file in self._files):
                    break
                files = list(self._files)
            place = self._place()
            self._do_chores()
            if place is None:
                time.sleep(_TICK_S)
                if self._is_closing:
                    break
                continue
            for file in files:
                file._write_waiting(place)
            with self._changed:
                self._changed.notify_all()
        for file in self._files:
            file._close()

    def _do_chores(self) -> None:
        if time.monotonic() - self._chores_done < _CHORES_S:
            return
        self._chores_done = time.monotonic()
        for chore in list(self.chores):
            try:
                chore()
            except BaseException:
                log.warning("sightline: a chore fails (it is left out now)", exc_info=True)
                self.chores.remove(chore)

    def _header(self, place: Place) -> dict[str, Any]:
        """What every file begins with."""
        return {
            "run_id": place.run_id,
            "attempt": place.attempt,
            "process": self.process,
            "processes": self.processes,
            **({"role": self.role} if self.role else {}),
            "host": os.uname().nodename,
            "pid": os.getpid(),
            **anchor()._asdict(),
        }

    def _leave_to_parent(self) -> None:
        """In a forked child: the files and the threads are the parent's."""
        self._is_ours = False
        self._is_closing = True
        self._changed = threading.Condition()
        self._urgent = queue.SimpleQueue()
        self._ticker = self._writer = None
        for file in self._files:
            file._leave_to_parent()


class ProcessFile:
    """One kind of file of a process, in segments. Made by :meth:`ProcessFiles.open`.

    Args:
        files: those of the process.
        pattern: the path in the run directory, with ``{name}`` where process and attempt stand
            (``p00003.a01``), as in ``"logs/{name}.jsonl"``; with ``{segment}`` too, each segment has its
            number from the start, else a full one is renamed: ``a.jsonl`` to ``a.0000.jsonl``.
        header: makes the beginning of each segment from the facts: run, process, host, attempt, clocks.
        segment_bytes: a segment that has become so long is followed by another one.
        keep_bytes: the oldest segments are deleted when all together are longer.
    """

    def __init__(
        self,
        files: ProcessFiles,
        pattern: str,
        header: Callable[[dict[str, Any]], bytes],
        *,
        segment_bytes: int = 128 << 20,
        keep_bytes: int = 4 << 30,
    ) -> None:
        self._files = files
        self._pattern = pattern
        self._header = header
        self._segment_bytes = segment_bytes
        self._keep_bytes = keep_bytes
        self._queue: deque[tuple[bytes, int, bool]] = deque()
        self.waiting = 0  # bytes
        self.pieces_put = self.pieces_done = 0  # pieces of the queue, so far
        self._dropped = 0
        self._file = -1
        self._path: Path | None = None
        self._size = 0
        self._segment = -1
        self._segments: deque[tuple[Path, int]] = deque()  # full ones, and their sizes
        self._said = False

    @property
    def has_many_waiting(self) -> bool:
        """Whether the disk is behind: a source that can should keep what it has, and return True."""
        return self.waiting > _MANY_BYTES

    def put(self, data: bytes, count: int = 1, *, begins: bool = False) -> None:
        """Queues whole lines; called by sources.

        Args:
            data: the lines.
            count: how many things they tell, for :meth:`take_dropped`, should they be dropped.
            begins: they begin another segment.
        """
        if not data:
            return
        with self._files._changed:
            if self.waiting + len(data) > _WAITING_BYTES and self._queue:
                self._dropped += count
                return
            self._queue.append((data, count, begins))
            self.waiting += len(data)
            self.pieces_put += 1
            self._files._changed.notify_all()

    def take_dropped(self) -> int:
        """How many things have not been written since the last call: too many waited, or the disk refused."""
        with self._files._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    @property
    def path(self) -> Path | None:
        """The segment that is written now; None before the first."""
        return self._path

    # --- the writing thread --------------------------------------------------------------------------------

    def _write_waiting(self, place: Place) -> None:
        while self._queue:
            data, count, begins = self._queue[0]
            try:
                if self._file < 0 or begins or self._size >= self._segment_bytes:
                    self._next_segment(place)
                self._append(data)
            except BaseException as error:  # noqa: BLE001 - the thread must live, whatever the disk or a header does
                with self._files._changed:
                    self._dropped += count
                if not full_disks.is_said(error, self._path or place.dir) and not self._said:
                    self._said = True
                    log.warning(
                        "sightline: cannot write %s: %s; what is left out is counted (said once)",
                        self._path or self._pattern, error,
                    )  # fmt: skip
            with self._files._changed:
                self._queue.popleft()
                self.waiting -= len(data)
                self.pieces_done += 1

    def _append(self, data: bytes) -> None:
        """Appends all of it, or nothing."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            self._take_back(len(data) - len(rest))
            raise
        self._size += len(data)

    def _take_back(self, written: int) -> None:
        """Removes what was written last, unless another process writes into the file too."""
        try:
            if os.fstat(self._file).st_size == self._size + written:
                if written:
                    os.ftruncate(self._file, self._size)
                return
        except OSError:
            pass
        self._close()  # what stands there now is torn: nothing may follow it

    def _next_segment(self, place: Place) -> None:
        if self._file >= 0:
            self._end_segment()
        name = f"p{self._files.process:05d}.a{place.attempt:02d}"
        path = place.dir / self._pattern.format(name=name, segment=f"{self._segment + 1:04d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._path, self._file, self._size = path, file, os.fstat(file).st_size
        facts = {**self._files._header(place), "segment": self._segment + 1}
        # What a killed process has left torn must not run into our first line.
        is_torn = self._size > 0 and os.pread(file, 1, self._size - 1) != b"\n"
        try:
            self._append(b"\n" * is_torn + self._header(facts))
        except BaseException:  # nothing may stand there without its header
            self._close()
            raise
        self._segment += 1

    def _end_segment(self) -> None:
        assert self._path is not None
        path = full = self._path
        self._close()
        if "{segment}" not in self._pattern:
            number = self._segment
            while (full := path.with_name(f"{path.stem}.{number:04d}{path.suffix}")).exists():
                number += 1  # of an earlier process that wrote under this name
            os.replace(path, full)
        self._segments.append((full, self._size))
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while self._segments and sum(size for _, size in self._segments) > self._keep_bytes:
            path, _ = self._segments.popleft()
            path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _leave_to_parent(self) -> None:
        self._queue.clear()
        self.waiting = 0
        self._close()


_open: weakref.WeakSet[ProcessFiles] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for files in list(_open):
        files._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
