"""A SwanLab run, written by SwanLab's SDK: what the SwanLab sink's child process does.

SwanLab takes values on a thread of its own. ``sightline/seq`` is handed over when all else of a commit has
been taken, so a file that is cut anywhere says rightly which commits it has.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import SEQ, together, values_of
from sightline.sinks.lineage import Rewind
from sightline.sinks.names import Names
from sightline.sinks.once import Once
from sightline.sinks.swanlab import SwanLabConfig
from sightline.sinks.swanlab_file import cut_behind_commits, last_seq
from sightline.support.redaction import redacted

_HIGHEST_STEP = 1 << 48  # that SwanLab takes; what is above it drops with a line in its own log
_TAKES_WITHIN_S = 60.0
_NO_PROBES = dict.fromkeys(
    ("hardware", "runtime", "requirements", "conda", "git", "swanlab", "monitor"), False
)  # the run's facts are among its configuration


class SwanLabRun:
    """A sink that stores: its run in one process, once opened.

    A commit's values are scalars at its step, its texts are texts, and so are the rows of its sample tables,
    under ``samples/<table>``; histograms are left out. ``sightline/seq`` is logged at the step that it says,
    when SwanLab has taken all else. Of two commits of one step SwanLab keeps the first value of each key, and
    it refuses steps below 0 and above 2^48: all of that is said in the log.

    Args:
        config: where to, and how.
    """

    name = "swanlab"
    stores_at_close = True

    def __init__(self, config: SwanLabConfig) -> None:
        self._config = config
        self.rewind: Rewind = config.rewind
        self._run: Any = None
        self._names = Names("swanlab", clean)
        self._steps: dict[str, int] = {}  # of each key the last one that SwanLab has taken
        self._taken = _Taken()
        self._last = 0  # the last commit that was handed over
        self._files: tuple[Path, str] | None = None  # offline: where they are, and of which experiment
        self._resume_hint = ""
        self._error: str | None = None
        self._once = Once("swanlab")

    def open(self, run: SinkRun) -> int | None:
        """Begins another file of the experiment.

        Returns:
            The ``seq`` of the last commit in the files; None online: SwanLab leaves out what it has. 0 where
            the run has been offline so far: then a file has its commits, and not the cloud.
        """
        swanlab = import_module("swanlab")
        folder = Path(self._config.dir or run.dir / "swanlab").absolute()
        identity = run.run_id + run.suffix
        mode = self._config.mode
        if mode == "online" and not swanlab.Settings().api_key:
            mode = "offline"
            self._once.warn(
                "key", f"has no key, and writes files for: swanlab sync --id {identity} {folder}/run-*"
            )
        stored = stored_commits(mode, run.kept, folder, identity)
        self._names = Names("swanlab", clean, taken=[SEQ], kept=run.kept.setdefault("names", {}))
        own = f"run-{run.attempt:04d}-{os.urandom(3).hex()}"
        try:
            self._run = swanlab.init(
                mode=mode,
                project=self._config.project,
                workspace=self._config.workspace,
                name=(self._config.name or run.name) + run.suffix,
                group=self._config.group,
                tags=redacted(list(self._config.tags)) or None,
                id=identity,
                resume="allow",
                log_dir=str(folder),
                config=run.described(),
                settings=swanlab.Settings(
                    interactive=False,
                    probe=_NO_PROBES,
                    terminal={"proxy_type": "none"},
                    run={"dir": own},
                ),
                callbacks=_callback(swanlab, self._taken),
            )
        except BaseException:
            shutil.rmtree(folder / own, ignore_errors=True)  # or an outage leaves hundreds
            raise
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # SwanLab's handler would end the run
        run.kept["mode"] = mode
        self._files = None if mode == "online" else (folder, identity)
        self._resume_hint = f"sightline sync {run.dir} --to swanlab"
        return stored

    def write(self, records: Sequence[Record]) -> None:
        """Returns when SwanLab's thread has taken all of it."""
        for record in records:
            if record.get("type") == "event" and record.get("event") == "failed":
                self._error = str(record.get("error"))
        behind: list[int] = []  # commits whose seq waits, since SwanLab takes texts after numbers
        for commit, _, samples in together(records):
            self._last, step = commit["seq"], commit["step"]
            values = self._new(step, values_of(commit))
            texts = self._new(step, self._texts(commit, samples))
            self._run.log({**values, **texts}, step=min(max(step, 0), _HIGHEST_STEP))
            self._taken.expect((step, key) for key in texts)
            if texts or behind:
                behind.append(self._last)
            else:
                self._run.log({SEQ: self._last}, step=self._last)
        if behind and not self._taken.has_texts():
            self._once.warn("texts", "has not taken some texts, which are left out")
        for seq in behind:
            self._run.log({SEQ: seq}, step=seq)
        if not self._taken.has_come_to(self._last):
            raise TimeoutError(f"SwanLab has taken nothing for {_TAKES_WITHIN_S:g} s")

    def close(self) -> None:
        """Finishes the run: its files are whole then, and online all is uploaded.

        Raises:
            OSError: a file lacks what SwanLab was given.
        """
        self._finish(self._error)

    def abandon(self) -> None:
        """The same, when training was cut off."""
        self._finish(self._error or "training was cut off")

    def _finish(self, error: str | None) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.finish(**({} if error is None else {"state": "crashed", "error": error}))
            if self._files is not None:
                self._check(*self._files)

    def _check(self, folder: Path, identity: str) -> None:
        stored = last_seq(folder, identity)
        if stored < self._last:
            cut_behind_commits(folder, identity)
            raise OSError(
                f"SwanLab's files in {folder} hold the commits up to {stored} of {self._last}; what they "
                f"lack comes with the next attempt, or with {self._resume_hint}"
            )

    def _new(self, step: int, given: Mapping[str, Any]) -> dict[str, Any]:
        """What SwanLab will take of this step."""
        if step < 0:
            self._once.warn("negative", f"leaves out steps below 0, as this one: {step}")
            return {}
        if step > _HIGHEST_STEP:
            self._once.warn("high", f"leaves out steps above {_HIGHEST_STEP} (2^48), as this one: {step}")
            return {}
        taken = {}
        for key, value in given.items():
            name = self._names[key]
            if step <= self._steps.get(name, -1):
                self._once.warn(
                    "again", f"keeps the first value of a step: {key!r} came again at step {step}"
                )
            else:
                self._steps[name] = step
                taken[name] = value
        return taken

    def _texts(self, commit: Record, samples: Sequence[Record]) -> dict[str, Any]:
        """SwanLab's texts: one each, one for each row of a sample table."""
        text = import_module("swanlab").Text
        texts: dict[str, Any] = {key: text(said) for key, said in (commit.get("texts") or {}).items()}
        for line in samples:
            texts[f"samples/{line['table']}"] = [text(*_row(row)) for row in line["rows"]]
        return texts


def make(settings: Mapping[str, Any]) -> SwanLabRun:
    """From plain data."""
    return SwanLabRun(SwanLabConfig(**settings))


def stored_commits(mode: str, kept: Mapping[str, Any], folder: Path, identity: str) -> int | None:
    """The ``seq`` of the last commit that is where this mode writes to; None: the cursor says it.

    Example:
        >>> stored_commits("online", {"mode": "online"}, Path(), "id")
        >>> stored_commits("online", {"mode": "offline"}, Path(), "id")
        0
    """
    if mode != "online":
        cut_behind_commits(folder, identity)
        return last_seq(folder, identity)
    return 0 if kept.get("mode") == "offline" else None


class _Taken:
    """What SwanLab's thread has taken. Waits for it however long it takes, as long as it takes anything."""

    def __init__(self) -> None:
        self._seq = 0
        self._expected: set[tuple[int, str]] = set()  # texts, by step and key
        self._changed = threading.Condition()

    def expect(self, texts: Iterable[tuple[int, str]]) -> None:
        with self._changed:
            self._expected.update(texts)

    def note_scalars(self, scalars: Sequence[Any]) -> None:
        with self._changed:
            self._seq = max([self._seq, *(each.step for each in scalars if each.key == SEQ)])
            self._changed.notify_all()

    def note_texts(self, texts: Sequence[Any]) -> None:
        with self._changed:
            self._expected.difference_update((each.step, each.key) for each in texts)
            self._changed.notify_all()

    def has_texts(self) -> bool:
        with self._changed:
            done = self._wait(lambda: not self._expected)
            self._expected.clear()
            return done

    def has_come_to(self, seq: int) -> bool:
        with self._changed:
            return self._wait(lambda: self._seq >= seq)

    def _wait(self, condition: Callable[[], bool]) -> bool:
        while not condition():
            if not self._changed.wait(_TAKES_WITHIN_S):
                return False
        return True


def _callback(swanlab: Any, taken: _Taken) -> Any:
    class Callback(swanlab.Callback):  # type: ignore[misc]
        name = "sightline"

        def on_scalar_flush(self, scalar_records: Sequence[Any], *_: Any, **__: Any) -> None:
            taken.note_scalars(scalar_records)

        def on_media_flush(self, media_records: Sequence[Any], *_: Any, **__: Any) -> None:
            taken.note_texts(media_records)

    return Callback()


def _row(row: Mapping[str, Any]) -> tuple[str, str]:
    """The texts of a sample's row one below the other, and its numbers."""
    texts = {name: value for name, value in row.items() if isinstance(value, str)}
    numbers = ", ".join(f"{name}: {value}" for name, value in row.items() if name not in texts)
    return "\n\n".join(f"[{name}]\n{value}" for name, value in texts.items()), numbers


def clean(key: str) -> str:
    """A key as SwanLab takes it: no dots at its ends, and not called as its own.

    Example:
        >>> clean("train/loss."), clean("__swanlab__.cpu")
        ('train/loss', 'key/__swanlab__.cpu')
    """
    if key.startswith("__swanlab__"):
        return f"key/{key}"
    return key.strip(" \t\n\r./") or "_"
