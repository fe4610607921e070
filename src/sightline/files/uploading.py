"""A process's files, put where others can get them: full segments while the run goes on, the rest at its end.

A thread of its own looks every few seconds for what is full and not yet there. It keeps names only, and puts
one file after the other. A place that fails or hangs touches nothing else.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from sightline.files.file_places import FolderPlace, UrlPlace, open_place
from sightline.files.process_files import Place, ProcessFiles
from sightline.files.run_copies import FOLDERS, ROOTS, look, relation

log = logging.getLogger("sightline")

_TICK_S = 2.0
_LONGEST_PAUSE_S = 60.0  # after failures
_TRIES = 6  # at the end


class Uploader:
    """Puts the files of a process under ``<to>/<run's name>/``.

    A file that stands there already is left if it has as much, and replaced if it has less; one of another
    run is never touched.

    Args:
        files: of the process.
        to: a folder, or a URL that fsspec knows.
        note_failure: called for each failure, on the thread of this class.
    """

    def __init__(
        self, files: ProcessFiles, to: str, note_failure: Callable[[], object] = lambda: None
    ) -> None:
        self._files = files
        self._to = to.rstrip("/") if "://" in to else str(Path(to).absolute())
        self._note_failure = note_failure
        self._done: set[Path] = set()
        self._refused = 0
        self._gave_up = False
        self._said = False
        self._place: FolderPlace | UrlPlace | None = None
        self._wake = threading.Event()
        self._changed = threading.Condition()  # over the next three
        self._asked = self._served = 0  # how often the rest was asked for, and is there
        self._last: int | None = None  # the question behind which nothing is written any more
        self._is_ours = True  # False in a forked child
        self._thread = threading.Thread(target=self._run, name="sightline-upload", daemon=True)
        self._thread.start()
        _open.add(self)

    def put_rest(self, timeout: float) -> bool:
        """Puts all files as they are now; returns whether they are there in time."""
        return self._ask(timeout, is_last=False)

    def close(self, timeout: float = 60.0) -> bool:
        """Puts the rest, when all files of the process are written; returns whether all is there in time."""
        if not self._ask(timeout, is_last=True):
            log.warning(
                "sightline: not all files are uploaded to %s; `sightline collect` brings them from the run "
                "directory of this host", self._to,
            )  # fmt: skip
            return False
        return not self._refused

    def _ask(self, timeout: float, *, is_last: bool) -> bool:
        if not self._is_ours or not self._thread.is_alive():
            return True
        with self._changed:
            self._asked += 1
            asked = self._asked
            if is_last:
                self._last = asked
            self._wake.set()
            self._changed.wait_for(lambda: self._served >= asked or self._gave_up, timeout)
            return self._served >= asked

    # --- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _TICK_S
        tries = tries_at_end = 0
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            with self._changed:
                asked, is_last = self._asked, self._last is not None
                is_rest = asked > self._served
            place, paths = self._files.place, self._files.full_segments()
            if is_rest and place is not None:
                paths += _own(place, self._files.process)
            if self._put_all(paths, goes_on=is_rest and not is_last):
                pause, tries = _TICK_S, 0
                self._say_how_far(asked, gave_up=False)
                if is_last:
                    return
            else:
                tries += 1
                tries_at_end += is_last
                if tries_at_end >= _TRIES:
                    self._say_how_far(0, gave_up=True)
                    return
                pause = min(_LONGEST_PAUSE_S, 2.0 ** min(tries - 1, 10))

    def _say_how_far(self, served: int, *, gave_up: bool) -> None:
        with self._changed:
            self._served = max(served, self._served)
            self._gave_up = gave_up
            self._changed.notify_all()

    def _put_all(self, paths: list[Path], *, goes_on: bool) -> bool:
        """Puts those that are not there yet; returns whether nothing failed.

        Args:
            goes_on: among them are files that are still written.
        """
        place = self._files.place
        if place is None:
            return True
        self._done &= set(paths) | set(self._files.full_segments())  # without those that have been deleted
        for path in dict.fromkeys(paths):
            if path in self._done:
                continue
            try:
                self._put(place, path)
            except FileNotFoundError:
                continue  # the oldest segment, deleted meanwhile
            except Exception as error:  # noqa: BLE001 - whatever a back end raises, training goes on
                if not path.exists():
                    continue
                self._note_failure()
                self._say("sightline: uploading %s fails, and is tried again: %s (said once)", path, error)
                return False
            if not goes_on:
                self._done.add(path)
        return True

    def _put(self, place: Place, path: Path) -> None:
        if self._place is None:
            self._place = open_place(f"{self._to}/{place.dir.name}")
        name = path.relative_to(place.dir).as_posix()
        size = self._place.size(name)
        if size:
            there = look(self._place, name, name, size)
            here = look(FolderPlace(place.dir), name, name, path.stat().st_size)
            what = "different" if there.run_id != here.run_id else relation(here, there)
            if what == "different":
                self._refused += 1
                self._note_failure()
                self._say(
                    "sightline: %s is not uploaded: %s has another file of that name (said once)",
                    path, self._place.name,
                )  # fmt: skip
            if what != "longer":
                return
        self._place.put(name, path)

    def _say(self, message: str, *args: object) -> None:
        if not self._said:
            self._said = True
            log.warning(message, *args)

    def _leave_to_parent(self) -> None:
        """In a forked child: there is no thread, and the files are the parent's."""
        self._is_ours = False


def _own(place: Place, process: int) -> list[Path]:
    """All files of a process's attempt, and the root's."""
    name = f"p{process:05d}.a{place.attempt:02d}"
    found = []
    for folder in FOLDERS:
        for path in sorted((place.dir / folder).rglob(f"*{name}*")):
            found += [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    roots = [place.dir / each for each in ROOTS] if process == 0 else []
    return [*found, *(path for path in roots if path.is_file())]


_open: weakref.WeakSet[Uploader] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for uploader in list(_open):
        uploader._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
