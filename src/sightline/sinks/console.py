"""The console: a compact table with progress on a terminal, one greppable line a commit elsewhere.

    step=12 train/loss=0.4321 train/reward/total/mean=0.3125 time/train/update_s=1.203

Like every sink it reads the journal. It never raises and never draws in place: what it prints scrolls, so
other output of the process may come in between. rich is imported when the first table is drawn.
"""

from __future__ import annotations

import io
import math
import re
import string
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

from sightline.aliases import alias_targets
from sightline.errors import ConfigurationError
from sightline.sinks.settings import check_types
from sightline.support.foreign_text import escaped
from sightline.support.terminal import Terminal

if TYPE_CHECKING:
    from rich.text import Text

Record = Mapping[str, Any]

_LONGEST_TEXT = 200
_MOST_WARNINGS = 8
_MOST_SAMPLES = 2  # rows of a table: the best and the worst
_SLOT_FIELDS = ("step", "k", "attempt", "seq", "time", "reported", "expected", "missing")
_PROGRESS_FIELDS = ("last_step", "eta")
_STATISTICS = ("mean", "std", "min", "max", "sum")
_ASSIGNMENT = re.compile(r"(?:^|\s+)[^\s=]+=$")  # `loss=` before a field
_EXAMPLE = "as in 'step={step} loss={train/loss:.4f}'"


@dataclass(frozen=True)
class ConsoleConfig:
    """What the console shows, and how.

    Args:
        format: one line a commit in this form, on a terminal too. Fields are journal keys, also with ``/``,
            ``.`` or ``@`` in them, with an optional format spec: ``"step={step} loss={train/loss:.4f}"``. A
            field is looked up among the commit's values, texts and counts, then step, k, attempt, seq, time,
            reported, expected, missing, and the loop's last_step and eta. Where a commit lacks a field,
            ``loss={train/loss}`` is left out as a whole, and a field alone prints ``-``; a commit that has
            none of the metrics named prints the default line. A spec that does not fit the value (``:d`` on
            0.5) is ignored.
        include: patterns (``fnmatch``) of the keys in tables and default lines.
        exclude: patterns of keys left out of these again. Counters under ``obs/`` show only when not zero.
        interval: seconds from one table to the next at least. The commits between are not drawn, except the
            last one; lines are always printed.
        style: ``"table"``, ``"line"``, or ``"auto"``: a table on a terminal unless ``format`` is given.

    Raises:
        ConfigurationError: a ``ValueError``; it has the value, what is wrong with it and the right form.
    """

    format: str | None = None
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = (
        "*_slowest", "*_s_max", "*__count", "host/*", "obs/sink/*/lag_steps", "obs/sink/*/commit_ms"
    )  # fmt: skip
    interval: float = 1.0
    style: Literal["auto", "table", "line"] = "auto"

    def __post_init__(self) -> None:
        check_types("console", self)
        for name in ("include", "exclude"):
            patterns = getattr(self, name)
            if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in patterns):
                raise ConfigurationError(
                    f"console {name}={patterns!r}: expected a tuple of patterns, as in ('train/*',)"
                )
            object.__setattr__(self, name, tuple(patterns))
        if not self.interval >= 0:
            raise ConfigurationError(f"console interval={self.interval!r}: expected seconds, 0 or more")
        if self.style not in ("auto", "table", "line"):
            raise ConfigurationError(f"console style={self.style!r}: expected 'auto', 'table' or 'line'")
        if self.format is not None:
            _parse_format(self.format)
            if self.style == "table":
                raise ConfigurationError("console style='table' has no format: leave one of the two out")


class ConsoleSink:
    """Prints commits to ``stream`` (default: ``sys.stdout`` as it is now).

    Args:
        config: what to show and how; the defaults suit training runs.
        stream: where to. Once it is closed or its reader has gone, the sink is silent; it never raises.
    """

    name = "console"

    def __init__(self, config: ConsoleConfig | None = None, *, stream: TextIO | None = None) -> None:
        self._config = config or ConsoleConfig()
        self._terminal = Terminal(sys.stdout if stream is None else stream)
        self._format = None if self._config.format is None else _parse_format(self._config.format)
        self._include = _any_of(self._config.include)
        self._exclude = _any_of(self._config.exclude)
        self._tables = self._config.style == "table" or (
            self._config.style == "auto" and self._format is None and self._terminal.is_terminal
        )
        self._progress = _Progress()
        self._aliases: dict[str, Sequence[str]] = {}
        self._late = 0
        self._waiting: dict[int, Record] = {}  # the newest commit of each k that no table has shown
        self._trouble: dict[str, list[object]] = {}  # what was wrong since the last table: in which steps
        self._last_table = -math.inf
        self._samples: dict[str, Record] = {}  # by table the newest rows that none has shown

    def write(self, records: Sequence[Record]) -> None:
        """Prints what these journal records say; record types that it does not know are skipped."""
        if not self._terminal.is_open:
            return
        for record in records:
            self._progress.see(record)
            kind = record.get("type")
            if kind == "run":
                self._aliases = {name: tuple(names) for name, names in _mapping(record, "aliases").items()}
            if kind == "late":
                self._late += 1
            elif kind == "sample" and self._tables:
                table = str(record.get("table"))
                if self._include(table) and not self._exclude(table):
                    self._samples[table] = record
            elif kind == "commit" and self._tables:
                self._note_trouble(record)
                # By k, so that an evaluation (k = 1) is not overtaken by the next training step (k = 0).
                self._waiting[record.get("k") or 0] = record
            elif kind == "commit":
                self._terminal.print(self._line(record) + "\n")
        if self._waiting and time.monotonic() - self._last_table >= self._config.interval:
            self._print_tables()

    def close(self) -> None:
        """Shows the last commit if no table has shown it yet. The stream stays open."""
        if self._waiting:
            self._print_tables()

    # Lines

    def _line(self, commit: Record) -> str:
        if self._format is not None and (line := _fill(self._format, commit, self._progress)) is not None:
            return line
        parts = [f"step={_escape(_number(commit.get('step')))}"]
        if commit.get("k"):
            parts.append(f"k={_escape(_number(commit['k']))}")
        parts += [f"{_quoted(item.key)}={_quoted(item.shown)}" for item in self._items(commit)]
        if missing := _missing(commit):
            parts.append(f"missing={missing}")
        if self._late:
            parts.append(f"late={self._late}")
            self._late = 0
        return " ".join(parts)

    def _items(self, commit: Record) -> Iterator[_Item]:
        """The values and texts to show, in the journal's order; nothing twice under an alias of its own."""
        nonfinite, values, texts = (_mapping(commit, name) for name in ("nonfinite", "values", "texts"))
        mirrored = {name for key in (*values, *texts) for name in alias_targets(key, self._aliases)}
        for key, value in values.items():
            if key in mirrored:
                continue
            if self._include(key) and not self._exclude(key) and (value or not key.startswith("obs/")):
                odd = nonfinite.get(key) if value is None else None
                yield _Item(key, _number(value) if odd is None else str(odd), odd is not None, False)
        for key, text in texts.items():
            if key not in mirrored and self._include(key) and not self._exclude(key):
                yield _Item(key, _shortened(str(text)), False, True)

    # Tables

    def _print_tables(self) -> None:
        from rich.console import Console

        commits = sorted(self._waiting.values(), key=lambda c: (c.get("step") or 0, c.get("k") or 0))
        self._waiting = {}
        # The progress stands with the newest training commit, and an evaluation alone gets it too.
        bearer = next((commit for commit in reversed(commits) if not commit.get("k")), commits[-1])
        page = _Page(self._terminal.width, plain=not self._terminal.can_encode("━─…"))
        for commit in commits:
            page.header(commit, self._progress if commit is bearer else None)
            if commit is bearer:
                for trouble in self._troubles():
                    page.warning(trouble)
            page.metrics(list(self._items(commit)))
        for record in self._samples.values():
            page.samples(record)
        self._samples = {}
        drawn = io.StringIO()
        console = Console(
            file=drawn,
            force_terminal=self._terminal.is_terminal,
            width=page.width,
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
        )
        for line in page.lines:
            console.print(line, no_wrap=True, overflow="crop", crop=True)
        self._terminal.print(drawn.getvalue())
        self._last_table = time.monotonic()

    def _note_trouble(self, commit: Record) -> None:
        """Remembers what is wrong with a commit: it must show also if no table does."""
        step = commit.get("step")
        if missing := _missing(commit):
            reported, expected = (_number(commit.get(name)) for name in ("reported", "expected"))
            who = f"processes {missing.replace(',', ', ')}" if "," in missing else f"process {missing}"
            what = f"{who} missing ({reported} of {expected} reported)"
            self._trouble.setdefault(what, []).append(step)
        for key, value in _mapping(commit, "nonfinite").items():
            self._trouble.setdefault(f"{_escape(key)} is {_escape(str(value))}", []).append(step)

    def _troubles(self) -> list[str]:
        lines = []
        for what, steps in self._trouble.items():
            first, last = (_escape(_number(steps[at])) for at in (0, -1))
            lines.append(f"step {first}: {what}" if first == last else f"steps {first} to {last}: {what}")
        if len(lines) > _MOST_WARNINGS:
            lines[_MOST_WARNINGS:] = [f"and {len(lines) - _MOST_WARNINGS} more like these"]
        if self._late:
            lines.append(f"{self._late} late: sent for a commit that was closed already")
        self._trouble, self._late = {}, 0
        return lines


class _Item(NamedTuple):
    key: str
    shown: str
    odd: bool  # nan or infinite
    is_text: bool


class _Progress:
    """How far the loop is and how long it takes: from its announcement and the commits' own times."""

    def __init__(self) -> None:
        self.total: int | None = None
        self._recent: deque[tuple[int, float]] = deque(maxlen=50)

    def see(self, record: Record) -> None:
        kind = record.get("type")
        if kind == "run":  # a new attempt: the pause before it is nobody's step time
            self.total = None
            self._recent.clear()
        elif kind == "event" and record.get("event") == "steps":
            total = record.get("total")
            self.total = total if isinstance(total, int) and total > 0 else None
        elif kind == "commit":
            step, when = record.get("step"), record.get("time")
            if not (isinstance(step, int) and isinstance(when, int | float)):
                return
            if self._recent and step == self._recent[-1][0]:
                self._recent.pop()  # what comes next is timed from the step's last commit
            if not self._recent or step > self._recent[-1][0]:
                self._recent.append((step, when))

    @property
    def done(self) -> int:
        """Steps done of ``total``; what a loop that counts from 1 skips is done."""
        step = self._recent[-1][0] + 1 if self._recent else 0
        return step if self.total is None else max(0, min(step, self.total))

    @property
    def seconds_per_step(self) -> float | None:
        """Over the last commits, evaluations between them included, as the time left will include them."""
        if len(self._recent) < 2:
            return None
        (first, start), (last, end) = self._recent[0], self._recent[-1]
        return max(0.0, (end - start) / (last - first))

    @property
    def last_step(self) -> int | None:
        """The number of the loop's last step, whether it counts from 0 or from 1."""
        return None if self.total is None else self.total - 1

    @property
    def eta(self) -> str | None:
        """The time left, as ``1:05``; None if it is not known, or over."""
        each = self.seconds_per_step
        if self.total is None or each is None or self.done >= self.total:
            return None
        return _clock(each * (self.total - self.done))


class _Page:
    """Lays commits out as lines of rich text, at most `width` cells wide; knows nothing of streams."""

    def __init__(self, width: int, *, plain: bool) -> None:
        self.width = max(width, 20)
        self.lines: list[Text] = []
        self._bar = "#-" if plain else "━─"
        self._cut = "~" if plain else "…"

    def header(self, commit: Record, progress: _Progress | None) -> None:
        title = f"step {_escape(_number(commit.get('step')))}"
        if progress is not None and progress.last_step is not None:
            title += f" of {progress.last_step}"
        if commit.get("k"):
            title += f" k={_escape(_number(commit['k']))}"
        words = [[(title, "bold")]]
        if progress is not None:
            each, done, total = progress.seconds_per_step, progress.done, progress.total
            pace = "" if each is None else f"{_short(each)} s/step"
            percent = left = ""
            if total is not None:
                percent = f"{100 * done // total}%"
                left = f"ETA {progress.eta}" if progress.eta else ""
            # On a narrow terminal the bar goes first, then the percentage, then the pace.
            for word in (percent, pace):
                if self._room(title, percent, pace, left) < 0:
                    percent, pace = ("", pace) if word == percent else ("", "")
            room = min(self._room(title, percent, pace, left) - 2, 40)
            if total is not None and room >= 5:
                filled = room * done // total
                words.append([(self._bar[0] * filled, "green"), (self._bar[1] * (room - filled), "dim")])
            words += [[(word, "")] for word in (percent, pace, left)]
        self._add([])
        self._add(words)

    def _room(self, *words: str) -> int:
        return self.width + 2 - sum(len(word) + 2 for word in words if word)

    def warning(self, text: str) -> None:
        self._add([[("! ", "bold yellow"), (text, "yellow")]])

    def metrics(self, items: Sequence[_Item]) -> None:
        """The items by their first folder: plain ones in columns, statistics of one base in a row each."""
        groups: dict[str, list[_Item]] = {}
        for item in items:
            group, slash, _ = item.key.partition("/")
            groups.setdefault(group if slash else "", []).append(item)
        for group in sorted(groups, key=_group_order):
            self._group(groups[group])

    def samples(self, record: Record) -> None:
        """The first rows of a sample table, which are the best and the worst, a line each."""
        rows = [row for row in record.get("rows") or () if isinstance(row, Mapping)][:_MOST_SAMPLES]
        self._add(
            [
                [(_escape(str(record.get("table"))), "bold cyan")],
                [(f"step {_escape(_number(record.get('step')))}", "dim")],
                [(f"{_escape(_number(record.get('recorded')))} rows", "dim")],
            ]
        )
        for row in rows:
            texts = [name for name, value in row.items() if isinstance(value, str)]
            numbers = [f"{_escape(name)} {_number(row[name])}" for name in row if name not in texts]
            words = [[("  " + "  ".join(numbers), "bold")]] if numbers else [[(" ", "")]]
            room = self.width - _cells(words[0][0][0])
            for left, name in zip(range(len(texts), 0, -1), texts, strict=True):
                label = f"{_escape(name)}: "
                text = _escape(row[name][: self.width])
                width = min(max(room // left - 2 - _cells(label), 1), _cells(text))
                words.append([(label, "dim"), (self._fit_head(text, width), "")])
                room -= 2 + _cells(label) + width
            self._add(words)

    def _group(self, items: Sequence[_Item]) -> None:
        rows: dict[str, dict[str, _Item]] = {}
        for item in items:
            base, _, last = item.key.rpartition("/")
            if base and not item.is_text and (last in _STATISTICS or re.fullmatch(r"p\d+(\.\d+)?", last)):
                rows.setdefault(base, {})[last] = item
        rows = {base: row for base, row in rows.items() if "mean" in row and len(row) > 1}
        in_rows = {item.key for row in rows.values() for item in row.values()}
        plain = [item for item in items if item.key not in in_rows]
        folder = _common_folder([*rows, *(item.key for item in plain)])
        if folder:
            self._add([[(_escape(folder[:-1]), "bold cyan")]])
        rows = {base.removeprefix(folder): row for base, row in rows.items()}
        plain = [item._replace(key=item.key.removeprefix(folder)) for item in plain]
        self._columns([item for item in plain if not item.is_text])
        self._statistics(rows)
        for item in plain:
            if item.is_text:
                self._add([[(f"  {_escape(item.key)}", "")], [(_escape(item.shown), "italic")]])

    def _columns(self, items: Sequence[_Item]) -> None:
        """`name  value` in as many columns as fit, read downwards."""
        if not items:
            return
        cells = [(_escape(item.key), item) for item in items]
        for count in range(min(len(cells), self.width // 8), 0, -1):
            height = math.ceil(len(cells) / count)
            columns = [cells[at : at + height] for at in range(0, len(cells), height)]
            names = [max(_cells(name) for name, _ in column) for column in columns]
            values = [max(len(item.shown) for _, item in column) for column in columns]
            if sum(names) + sum(values) + 5 * len(columns) - 1 <= self.width:
                break
        else:
            names = [max(1, self.width - 4 - values[0])]
        for row in range(height):
            words = []
            for column, name_width, value_width in zip(columns, names, values, strict=True):
                if row < len(column):
                    name, item = column[row]
                    name = self._fit(name, name_width)
                    words.append([(f"  {name}  ", ""), (item.shown.rjust(value_width), _style(item))])
            self._add(words, gap=" ")

    def _statistics(self, rows: Mapping[str, Mapping[str, _Item]]) -> None:
        """One row a base, one column a statistic; the columns that do not fit are left out from the right."""
        if not rows:
            return
        found = {name for row in rows.values() for name in row}
        quantiles = sorted(found.difference(_STATISTICS), key=lambda name: float(name[1:]))
        order = [name for name in (*_STATISTICS[:-1], *quantiles, _STATISTICS[-1]) if name in found]
        widths = {
            name: max(len(name), *(len(row[name].shown) for row in rows.values() if name in row))
            for name in order
        }
        longest = max(_cells(_escape(base)) for base in rows)
        while len(order) > 1 and 2 + min(longest, 12) + sum(widths[name] + 2 for name in order) > self.width:
            order.pop()
        base_width = min(longest, max(1, self.width - 2 - sum(widths[name] + 2 for name in order)))
        self._add([[(" " * (base_width + 2), "")], *([(name.rjust(widths[name]), "dim")] for name in order)])
        for base, row in rows.items():
            words = [[(f"  {self._fit(_escape(base), base_width)}", "")]]
            for name in order:
                shown, style = (row[name].shown, _style(row[name])) if name in row else ("", "")
                words.append([(shown.rjust(widths[name]), style)])
            self._add(words)

    def _fit(self, name: str, width: int) -> str:
        """The name in exactly `width` cells, cut at its head: what tells keys apart is the tail."""
        from rich.cells import set_cell_size

        if _cells(name) > width:
            name = name[1 - width :] if width > 1 else ""
            while _cells(name) > width - 1:
                name = name[1:]
            name = self._cut + name
        return set_cell_size(name, width)

    def _fit_head(self, text: str, width: int) -> str:
        """The beginning of a text in at most `width` cells."""
        if _cells(text) <= width:
            return text
        while text and _cells(text) > width - 1:
            text = text[:-1]
        return text + self._cut

    def _add(self, words: Sequence[Sequence[tuple[str, str]]], gap: str = "  ") -> None:
        """One line; a word is a sequence of texts, each with its style."""
        from rich.text import Text

        line = Text(gap).join(Text.assemble(*word) for word in words if any(text for text, _ in word))
        line.rstrip()
        if line.cell_len > self.width:
            line.truncate(self.width - 1)
            line.append(self._cut)
        self.lines.append(line)


def _style(item: _Item) -> str:
    return "bold red" if item.odd else "bold"


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _common_folder(keys: Sequence[str]) -> str:
    """The deepest folder that holds them all, with its slash: it is written once, above them."""
    folder = keys[0][: keys[0].rfind("/") + 1]
    while not all(key.startswith(folder) for key in keys):
        folder = folder[: folder.rfind("/", 0, -1) + 1]
    return folder


def _group_order(group: str) -> tuple[int, str]:
    """Training first, then evaluation, what the user named otherwise, and the machine at the end."""
    firsts = ("", "train", "eval")
    lasts = ("time", "throughput", "obs")
    if group in lasts:
        return len(firsts) + 1 + lasts.index(group), ""
    for place, first in enumerate(firsts):
        if group == first or (first and group.startswith((f"{first}_", f"{first}-"))):
            return place, ""
    return len(firsts), ""


# Formats


class _Field(NamedTuple):
    literal: str
    name: str | None
    spec: str


def _parse_format(text: object) -> list[_Field]:
    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(
            f"console format {text!r}: {what}; fields are {{key}} or {{key:spec}}, {_EXAMPLE}; "
            "a brace itself is written twice"
        )

    if not isinstance(text, str):
        raise wrong("expected a string")
    fields = []
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise wrong(str(error)) from None
    for literal, name, spec, conversion in pieces:
        if name is not None:
            if not name:
                raise wrong("a field has no name")
            if conversion:
                raise wrong(f"{{{name}!{conversion}}} has a conversion")
            if spec and not any(_fits(sample, spec) for sample in (1, 1.5, "text")):
                raise wrong(f"{{{name}:{spec}}} has a spec that fits neither a number nor a text")
        fields.append(_Field(literal, name, spec or ""))
    return fields


def _fits(value: object, spec: str) -> bool:
    try:
        format(value, spec)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _fill(fields: Sequence[_Field], commit: Record, progress: _Progress) -> str | None:
    """The line for this commit; None if it has none of the metrics that the format names."""
    metrics = [f.name for f in fields if f.name not in (None, *_SLOT_FIELDS, *_PROGRESS_FIELDS)]
    if metrics and all(_look_up(commit, str(name)) is None for name in metrics):
        return None
    line = ""
    for literal, name, spec in fields:
        value: object = None
        if name in _PROGRESS_FIELDS:
            value = progress.last_step if name == "last_step" else progress.eta
        elif name is not None:
            value = _look_up(commit, name)
        if name is not None and value is None and (word := _ASSIGNMENT.search(literal)):
            line += _escape(literal[: word.start()], keep="\\\t")
            continue
        line += _escape(literal if line else literal.lstrip(), keep="\\\t")
        if name is not None:
            line += _escape(_formatted(value, spec))
    return line


def _look_up(commit: Record, name: str) -> object:
    nonfinite = _mapping(commit, "nonfinite").get(name)
    if nonfinite in ("nan", "inf", "-inf"):
        return float(nonfinite)
    for table in ("values", "texts", "counts"):
        if (found := _mapping(commit, table).get(name)) is not None:
            return found
    if name == "missing":
        return _missing(commit) or None
    return commit.get(name) if name in _SLOT_FIELDS else None


def _formatted(value: object, spec: str) -> str:
    if value is None:
        return "-"
    if spec and isinstance(value, float) and value.is_integer() and spec[-1] in "bcdoxX":
        value = int(value)
    return format(value, spec) if spec and _fits(value, spec) else _number(value)


# Words and numbers


def _number(value: object) -> str:
    """A number as people read it: whole ones in full, others to about five digits; anything else as it is.

    Example:
        >>> [_number(value) for value in (123456789.0, 0.123456789, 123456.789, 1e-6, 2.5e20, None)]
        ['123456789', '0.12346', '123456.8', '1e-06', '2.5e+20', '-']
    """
    if value is None:
        return "-"
    if not isinstance(value, float):
        return _escape(str(value))
    size = abs(value)
    if value.is_integer() and size < 2**53:
        return str(int(value))
    if 1e4 <= size < 1e8:
        return f"{value:.1f}"
    return f"{value:.5g}"


def _short(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02d}:{minutes:02d}:{seconds:02d}"
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _escape(text: str, keep: str = "") -> str:
    r"""Nothing may move the cursor, break the line or hide: control characters become ``\n``, ``\x1b``."""
    return escaped(text if "\\" in keep else text.replace("\\", "\\\\"), keep)


def _quoted(text: str) -> str:
    """As one word of a ``key=value`` line: in double quotes where it would not be one."""
    shown = _escape(text)
    if shown and not any(char in shown for char in ' "='):
        return shown
    return '"' + shown.replace('"', '\\"') + '"'


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def _missing(commit: Record) -> str:
    missing = commit.get("missing")
    return ",".join(_escape(str(process)) for process in missing) if isinstance(missing, list | tuple) else ""


def _mapping(record: Record, name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _any_of(patterns: Sequence[str]) -> Any:
    """A test for whether a key matches one of the patterns."""
    if not patterns:
        return lambda key: False
    return re.compile("|".join(translate(pattern) for pattern in patterns)).match
