"""The commits of a run as a table: a row for each step, or for each value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sightline.runs.journal import Record
from sightline.sinks.commits import values_of
from sightline.tables.lines import Lines, attempt_of
from sightline.tables.table import Cell, Column, Kind, Steps, Table, matching, named
from sightline.values.naming import COUNT_SUFFIX

_GONE_OVER = Column("gone_over", "bool")

Advance = Callable[[int], object]


def _silent(size: int) -> None:
    pass


def metrics_table(
    run_dir: Path,
    *,
    metrics: Sequence[str] = (),
    steps: Steps = Steps(),  # noqa: B008 - a tuple
    attempts: bool = False,
    advance: Advance = _silent,
) -> Table:
    """A row for each step, a column for each metric, in the order in which they came; then texts.

    All commits of a step are one row, in which the later value of a key counts. What a later attempt has gone
    over again is left out. Memory is bounded by the number of commits and of keys; the journal is read twice.

    Args:
        run_dir: of the run.
        metrics: patterns of keys; none: all.
        steps: which.
        attempts: a row for each step of each attempt, those gone over too, which ``gone_over`` tells.
        advance: told how many bytes have been read, of twice the journal's size.

    Raises:
        RunDirectoryError: there is no journal.
        JournalError: a newer version of sightline wrote it.

    Example:
        >>> import sightline as sl, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with sl.start(folder, name="run", sinks=[], naming="off") as run:
        ...         for step in run.steps(2):
        ...             sl.scalar(loss=1 / (step + 1))
        ...             run.commit(step)
        ...     table = metrics_table(run.dir)
        ...     [each.name for each in table.columns], [row[-1] for row in table.rows()]
        (['step', 'time', 'attempt', 'loss'], [1.0, 0.5])
    """
    keys = _Keys(metrics)
    lines = Lines(run_dir, "commit", steps, keys.see, advance)
    values = keys.columns()
    names = list(keys.kinds)
    floats = [kind == "float" for kind in keys.kinds.values()]
    all_floats = all(floats)
    texts = list(keys.texts)
    first = [Column("step", "int"), Column("time", "float"), Column("attempt", "int")]
    if attempts:
        first.append(_GONE_OVER)

    def rows() -> Iterator[list[Cell]]:
        for is_over, records in lines.groups(attempts=attempts, advance=advance):
            found, words = _merged(records)
            row: list[Cell] = [*_place(records[-1]), *([is_over] if attempts else [])]
            get = found.get
            if all_floats:
                row += [each if (each := get(key)).__class__ is float else _float(each) for key in names]
            else:
                row += [
                    _float(get(key)) if is_float else get(key)
                    for key, is_float in zip(names, floats, strict=True)
                ]
            row += [words.get(key) for key in texts]
            yield row

    return Table(
        named(first, [*values, *(Column(key, "text") for key in texts)]),
        rows,
        unreadable=lines.unreadable,
    )


def long_table(
    run_dir: Path,
    *,
    metrics: Sequence[str] = (),
    steps: Steps = Steps(),  # noqa: B008 - a tuple
    attempts: bool = False,
    advance: Advance = _silent,
) -> Table:
    """A row for each value of :func:`metrics_table`: its key, what it is, and of how many records.

    ``k`` and ``time`` are those of the commit that it comes from. Arguments and errors as there.
    """
    fits = matching(metrics)
    lines = Lines(run_dir, "commit", steps, lambda record: None, advance)
    columns = [
        Column("step", "int"),
        Column("time", "float"),
        Column("attempt", "int"),
        Column("k", "int"),
        *([_GONE_OVER] if attempts else []),
        Column("key", "text"),
        Column("value", "float"),
        Column("text", "text"),
        Column("count", "int"),
    ]

    def rows() -> Iterator[list[Cell]]:
        for is_over, records in lines.groups(attempts=attempts, advance=advance):
            cells: dict[tuple[str, bool], list[Cell]] = {}
            for record in records:
                k = record.get("k")
                place = [*_place(record), k if isinstance(k, int) else 0, *([is_over] if attempts else [])]
                counts = _dict(record, "counts")
                for key, value in values_of(record).items():
                    if fits(key):
                        cells[key, False] = [
                            *place,
                            key,
                            _float(value),
                            None,
                            _int(counts.get(key + COUNT_SUFFIX)),
                        ]
                for key, text in _dict(record, "texts").items():
                    if fits(key):
                        cells[key, True] = [*place, key, None, str(text), None]
            yield from cells.values()

    return Table(columns, rows, unreadable=lines.unreadable)


def process_table(
    run_dir: Path,
    *,
    metrics: Sequence[str] = (),
    steps: Steps = Steps(),  # noqa: B008 - a tuple
    attempts: bool = False,
    long: bool = False,
    advance: Advance = _silent,
) -> Table:
    """Each process's own values, of timings and of what was recorded with ``per_process=True``.

    A row for each commit and process, a column for each key; ``long``: a row for each value. A cell is None
    where the process had none, and where it was not finite. Other arguments and errors as for
    :func:`metrics_table`.
    """
    fits = matching(metrics)
    keys: dict[str, None] = {}

    def see(record: Record) -> None:
        for key in _dict(record, "values"):
            if key not in keys and fits(key):
                keys[key] = None

    lines = Lines(run_dir, "process_values", steps, see, advance)
    first = [Column(name, "int") for name in ("step", "attempt", "k")]
    first += [*([_GONE_OVER] if attempts else []), Column("process", "int")]
    others = (
        [Column("key", "text"), Column("value", "float")] if long else [Column(key, "float") for key in keys]
    )

    def rows() -> Iterator[list[Cell]]:
        for is_over, records in lines.groups(attempts=attempts, advance=advance):
            for record in records:
                processes, values = record.get("processes"), _dict(record, "values")
                if not isinstance(processes, list):
                    continue
                k = record.get("k")
                place: list[Cell] = [record["step"], attempt_of(record), k if isinstance(k, int) else 0]
                place += [is_over] if attempts else []
                for at, process in enumerate(processes):
                    cells = [_float(_item(values.get(key), at)) for key in keys]
                    if not long:
                        yield [*place, _int(process), *cells]
                        continue
                    for key, cell in zip(keys, cells, strict=True):
                        if cell is not None:
                            yield [*place, _int(process), key, cell]

    notes = [] if len(lines) else [
        "no process's own values are in the journal: timings have them, and sl.scalar(…, per_process=True)"
    ]  # fmt: skip
    return Table(named(first, others), rows, notes=notes, unreadable=lines.unreadable)


class _Keys:
    """The keys of all commits that fit, and which of them are whole numbers throughout."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._fits = matching(patterns)
        self._settled: set[tuple[str, ...]] = set()  # keys that come together, and have nothing new to tell
        self.kinds: dict[str, Kind] = {}
        self.texts: dict[str, None] = {}

    def see(self, record: Record) -> None:
        for key in _dict(record, "texts"):
            if key not in self.texts and self._fits(key):
                self.texts[key] = None
        values: dict[str, Any] = record["values"]
        together = tuple(values)
        if together in self._settled:
            return
        kinds = self.kinds
        settled = True
        for key, value in values.items():
            if not self._fits(key):
                continue
            if value.__class__ is not int or not -(2**63) <= value < 2**63:
                kinds[key] = "float"
            elif kinds.setdefault(key, "int") == "int":
                settled = False
        if settled:
            self._settled.add(together)

    def columns(self) -> list[Column]:
        return [Column(key, kind) for key, kind in self.kinds.items()]


def _merged(records: Sequence[Record]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values and texts of one step's commits."""
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for record in records:
        own = record["values"]
        if None in own.values():
            own = values_of(record)
        values = {**values, **own} if values else own
        texts.update({key: str(text) for key, text in _dict(record, "texts").items()})
    return values, texts


def _place(record: Record) -> list[Cell]:
    return [record["step"], _float(record.get("time")), attempt_of(record)]


def _float(value: Any) -> float | None:
    """None stays; what is no number, in a file of others', is NaN."""
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _item(values: Any, at: int) -> Any:
    return values[at] if isinstance(values, list) and at < len(values) else None


def _dict(record: Record, name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}
