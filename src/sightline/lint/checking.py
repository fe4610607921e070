"""Checking files: what the rules find in each, less what is allowed there."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sightline.lint import allows, collectives, keys, reads, sinks, timings
from sightline.lint.files import python_files
from sightline.lint.findings import RULES, Failure, Finding
from sightline.lint.flow import Flow
from sightline.lint.source import Source, UnreadableError

EVERY_CODE = frozenset(rule.code for rule in RULES)
_DEEP = 20_000  # Python's limit of frames, while trees are read: an expression may be deep
#: What a file must mention, all of one group, to be worth reading closely.
_WORTH = [
    [re.compile(pattern) for pattern in patterns]
    for patterns in (
        (
            r"wandb|swanlab|trackio|mlflow|SummaryWriter|metric_writers|\badd_\w+\(|tensorflow|tf\.summary|accelerat|Logger|\.experiment\b|Tracking",
        ),
        (
            r"allgather|all_gather|accelerat|all_reduce|gather_object|dist(?:ributed)?\.\w+\(|pmap|comm\.|mpi4py",
        ),
        (
            r"\b(?:float|int)\b|\.item\(|tolist|numpy\(|device_get|np\.|block_until_ready|get_metrics",
            r"jit|pmap|_grad\(|backward\(|(?:step|update|batch|fn|train|eval)\w*\(",
        ),
        (
            r"perf_counter|monotonic|(?:process|thread)_time|default_timer|now\(|utcnow|\.time\(|import time"
            r"|\bTimer|Stop[wW]atch",
        ),
        (r"sightline",),
    )
]


@dataclass
class Report:
    """What a check of files found.

    Args:
        findings: in the order of files and lines.
        failures: files that could not be checked.
        files: how many were checked.
    """

    findings: list[Finding] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    files: int = 0

    @property
    def exit_code(self) -> int:
        """0 clean, 1 with findings, 2 if a file could not be checked."""
        if self.failures:
            return 2
        return int(any(not finding.note for finding in self.findings))


def check_paths(
    paths: Iterable[str],
    *,
    exclude: Iterable[str] = (),
    chosen: frozenset[str] = EVERY_CODE,
) -> Report:
    """Check files, and the Python files under directories.

    Args:
        paths: files and directories.
        exclude: globs of what to leave out; see :func:`sightline.lint.files.python_files`.
        chosen: codes of the rules that count.
    """
    report, given = Report(), list(paths)

    def unlisted(error: OSError) -> None:
        report.failures.append(Failure(str(error.filename), 0, f"cannot be listed: {error.strerror}"))

    for path in python_files(given, exclude, unlisted):
        try:
            found = check(Source.read(path))
        except UnreadableError as error:
            report.failures.append(Failure(path, error.line, str(error)))
            continue
        except Exception as error:  # noqa: BLE001 - a fault of the lint's own; the other files are checked
            report.failures.append(Failure(path, 0, f"cannot be checked: {type(error).__name__}: {error}"))
            continue
        report.files += 1
        report.findings += [finding for finding in found if finding.code in chosen]
    if not report.files and not report.failures:
        empty = [path for path in given if os.path.isdir(path)]
        report.failures += [Failure(path, 0, "no Python files are in it to be checked") for path in empty]
    return report


def check(source: Source) -> list[Finding]:
    """The findings in one file, by line.

    Raises:
        UnreadableError: it is nested too deeply.

    Example:
        >>> source = Source.parse("train.py", b"import wandb\\nwandb.log({'train/loss': loss}, step=n)")
        >>> [finding] = check(source)
        >>> finding.line, finding.code
        (2, 'SL101')
        >>> print(finding.instead)
        sl.scalar("train/loss", loss)
        run.commit(n)
    """
    try:
        with _deep_recursion():
            found = _found(source) if _is_worth_reading(source.text) else ()
            once = {(finding.line, finding.column, finding.code): finding for finding in found}
            return sorted(allows.apply(source, sorted(once.values())))
    except RecursionError:
        raise UnreadableError("is nested too deeply to be checked") from None


def _is_worth_reading(text: str) -> bool:
    return any(all(pattern.search(text) for pattern in patterns) for patterns in _WORTH)


def _found(source: Source) -> Iterator[Finding]:
    flow = Flow(source).run()
    called, origins = list(flow.called.values()), list(flow.origins.values())
    yield from sinks.findings(source, called)
    yield from collectives.findings(source, origins)
    yield from reads.findings(source, origins)
    yield from timings.findings(source, origins)
    yield from keys.findings(source, called)


@contextmanager
def _deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEP))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
