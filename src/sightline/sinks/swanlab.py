"""SwanLab: an experiment in files that ``swanlab sync`` uploads, or in the cloud.

SwanLab takes values on a thread of its own, says nothing of what the disk has refused, and its files are
whole only when a run has been finished. So the sink reads its files: at its end, before its cursor moves, and
when it is opened, for where to go on.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from sightline.errors import ConfigurationError
from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import SEQ, commits_in, values_of
from sightline.sinks.extras import need
from sightline.sinks.lineage import Rewind
from sightline.sinks.names import Names

log = logging.getLogger("sightline")

_PROJECT = re.compile(r"[0-9a-zA-Z_\-+.]{1,100}")
_TAKES_WITHIN_S = 60.0
_NO_PROBES = dict.fromkeys(
    ("hardware", "runtime", "requirements", "conda", "git", "swanlab", "monitor"), False
)  # the run's facts are among its configuration


@dataclass(frozen=True)
class SwanLabConfig:
    """Settings of the SwanLab sink.

    Attributes:
        mode: ``"offline"`` writes files for ``swanlab sync``; ``"online"`` uploads too, with the key that
            SwanLab finds (``SWANLAB_API_KEY``, ``swanlab login``), and goes offline without one.
        project, workspace: where the experiment belongs.
        name: of the experiment; None: that of the run directory.
        group, tags: of the experiment.
        dir: of the files; None: ``swanlab`` in the run directory.
        rewind: steps that a resumed run commits again: ``"fork"`` begins another experiment, ``"skip"``
            leaves them out. SwanLab takes no step of a key twice, so ``"continue"`` cannot be.
    """

    mode: Literal["offline", "online"] = "offline"
    project: str = "sightline"
    workspace: str | None = None
    name: str | None = None
    group: str | None = None
    tags: Sequence[str] = ()
    dir: str | Path | None = None
    rewind: Rewind = "fork"

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online"):
            raise ConfigurationError(f"swanlab mode={self.mode!r}: expected 'offline' or 'online'")
        if self.rewind not in ("fork", "skip"):
            raise ConfigurationError(
                f"swanlab rewind={self.rewind!r}: expected 'fork' or 'skip', since SwanLab takes no step of "
                f"a key twice"
            )
        if not _PROJECT.fullmatch(self.project):
            raise ConfigurationError(
                f"swanlab project={self.project!r}: expected letters, digits and any of _-+. (100 at most)"
            )


class SwanLabSink:
    """Logs to one SwanLab experiment, which has the run's id in all attempts.

    A commit's values are scalars at its step; texts and histograms are left out. ``sightline/seq`` is logged
    at the step that it says. Of two commits of one step SwanLab keeps the first value of each key, and it
    refuses negative steps: both is said in the log.

    While it is open, SwanLab's messages are silenced, and its hooks for exceptions and the program's exit are
    taken out: they would wait for the network for ever.

    Args:
        config: where to, and how.

    Raises:
        ConfigurationError: without ``pip install 'sightline[swanlab]'``.
    """

    name = "swanlab"
    stores_at_close = True

    def __init__(self, config: SwanLabConfig | None = None) -> None:
        self._config = config or SwanLabConfig()
        self.rewind: Rewind = self._config.rewind
        need("swanlab", "swanlab", "sightline[swanlab]")
        self._run: Any = None
        self._names = Names("swanlab", clean)
        self._steps: dict[str, int] = {}  # of each key the last one that SwanLab has taken
        self._taken = _Taken()
        self._last = 0  # the last commit that was handed over
        self._check: Callable[[], None] = lambda: None
        self._error: str | None = None
        self._said: set[str] = set()

    def open(self, run: SinkRun) -> int | None:
        """Begins another file of the experiment.

        Returns:
            The ``seq`` of the last commit in the files; None online: SwanLab leaves out what it has.
        """
        swanlab = import_module("swanlab")
        _silence(True)
        if self._run is not None:
            self._finish()
        folder = Path(self._config.dir or run.dir / "swanlab").absolute()
        fork = f".fork{run.fork:02d}" if run.fork else ""
        identity = run.kept["run_id"] = f"{run.run_id}{fork}"
        mode = self._config.mode
        if mode == "online" and not swanlab.Settings().api_key:
            mode = "offline"
            self._say("key", f"has no key, and writes files for: swanlab sync --id {identity} {folder}/run-*")
        stored = None if mode == "online" else last_seq(folder, identity)
        self._names = Names("swanlab", clean, taken=[SEQ], kept=run.kept.setdefault("names", {}))
        self._steps, self._last, self._error = {}, 0, None
        self._taken = _Taken()
        facts = {name: value for name, value in run.facts.items() if name != "sightline"}
        before = sys.excepthook
        self._run = swanlab.init(
            mode=mode,
            project=self._config.project,
            workspace=self._config.workspace,
            name=f"{self._config.name or run.name}{fork}",
            group=self._config.group,
            tags=list(self._config.tags) or None,
            id=identity,
            resume="allow",
            log_dir=str(folder),
            config={
                **(run.config if isinstance(run.config, dict) else {"config": run.config}),
                "sightline": facts,
            },
            settings=swanlab.Settings(
                interactive=False,
                probe=_NO_PROBES,
                terminal={"proxy_type": "none"},
                run={"dir": f"run-{run.attempt:04d}-{os.urandom(3).hex()}"},
            ),
            callbacks=_callback(swanlab, self._taken),
        )
        sys.excepthook = before
        atexit.unregister(getattr(self._run, "_handle_atexit", None))  # type: ignore[arg-type]
        hint = f"sightline sync {run.dir} --to swanlab"
        self._check = (
            (lambda: None) if mode == "online" else lambda: self._check_files(folder, identity, hint)
        )
        return stored

    def write(self, records: Sequence[Record]) -> None:
        """Returns when SwanLab's thread has taken all of it."""
        for record in records:
            if record.get("type") == "event" and record.get("event") == "failed":
                self._error = str(record.get("error"))
        for commit in commits_in(records):
            self._last = commit["seq"]
            self._run.log(self._new(commit), step=max(commit["step"], 0))
            self._run.log({SEQ: self._last}, step=self._last)
        self._taken.wait_for(self._last)

    def close(self) -> None:
        """Finishes the run: its files are whole then, and online all is uploaded.

        Raises:
            OSError: a file lacks what SwanLab was given.
        """
        if self._run is not None:
            try:
                self._finish()
                self._check()
            finally:
                _silence(False)

    def _check_files(self, folder: Path, identity: str, hint: str) -> None:
        stored = last_seq(folder, identity)
        if stored < self._last:
            raise OSError(
                f"SwanLab's files hold the commits up to {stored} of {self._last}; what they lack comes with "
                f"the next attempt, or with {hint}"
            )

    def _new(self, commit: Record) -> dict[str, float]:
        """The values that SwanLab will take."""
        step = commit["step"]
        if step < 0:
            self._say("negative", f"leaves out steps below 0, as this one: {step}")
            return {}
        taken = {}
        for key, value in values_of(commit).items():
            name = self._names[key]
            if step <= self._steps.get(name, -1):
                self._say("again", f"keeps the first value of a step: {key!r} came again at step {step}")
            else:
                self._steps[name] = step
                taken[name] = value
        return taken

    def _finish(self) -> None:
        run, self._run = self._run, None
        before = sys.excepthook
        if self._error is None:
            run.finish()
        else:
            run.finish(state="crashed", error=self._error)
        sys.excepthook = before

    def _say(self, about: str, what: str) -> None:
        if about not in self._said:
            self._said.add(about)
            log.warning("sightline: sink swanlab %s (said once)", what)


class _Taken:
    """Up to which commit SwanLab's thread has come."""

    def __init__(self) -> None:
        self._seq = 0
        self._changed = threading.Condition()

    def note(self, scalars: Sequence[Any]) -> None:
        seqs = [scalar.step for scalar in scalars if scalar.key == SEQ]
        with self._changed:
            self._seq = max([self._seq, *seqs])
            self._changed.notify_all()

    def wait_for(self, seq: int) -> None:
        """However long it takes, as long as it takes anything."""
        with self._changed:
            while self._seq < seq:
                if not self._changed.wait(_TAKES_WITHIN_S):
                    raise TimeoutError(f"SwanLab has taken nothing for {_TAKES_WITHIN_S:g} s")


def _callback(swanlab: Any, taken: _Taken) -> Any:
    class Callback(swanlab.Callback):  # type: ignore[misc]
        name = "sightline"

        def on_scalar_flush(self, scalar_records: Sequence[Any], *_: Any, **__: Any) -> None:
            taken.note(scalar_records)

    return Callback()


def last_seq(folder: Path, identity: str) -> int:
    """The ``seq`` of an experiment's last commit in the run files of a folder; 0 if there is none."""
    seq = 0
    for path in sorted(folder.glob("run-*/run-*.swanlab")):
        records = records_in(path)
        first = next(records, None)
        if first is not None and first.start.id == identity:
            for record in records:
                if record.scalar.key == SEQ:
                    seq = max(seq, record.scalar.step)
    return seq


def records_in(path: Path) -> Iterator[Any]:
    """The records of a run file, up to where it is cut, or one is missing: SwanLab numbers them."""
    reader = import_module("swanlab.sdk.internal.core_python.store").DataStoreReader()
    make = import_module("swanlab.proto.swanlab.record.v1.record_pb2").Record
    number = 0
    with closing(reader):
        try:
            reader.open(path)
            while data := reader.scan():
                record = make.FromString(data)
                if record.num > 0:  # others are about the run
                    number += 1
                    if record.num != number:
                        break
                yield record
        except Exception as error:  # noqa: BLE001 - SwanLab asserts what a file that is cut does not hold
            log.info("sightline: %s counts up to where it is cut: %r", path, error)


def clean(key: str) -> str:
    """A key as SwanLab takes it: no dots at its ends, and not called as its own.

    Example:
        >>> clean("train/loss."), clean("__swanlab__.cpu")
        ('train/loss', 'key/__swanlab__.cpu')
    """
    if key.startswith("__swanlab__"):
        return f"key/{key}"
    return key.strip(" \t\n\r./") or "_"


def _silence(quiet: bool) -> None:
    console: Any = getattr(getattr(import_module("swanlab"), "pkg", None), "console", None)
    if hasattr(console, "c"):
        console.c.quiet = quiet
