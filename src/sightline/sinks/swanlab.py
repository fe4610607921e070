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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from sightline.errors import ConfigurationError
from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import SEQ, together, values_of
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
        project: where the experiment belongs.
        workspace: whose project; None: that of the key.
        name: of the experiment; None: that of the run directory.
        group: of the experiment, if it belongs to one.
        tags: of the experiment.
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

    A commit's values are scalars at its step, its texts are texts, and so are the rows of its sample tables,
    under ``samples/<table>``; histograms are left out. ``sightline/seq`` is logged at the step that it says,
    when SwanLab has taken all else. Of two commits of one step SwanLab keeps the first value of each key, and
    it refuses negative steps: both is said in the log.

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
        behind: list[int] = []  # commits whose seq waits, since SwanLab takes texts after numbers
        for commit, _, samples in together(records):
            self._last, step = commit["seq"], commit["step"]
            values = self._new(step, values_of(commit))
            texts = self._new(step, self._texts(commit, samples))
            self._run.log({**values, **texts}, step=max(step, 0))
            self._taken.expect((step, key) for key in texts)
            if texts or behind:
                behind.append(self._last)
            else:
                self._run.log({SEQ: self._last}, step=self._last)
        if behind and not self._taken.has_texts():
            self._say("texts", "has not taken some texts, which are left out")
        for seq in behind:
            self._run.log({SEQ: seq}, step=seq)
        if not self._taken.has_come_to(self._last):
            raise TimeoutError(f"SwanLab has taken nothing for {_TAKES_WITHIN_S:g} s")

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

    def _new(self, step: int, given: Mapping[str, Any]) -> dict[str, Any]:
        """What SwanLab will take of this step."""
        if step < 0:
            self._say("negative", f"leaves out steps below 0, as this one: {step}")
            return {}
        taken = {}
        for key, value in given.items():
            name = self._names[key]
            if step <= self._steps.get(name, -1):
                self._say("again", f"keeps the first value of a step: {key!r} came again at step {step}")
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
