"""Facts as lines of text with colours, for a terminal of any width."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sightline.analysis.stage_kinds import OTHER, of_no_kind
from sightline.support.foreign_text import steady
from sightline.support.wording import ago, counted, duration, moment, number, size
from sightline.views.step_time import StageTime
from sightline.watching import curves
from sightline.watching.cells import Glyphs, fit, fit_tail, styled, wrapped
from sightline.watching.choosing import filtered, is_goal
from sightline.watching.facts import Facts, HostFigure, Metric, Samples, SinkState, Trouble
from sightline.watching.layout import GUTTER, Wish, columns_of, rows_for
from sightline.watching.log_tail import Warned
from sightline.watching.slow_stages import SlowStage

_STATES = {
    "running": ("●", "bold green"),
    "stalled": ("◐", "bold yellow"),
    "finished": ("✓", "bold cyan"),
    "crashed": ("✗", "bold red"),
    "failed": ("✗", "bold red"),
    "unknown": ("?", "bold yellow"),
}
_KINDS = {
    "rollouts": "cyan",
    "training": "green",
    "reward": "magenta",
    "weights": "yellow",
    "evaluation": "blue",
    "checkpoint": "bright_blue",
    "data": "bright_magenta",
    "waiting": "red",
}
_PARTS = "▏▎▍▌▋▊▉█"
_DIGITS = 4  # of numbers: more have no room
_LONGEST_NAME = 40
_SHORT_NAME = 16  # to which names are cut, from their head, so that numbers are not
_NUMBERS = ("last", "mean", "change")
_LEAST = 8  # cells of a number
_LEAST_CURVE = 10
_UNCUT = 4000  # cells, which no line of a log needs
_WARNED = 12  # lines of logs, errors before warnings
_LONGEST_WHY = 4000
_WHY_ROWS = 100
_TEXT_ROWS = ((55, 5), (45, 2), (0, 1))  # of a sample's text, on a terminal of at least so many rows


@dataclass
class Panel:
    """A titled block of lines.

    Attributes:
        title, note: the words of its first line, left and right.
        lines: below it.
        rank: the lower, the more important.
        least: lines that are of use at least.
        column: where it goes if there are two.
        more: lines that have not been made, since there is no room for them.
        brief: what is said of it in one row, if there is no room for it; None: nothing.
    """

    title: str
    note: str
    lines: list[Text]
    rank: int
    least: int = 1
    column: int = 0
    more: int = 0
    brief: Text | None = None

    @property
    def wish(self) -> Wish:
        brief = 0 if self.brief is None else 1
        return Wish(self.rank, min(self.least, len(self.lines)) + 1, len(self.lines) + 1, brief)

    def drawn(self, rows: int, width: int, glyphs: Glyphs) -> list[Text]:
        """In so many rows, with the title, if they are more than one."""
        room = rows - 1
        if not room and self.brief is not None:
            return [self.brief]
        lines, note = self.lines, self.note
        if len(lines) > room or self.more:
            hidden = f"{max(0, len(lines) - room) + self.more} more below"
            both = f"{note}, {hidden}" if note else hidden
            if not note or cell_len(self.title) + cell_len(both) + 4 <= width:
                note = both
            lines = lines[:room]
        return [_title(self.title, note, width, glyphs), *lines]


class View(NamedTuple):
    """What whoever looks has chosen.

    Attributes:
        offset: how many metrics are scrolled past.
        typed: by which metrics are filtered; None: by nothing.
        is_typing: whether more is being typed.
        shows_all: all metrics, and not the chosen ones.
    """

    offset: int = 0
    typed: str | None = None
    is_typing: bool = False
    shows_all: bool = False


def page(
    facts: Facts, width: int, height: int | None, *, view: View, glyphs: Glyphs, now: float
) -> list[Text]:
    """The whole of it.

    Args:
        facts: what is shown.
        width: in cells.
        height: in rows; None: as many as it takes.
        view: what whoever looks has chosen.
        glyphs: what it is drawn with.
        now: in s since the epoch.

    Returns:
        lines of at most ``width`` cells, at most ``height`` of them.
    """
    top = head(facts, width, glyphs, now, why_rows=_WHY_ROWS if height is None else HEAD_WHY_ROWS)
    return [*top, *body(facts, width, height, view=view, glyphs=glyphs, now=now)][:height]


# --- the head ----------------------------------------------------------------------------------------------

HEAD_ROWS = 4
_HEADINGS = 1  # of the columns of metrics
HEAD_WHY_ROWS = 4  # of why it ended or waits, if that is longer than a line, where rows are few


def head(
    facts: Facts, width: int, glyphs: Glyphs, now: float, *, why_rows: int = HEAD_WHY_ROWS
) -> list[Text]:
    """Who, how far, how fast and why it ended or waits, and an empty line: four, or more if that is long."""
    state = facts.state
    named = state.state
    mark, style = _STATES[named]
    words = [
        styled(steady(facts.name, 60), "bold"),
        styled(f"{mark} {named}" if not glyphs.is_plain else named.upper(), style),
    ]
    if state.attempt > 1:
        words.append(Text(f"attempt {state.attempt}"))
    if state.processes:
        words.append(Text(counted(state.processes, "process", "processes")))
    if state.started is not None:
        since = f"since {moment(state.started, now=now)}"
        if state.is_live:
            since += f" ({duration(max(0.0, math.floor(now - state.started)))})"
        words.append(styled(since, "dim"))
    return [
        fit(Text("   ").join(words), width),
        _progress(facts, width, glyphs),
        *_pace_and_why(facts, width, now, why_rows),
        Text(),
    ]


def _pace_and_why(facts: Facts, width: int, now: float, rows: int) -> list[Text]:
    """In one line if they fit into one; else the second is wrapped below the first."""
    pace, (why, style) = _pace(facts, now), _why(facts)
    together = styled(" · ", "dim").join([part for part in (pace, styled(why, style)) if part])
    if together.cell_len <= width:
        return [together]
    return [
        *([fit(pace, width)] if pace else []),
        *(styled(row, style) for row in (wrapped(why, width, rows) if why else [])),
    ]


def _why(facts: Facts) -> tuple[str, str]:
    """Why it ended, or waits, and in which style that is said; empty if all is well."""
    state = facts.state
    if state.state == "stalled":
        return steady(state.reason, _LONGEST_WHY), "yellow"
    if state.error:
        return steady(state.error, _LONGEST_WHY), "red"
    if state.state in ("crashed", "unknown") or state.missing:
        return steady(state.reason, _LONGEST_WHY), _STATES[state.state][1].removeprefix("bold ")
    return "", ""


def _progress(facts: Facts, width: int, glyphs: Glyphs) -> Text:
    progress = facts.progress
    if progress.step is None:
        return styled("no commit yet", "dim")
    text = Text("step ").append(f"{progress.step:,}", "bold")
    if progress.total is None or progress.share is None:
        return fit(text, width)
    text.append(f" of {progress.total - 1:,}  ")
    percent = f"  {math.floor(100 * progress.share)} %"
    room = width - text.cell_len - len(percent)
    if room >= 8:
        filled = math.floor(room * progress.share)
        colour = "green" if facts.state.state in ("running", "stalled", "finished") else "red"
        text.append(glyphs.bar * filled, colour)
        text.append(glyphs.rest * (room - filled), "bright_black")
    return fit(text.append(percent, "bold"), width)


def _pace(facts: Facts, now: float) -> Text:
    state, progress = facts.state, facts.progress
    if state.state == "stalled":  # the reason says both
        return Text()
    parts = []
    if progress.step_s is not None:
        parts.append(Text(f"{duration(progress.step_s)} a step"))
    if state.state == "running" and progress.left_s is not None and progress.last_commit is not None:
        end = progress.last_commit + progress.left_s
        if end > now and progress.left_s:
            left = Text("ETA ").append(duration(math.ceil(end - now)), "bold")
            parts.append(left.append(f" ({_clock(end, now)})", "dim"))
    if progress.last_commit is not None:
        when = ago(now - progress.last_commit) if state.is_live else moment(progress.last_commit, now=now)
        parts.append(styled(f"last commit {when}", "dim"))
    return styled(" · ", "dim").join(parts)


def _clock(epoch: float, now: float) -> str:
    if epoch - now > 20 * 3600:
        return moment(epoch, now=0)
    return time.strftime("%H:%M", time.localtime(epoch))


# --- the body ----------------------------------------------------------------------------------------------


def body(
    facts: Facts, width: int, height: int | None, *, view: View, glyphs: Glyphs, now: float
) -> list[Text]:
    """All panels that have room below the head, in one column or two."""
    widths = columns_of(width)
    room = None if height is None else max(0, height - len(head(facts, width, glyphs, now)))
    text_rows = _text_rows(45 if height is None else height)
    made = panels(facts, widths, view=view, glyphs=glyphs, now=now, text_rows=text_rows)
    if len(widths) == 1 or not any(panel.column for panel in made):
        made = panels(facts, [width], view=view, glyphs=glyphs, now=now, text_rows=text_rows)
        return _stacked(made, width, room, glyphs)
    left, right = (
        _stacked([panel for panel in made if panel.column == at], widths[at], room, glyphs) for at in (0, 1)
    )
    lines = []
    for row in range(max(len(left), len(right))):
        line = left[row].copy() if row < len(left) else Text()
        if row < len(right):
            line.append(" " * (widths[0] + GUTTER - line.cell_len)).append_text(right[row])
        lines.append(line)
    return lines


def metric_rows(facts: Facts, width: int, height: int, *, view: View, glyphs: Glyphs, now: float) -> int:
    """How many metrics there is room for, of a list that is long enough; as :func:`body` has it."""
    widths = columns_of(width)
    room = max(0, height - len(head(facts, width, glyphs, now)))
    made = panels(facts, widths, view=view, glyphs=glyphs, now=now, text_rows=_text_rows(height))
    if len(widths) > 1 and any(panel.column for panel in made):
        made = [panel for panel in made if panel.column == 0]
    beside = _HEADINGS + 1  # the title
    wishes = [
        panel.wish._replace(wanted=len(facts.wanted) + beside) if panel.rank == 0 else panel.wish
        for panel in made
    ]
    given = [rows for panel, rows in zip(made, rows_for(wishes, room), strict=True) if panel.rank == 0]
    return max(1, given[0] - beside) if given else 1


def _text_rows(height: int) -> int:
    return next(rows for tall, rows in _TEXT_ROWS if height >= tall)


def _stacked(made: Sequence[Panel], width: int, height: int | None, glyphs: Glyphs) -> list[Text]:
    wanted = sum(panel.wish.wanted for panel in made)
    is_airy = height is None or wanted + len(made) - 1 <= height
    given = rows_for([panel.wish for panel in made], wanted if height is None else height)
    lines: list[Text] = []
    for panel, rows in zip(made, given, strict=True):
        if rows:
            lines += [Text()] if lines and is_airy else []
            lines += panel.drawn(rows, width, glyphs)
    return lines


def panels(
    facts: Facts, widths: Sequence[int], *, view: View, glyphs: Glyphs, now: float, text_rows: int
) -> list[Panel]:
    """What there is to show, in the order of one column.

    Args:
        widths: of the columns; the last one is that of panels which stand on the right.
        text_rows: of each text of a sample.
    """
    left, right = widths[0], widths[-1]
    found = []
    if facts.troubles:
        lines = [line for each in facts.troubles for line in _trouble(each, right)]
        found.append(Panel("trouble", "", lines, rank=1, least=4, column=1))
    steps = ""
    if facts.first_step is not None and facts.last_step is not None:
        steps = f"steps {facts.first_step:,} to {facts.last_step:,}"
    lines = _metrics(facts, left, view, glyphs)
    if lines:
        more = max(0, len(facts.wanted) - view.offset - len(facts.metrics)) if facts.metrics else 0
        found.append(Panel(_metrics_title(facts, view), steps, lines, rank=0, least=7, more=more))
    if facts.stages:
        lines = [*_no_goodput(facts, left), *_stages(facts.stages, left, glyphs)]
        found.append(Panel("a step's time", _step_note(facts), lines, rank=3, least=5))
    if facts.slow:
        lines = [_slow(each, left, glyphs) for each in facts.slow]
        found.append(Panel("slow processes", "", lines, rank=2, least=2))
    if facts.warned:
        newest = sorted(facts.warned, key=lambda each: (not each.is_error, -each.time))
        shown = newest[:_WARNED]
        lines = [row for each in shown for row in _warned(each, right, now, facts.state.processes)]
        said = _counted(facts)
        brief = styled(f"{said}; last: ", "bold red" if newest[0].is_error else "yellow")
        (latest,) = _warned(newest[0], _UNCUT, now, facts.state.processes)
        brief = fit(brief.append_text(latest), right)
        note = ", ".join(part for part in (said, _whose(facts)) if part)
        more = len(newest) - len(shown)
        title = "warnings and errors"
        found.append(Panel(title, note, lines, rank=4, least=3, column=1, more=more, brief=brief))
    if facts.sinks:
        lines = [fit(_sink(each), right) for each in sorted(facts.sinks, key=lambda sink: sink.is_well)]
        ill = [each for each in facts.sinks if not each.is_well]
        brief_ = Text("sink ")
        for at, each in enumerate(ill):
            brief_.append("; " if at else "").append_text(_sink(each))
        found.append(
            Panel("sinks", "", lines, rank=6, least=3, column=1, brief=fit(brief_, right) if ill else None)
        )
    if facts.hosts:
        lines = _hosts(facts.hosts, left, glyphs)
        found.append(Panel("hosts", "mean and worst", lines, rank=7, least=4))
    for at, table in enumerate(facts.samples[:3]):
        note = f"step {table.step:,}" if table.step is not None else ""
        lines = _samples(table, right, text_rows)
        title = "samples" if table.table == "samples" else f"samples: {steady(table.table, 40)}"
        found.append(Panel(title, note, lines, rank=5 + 3 * at, least=3, column=1))
    return found


def _title(title: str, note: str, width: int, glyphs: Glyphs) -> Text:
    note = f" {note}" if note and cell_len(title) + cell_len(note) + 3 <= width else ""
    rule = max(0, width - cell_len(title) - 1 - cell_len(note))
    text = styled(title, "bold cyan").append(" ").append(glyphs.rule * rule, "bright_black")
    return fit(text.append(note, "dim"), width)


def _metrics_title(facts: Facts, view: View) -> str:
    if view.typed is not None:
        return f"metrics with '{steady(view.typed, 40)}'"
    return f"all {len(facts.keys)} metrics" if view.shows_all else "metrics"


def _metrics(facts: Facts, width: int, view: View, glyphs: Glyphs) -> list[Text]:
    if not facts.metrics:
        if not facts.keys:
            return []
        what = "no metric fits"
        if facts.unmatched:
            what += f" {steady(', '.join(facts.unmatched), 80)}"
        return [
            fit(
                styled(f"{what}; there are {steady(', '.join(filtered(facts.keys, '')[:6]), 200)}", "dim"),
                width,
            )
        ]
    names = {metric.key: steady(metric.key, 200) for metric in facts.metrics}
    longest = min(max(cell_len(name) for name in names.values()), _LONGEST_NAME, max(12, width * 2 // 5))
    shown = {name: [_number_of(metric, name) for metric in facts.metrics] for name in _NUMBERS}
    rooms = {name: max(_LEAST, *(cell_len(text) for text, _ in each)) for name, each in shown.items()}
    while width - longest - sum(room + 2 for room in rooms.values()) < _LEAST_CURVE:
        if longest > _SHORT_NAME:  # a figure that is cut is none
            longest -= 1
        elif len(rooms) > 1:
            rooms.popitem()
        else:
            break
    curve = width - longest - 2 - sum(room + 2 for room in rooms.values())
    heading = Text(" " * (longest + 2 + max(0, curve)))
    for name, room in rooms.items():
        heading.append("  ").append(name.rjust(room), "dim")
    lines = [fit(heading, width)]
    for at, metric in enumerate(facts.metrics):
        line = Text(fit_tail(names[metric.key], longest, glyphs)).append("  ")
        if curve > 0:
            drawn = curves.sparkline(metric.values, curve, glyphs.levels)
            line.append(drawn.ljust(curve), "red" if not math.isfinite(metric.last) else "cyan")
        for name, room in rooms.items():
            text, style = shown[name][at]
            line.append("  ").append(text.rjust(room), style)
        lines.append(fit(line, width))
    return lines


def _number_of(metric: Metric, name: str) -> tuple[str, str]:
    if name == "last":
        return _value_of(metric.key, metric.last), "bold" if math.isfinite(metric.last) else "bold red"
    if name == "mean":
        return _value_of(metric.key, metric.mean), ""
    shown = change(metric.change)
    if not is_goal(metric.key) or metric.change is None or abs(metric.change) < 0.005:
        return shown, "dim"
    return shown, "green" if (metric.change > 0) == (metric.values[-1] >= 0) else "yellow"


def _value_of(key: str, value: float | None) -> str:
    """A number, with its unit where the key is of those whose units are known."""
    if value is None or not math.isfinite(value) or not key.startswith(("host/", "jax/memory/")):
        return number(value, _DIGITS)
    base, _, part = key.rpartition("/")
    return _figure(base if part in ("mean", "max", "min") else key, value)


def change(relative: float | None) -> str:
    """A change as a share, with its direction.

    Example:
        >>> [change(share) for share in (0.314, -0.0234, 0.0001, 1.5, None)]
        ['↗ +31 %', '↘ -2.3 %', '→ 0 %', '↗ ×2.5', '']
    """
    if relative is None or not -1 <= relative < math.inf:
        return ""
    if abs(relative) < 0.005:
        return "→ 0 %"
    arrow = "↗" if relative > 0 else "↘"
    if relative >= 0.995:
        return f"{arrow} ×{1 + relative:.2g}" if relative < 99 else f"{arrow} ×{1 + relative:.0e}"
    return f"{arrow} {relative * 100:+.{0 if abs(relative) >= 0.0995 else 1}f} %"


def _step_note(facts: Facts) -> str:
    """How long a step takes, and how much of the run's time is training."""
    note = f"{duration(facts.step_s)} a step"
    if facts.overlaps:
        note += ", in which stages overlap"
    if (of_run := facts.run_time) is None:
        return note
    of = "of the run" if of_run.since is None else f"since step {of_run.since:,}"
    return f"{note}; goodput {of} {of_run.goodput * 100:.0f} %"


def _no_goodput(facts: Facts, width: int) -> list[Text]:
    """What takes much of the run's time, and is not known to be training or not."""
    unknown = {} if facts.run_time is None else facts.run_time.unknown
    said = of_no_kind({steady(name, 40): share for name, share in unknown.items()})
    return [fit(styled(f"{said}, which is no goodput", "yellow"), width)] if said else []


def _stages(stages: Sequence[StageTime], width: int, glyphs: Glyphs) -> list[Text]:
    names, top = [], ""
    for stage in stages:
        if stage.is_part:  # told by what it is of its whole
            names.append(f"  {steady(stage.name.removeprefix(top).lstrip('/_'), 100)}")
        else:
            names.append(steady(stage.name, 100))
            top = stage.name
    longest = min(max(map(cell_len, names)), 24, max(10, width // 3))
    return [
        _stage(stage, fit_tail(name, longest, glyphs), width, glyphs)
        for stage, name in zip(stages, names, strict=True)
    ]


def _stage(stage: StageTime, name: str, width: int, glyphs: Glyphs) -> Text:
    tail = f"{stage.share * 100:>4.0f} %  {duration(stage.seconds):>9}"
    room = max(0, width - cell_len(name) - 2 - cell_len(tail) - 1)
    style = "bright_black" if stage.name == OTHER else _KINDS.get(stage.kind, "white")
    cells = min(room, room * stage.share)
    full, part = int(cells), cells - int(cells)
    if glyphs.is_plain:
        bar = "#" * round(cells)
    else:
        bar = "█" * full + (_PARTS[int(part * 8) - 1] if part >= 1 / 8 else "")
    text = styled(name, "dim" if stage.is_part else "").append("  ")
    text.append(bar.ljust(room), f"dim {style}" if stage.is_part else style).append(" ")
    return fit(text.append(tail, "dim" if stage.name == OTHER else ""), width)


def _slow(each: SlowStage, width: int, glyphs: Glyphs) -> Text:
    slow = each.slow
    who = f"process {slow.process}"
    often = f"in {slow.steps} of {slow.of_steps} steps" if slow.of_steps > 1 else f"in step {slow.worst_step}"
    excess, others = f"+{duration(slow.excess_s)}", f" over the others' {duration(each.median_s)}"
    room = width - sum(map(cell_len, (who, excess, others, often))) - len(" in : , ")
    stage = steady(each.stage, 60)
    stage = fit_tail(stage, max(8, room), glyphs) if cell_len(stage) > room else stage
    text = styled(who, "bold yellow" if slow.is_chronic else "bold").append(f" in {stage}: ")
    return fit(text.append(excess, "bold").append(others).append(f", {often}", "dim"), width)


def _trouble(each: Trouble, width: int) -> list[Text]:
    """In two rows at most: what it ends with says where."""
    is_usual = each.about == "files"  # as it is on every host without a shared disk
    mark, style = ("", "dim") if is_usual else ("! ", "bold" if each.is_now else "")
    rows = wrapped(steady(each.text, 400), max(8, width - len(mark)), 2)
    lines = [styled(" " * len(mark), "").append(row, style) for row in rows]
    lines[0] = styled(mark, "bold red" if each.is_now else "yellow").append(rows[0], style)
    return [fit(line, width) for line in lines]


def _warned(each: Warned, width: int, now: float, processes: int) -> list[Text]:
    """In a line; where an exception's own text has no room in it, that below, in two rows at most."""
    level, style = {
        "WARNING": ("warning", "yellow"), "ERROR": ("error", "bold red"),
    }.get(each.level, ("critical", "bold white on red"))  # fmt: skip
    text = styled(f"{moment(each.time, now=now)} ", "dim").append(level, style)
    if processes > 1 and each.processes:
        more = f"+{len(each.processes) - 1}" if len(each.processes) > 1 else ""
        text.append(f" p{each.processes[0]}{more}", "dim")
    text.append(f" {steady(each.logger, 60)}: ", "dim")
    if each.count > 1:
        text.append(f"({each.count:,}×) " if each.is_same else f"({each.count:,} alike) ", "bold")
    text.append(steady(each.message, 300))
    error = steady(each.error or "", 400)
    if error and text.cell_len + cell_len(error) + 3 > width:
        rows = wrapped(error, max(8, width - 4), 2)
        return [fit(text, width), *(fit(styled(f"    {row}", "red"), width) for row in rows)]
    return [fit(text.append(f" · {error}", "red") if error else text, width)]


def _counted(facts: Facts) -> str:
    """How many errors and warnings there are, as in ``4 errors, 120 warnings``."""
    counts = [(facts.warned_counts.get(of, 0), of.removesuffix("s")) for of in ("errors", "warnings")]
    return ", ".join(counted(count, of) for count, of in counts if count)


def _whose(facts: Facts) -> str:
    files = facts.files
    if len(files.here) == files.expected:
        return ""
    return f"of {len(files.here)} of {files.expected} processes"


def _sink(each: SinkState) -> Text:
    text = styled(steady(each.name, 40), "" if each.is_well else "bold yellow").append("  ")
    said = []
    if each.lag is not None:
        said.append(f"{each.lag:,} behind" if each.lag else "up to date")
    if each.commit_ms is not None:
        said.append(f"{duration(each.commit_ms / 1e3)} a commit")
    if each.errors:
        said.append(f"{each.errors:,} failed calls")
    return text.append(" · ".join(said), "dim")


def _hosts(figures: Sequence[HostFigure], width: int, glyphs: Glyphs) -> list[Text]:
    longest = min(
        max(cell_len(steady(each.name, 80)) for each in figures), max(12, min(width // 2, width - 42))
    )
    several = len({each.worst for each in figures}) > 1 or any(each.worst for each in figures)
    lines = []
    for each in figures:
        text = Text(fit_tail(steady(each.name, 80), longest, glyphs)).append("  ")
        text.append(_figure(each.name, each.mean).rjust(10))
        text.append("  ").append(
            ("" if each.peak is None else _figure(each.name, each.peak)).rjust(10), "bold"
        )
        if several:
            who = "" if each.worst is None else f"p{each.worst}"
            text.append("  ").append(who.ljust(5), "dim")
        share = each.share
        if share is not None and math.isfinite(share):
            style = "cyan"  # being busy is no trouble, being full is
            if each.limit:
                style = "red" if share > 0.95 else "yellow" if share > 0.85 else "green"
            room = max(0, min(20, width - text.cell_len - 8))
            filled = round(min(1.0, max(0.0, share)) * room)
            text.append("  ").append(glyphs.bar * filled, style)
            text.append(glyphs.rest * (room - filled), "bright_black")
            text.append(f" {share * 100:.0f} %", style)
        lines.append(fit(text, width))
    return lines


def _figure(name: str, value: float) -> str:
    if name.endswith("_fraction"):
        return f"{value * 100:.0f} %"
    if "bytes" not in name:
        return number(value, _DIGITS)
    return size(value) + ("/s" if name.endswith("_per_s") else "")


def _samples(table: Samples, width: int, text_rows: int) -> list[Text]:
    lines = []
    for which, row in table.rows:
        texts = {name: value for name, value in row.items() if isinstance(value, str)}
        numbers = {name: row[name] for name in row if name not in texts and name != "step"}
        if table.ranked_by in numbers:  # it has made them so
            numbers = {table.ranked_by: numbers[table.ranked_by], **numbers}
        line = styled(which, {"best": "bold green", "worst": "bold red"}.get(which, "bold"))
        for name, value in list(numbers.items())[:8]:
            shown = number(value, _DIGITS) if isinstance(value, (int, float)) else steady(str(value), 40)
            line.append(f"  {steady(name, 40)} ", "dim").append(shown)
        lines.append(fit(line, width))
        label = min(12, max((cell_len(steady(name, 40)) for name in texts), default=0))
        for name, value in list(texts.items())[:6]:
            room = max(8, width - label - 4)
            rows = wrapped(steady(value, room * text_rows), room, text_rows)
            for at, part in enumerate(rows):
                head = set_cell_size(steady(name, 40), label) if at == 0 else " " * label
                lines.append(fit(Text("  ").append(head, "dim").append("  ").append(part), width))
    return lines


def footer(view: View, width: int) -> Text:
    """What the keys do, or what is being typed."""
    if view.is_typing:
        return fit(
            styled("/", "bold cyan").append(steady(view.typed or "", 200)).append("▏", "bold cyan"), width
        )
    text = Text()
    for key, does in (
        ("q", "quit"), ("↑↓", "scroll"), ("/", "filter metrics"),
        ("a", "chosen" if view.shows_all else "all metrics"),
    ):  # fmt: skip
        text.append(f"{key} ", "bold").append(f"{does}   ", "dim")
    if view.typed is not None:
        text.append("esc ", "bold").append("no filter", "dim")
    return fit(text, width)


# --- cells -------------------------------------------------------------------------------------------------
