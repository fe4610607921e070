"""TensorBoard: one event a commit, with all its values, histograms and texts, in the kernel at once.

Event files are written through TensorBoard's own record writer, on this sink's thread, without a queue. What
an earlier attempt has stored is read back from its files, so nothing is lost or written twice. Each file
begins with the run's id, since TensorBoard shows all files of a folder as one run.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import ConfigurationError
from sightline.runs.journal import is_rewound
from sightline.sinks.base import Record, SinkRun
from sightline.sinks.commits import SEQ, flat, values_of
from sightline.sinks.lineage import Rewind, check_rewind, starts_of
from sightline.sinks.names import Names
from sightline.sinks.settings import check_types

log = logging.getLogger("sightline")

_WRITER = "sightline/"  #: what the name of a file's writer begins with; the run's id follows
_LONGEST = 1 << 20  # characters of a tag; TensorBoard sets no limit
_NUMBERED = re.compile(r"events\.out\.tfevents\.(\d{10})\.")


@dataclass(frozen=True)
class TensorBoardConfig:
    """Settings of the TensorBoard sink.

    Attributes:
        dir: where the event files go, of this run alone; None: ``tensorboard`` in the run directory. A fork
            goes into a folder beside it (``tensorboard.fork02``).
        rewind: steps that a resumed run commits again: ``"continue"`` shows them in place of the first ones,
            which TensorBoard then leaves out (a purge), ``"skip"`` keeps the first ones, and ``"fork"``
            begins another folder.
    """

    dir: str | Path | None = None
    rewind: Rewind = "continue"

    def __post_init__(self) -> None:
        check_types("tensorboard", self)
        check_rewind("tensorboard", self.rewind)


class TensorBoardSink:
    """Writes event files.

    Values are 32-bit floats, as TensorBoard keeps them. A commit's event is written by one call, with the
    ``seq`` of the commit under ``sightline/seq``; a key of that name gets another one.

    Args:
        config: where to, and how.

    Raises:
        ConfigurationError: without ``pip install 'sightline[tensorboard]'``.
    """

    name = "tensorboard"
    stores_at_close = False

    def __init__(self, config: TensorBoardConfig | None = None) -> None:
        try:
            import tensorboard.summary.writer.record_writer  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                f"sink 'tensorboard' needs TensorBoard: pip install 'sightline[tensorboard]' ({error})"
            ) from error
        self._config = config or TensorBoardConfig()
        self.rewind: Rewind = self._config.rewind
        self.place: Path | None = None
        self._writer: Any = None
        self._names = Names(self.name, str, taken=[SEQ])

    def open(self, run: SinkRun) -> int:
        """A new event file; returns the ``seq`` of the last commit in the files that are there.

        Raises:
            ValueError: the folder has files of another run.
        """
        folder = Path(os.path.abspath(Path(self._config.dir or run.dir / "tensorboard").expanduser()))
        self.place = folder = folder.with_name(f"{folder.name}{run.suffix}")
        folder.mkdir(parents=True, exist_ok=True)
        self._names = Names(
            self.name, str, longest=_LONGEST, taken=[SEQ], kept=run.kept.setdefault("names", {})
        )
        stored = last_seq(folder, run.run_id)
        self._open_file(folder, run)
        if not stored:
            self._write(
                self._start(0)
            )  # TensorBoard takes the first one for the beginning, and purges nothing
            self._write(self._event(0, time.time(), [_text("run/config", _as_markdown(run.config))]))
        self._writer.flush()
        return stored

    def write(self, records: Sequence[Record]) -> None:
        """One event for each commit, all in the kernel when this returns."""
        for seq, lines in itertools.groupby(records, key=lambda record: record.get("seq")):
            if seq is None:
                for line in lines:
                    self._see_run(line)
                continue
            together = [line for line in lines if line.get("type") in ("commit", "histogram", "sample")]
            if together:
                values = [value for line in together for value in _values(line, self._names)]
                first = together[0]
                when = first.get("time", time.time())
                self._write(self._event(first["step"], when, [*values, _exact(SEQ, seq)]))
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open_file(self, folder: Path, run: SinkRun) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        with suppress(OSError):  # the file before, if this is after a failure
            self.close()
        # TensorBoard reads the files of a folder in the order of their names, which begin with the time in
        # seconds; behind those of this second, and of a clock that was ahead, it is counted on.
        there = [int(found[1]) for path in folder.iterdir() if (found := _NUMBERED.match(path.name))]
        number = max(int(time.time()), max(there, default=0) + 1)
        unique = f"{os.uname().nodename}.{run.attempt:04d}.{os.getpid()}"
        self._writer = RecordWriter((folder / f"events.out.tfevents.{number:010d}.{unique}").open("xb"))
        source = event_pb2.SourceMetadata(writer=f"{_WRITER}{run.run_id}")
        self._write(
            event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2", source_metadata=source)
        )

    def _see_run(self, line: Record) -> None:
        """Where an attempt goes back, what was written of these steps is not to be shown any more."""
        says_so = (line.get("type") == "run" or is_rewound(line)) and self.rewind == "continue"
        starts = starts_of(line) if says_so else []
        if starts and starts[-1].is_rewound:
            self._write(self._start(starts[-1].first_step))

    def _start(self, step: int) -> Any:
        from tensorboard.compat.proto import event_pb2

        status = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        return event_pb2.Event(wall_time=time.time(), step=step, session_log=status)

    def _event(self, step: int, when: float, values: Sequence[Any]) -> Any:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        return event_pb2.Event(wall_time=when, step=step, summary=summary_pb2.Summary(value=values))

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


def last_seq(folder: Path, run_id: str) -> int:
    """The ``seq`` of the last commit in a run's event files; 0 if there is none.

    A file that was cut in the middle of an event counts up to there. Files of other writers do not count.

    Raises:
        ValueError: the folder has files of another run, with which TensorBoard would mix this one.
    """
    last = 0
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in events(path):
            values = event.summary.value
            if event.source_metadata.writer.startswith(_WRITER):
                owner = event.source_metadata.writer.removeprefix(_WRITER)
                if owner != run_id:
                    raise ValueError(
                        f"{folder} has event files of run {owner}, and TensorBoard shows one folder as one "
                        f"run: give each run a tensorboard.dir of its own"
                    )
            elif values and values[-1].tag == SEQ:
                last = max(last, int(_number(values[-1])))
    return last


def events(path: Path) -> Iterator[Any]:
    """The events of a file, up to where it is cut or damaged."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    loader = LegacyEventFileLoader(str(path))
    try:
        yield from loader.Load()
    except Exception as error:  # noqa: BLE001 - TensorBoard raises errors of its own for damaged files
        log.warning("sightline: %s is damaged, and counts up to there: %s", path, error)


def _number(value: Any) -> float:
    from tensorboard.util import tensor_util

    return float(tensor_util.make_ndarray(value.tensor)) if value.HasField("tensor") else value.simple_value


# --- a commit's parts as TensorBoard has them --------------------------------------------------------------


def _values(line: Record, names: Names) -> Iterator[Any]:
    from tensorboard.compat.proto import summary_pb2

    if line["type"] == "histogram":
        yield _histogram(names[line["key"]], line)
        return
    if line["type"] == "sample":
        yield _text(f"samples/{line['table']}", _rows_as_markdown(line))
        return
    for key, value in values_of(line).items():
        yield summary_pb2.Summary.Value(tag=names[key], simple_value=value)
    for key, text in (line.get("texts") or {}).items():
        yield _text(names[key], text)


def _histogram(tag: str, line: Record) -> Any:
    """Bins as TensorBoard has them: by their upper edges, and moments from the middles of the bins."""
    from tensorboard.compat.proto import histogram_pb2, summary_pb2

    edges, counts = line["edges"], line["counts"]
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    return summary_pb2.Summary.Value(
        tag=tag,
        histo=histogram_pb2.HistogramProto(
            min=edges[0],
            max=edges[-1],
            num=sum(counts),
            sum=sum(x * n for x, n in zip(middles, counts, strict=True)),
            sum_squares=sum(x * x * n for x, n in zip(middles, counts, strict=True)),
            bucket_limit=edges[1:],
            bucket=counts,
        ),
    )


def _text(tag: str, text: str) -> Any:
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    return summary_pb2.Summary.Value(
        tag=tag,
        metadata=_plugin("text"),
        tensor=tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, string_val=[text.encode(errors="backslashreplace")]
        ),
    )


def _exact(tag: str, number: int) -> Any:
    """A scalar of 64 bits."""
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    return summary_pb2.Summary.Value(
        tag=tag,
        metadata=_plugin("scalars"),
        tensor=tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, double_val=[float(number)]),
    )


def _plugin(name: str) -> Any:
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=name))


def _as_markdown(config: Any) -> str:
    """The run's settings as a list, one line each."""
    lines = [f"- `{name}`: `{value}`" for name, value in flat(config)]
    return "\n".join(lines) or "(none)"


def _rows_as_markdown(line: Record) -> str:
    """The rows of a sample table one below the other, texts as they are, whatever is in them."""
    parts = [f"{len(line['rows'])} of {line['recorded']} rows"]
    for row in line["rows"]:
        texts = {name: value for name, value in row.items() if isinstance(value, str)}
        parts.append("---")
        parts.append(", ".join(f"{name}: {value}" for name, value in row.items() if name not in texts))
        for name, text in texts.items():
            longest = max((len(run) for run in re.findall("`+", text)), default=0)
            fence = "`" * max(longest + 1, 3)
            parts.append(f"{name}\n{fence}\n{text}\n{fence}")
    return "\n\n".join(part for part in parts if part)
