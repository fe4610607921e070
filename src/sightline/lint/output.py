"""How findings are put out: for people, as JSON, and as annotations of GitHub."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict

from sightline.lint.checking import Report
from sightline.lint.findings import Failure
from sightline.support.foreign_text import escaped

Style = Callable[[str, str], str]  # a text and what it is: "place", "code", "note", "error"


def human(report: Report, styled: Style = lambda text, kind: text) -> Iterator[str]:
    """Lines for people, grouped by file; the last one counts. Nothing in them acts on a terminal."""
    last = None
    for finding in report.findings:
        if finding.path != last:
            if last is not None:
                yield ""
            last = finding.path
        place = f"{escaped(finding.path)}:{finding.line}:{finding.column}:"
        code = styled(f"{finding.code} {finding.name}", "note" if finding.note else "code")
        yield f"{styled(place, 'place')} {code}"
        yield from textwrap.wrap(escaped(finding.why), 110, initial_indent="    ", subsequent_indent="    ")
        first, *rest = map(escaped, finding.instead.split("\n"))
        yield f"    instead:  {first}"
        yield from (f"              {line}" for line in rest)
    if report.findings:
        yield ""
    for failure in report.failures:
        yield f"{styled(_place(failure), 'place')} {styled('error:', 'error')} {escaped(failure.message)}"
    yield summary(report)


def summary(report: Report) -> str:
    """One line: how much was found in how much."""
    findings = [finding for finding in report.findings if not finding.note]
    notes = len(report.findings) - len(findings)
    parts = [_number(report.files, "file") + " checked"]
    if findings:
        among = _number(len({finding.path for finding in findings}), "file")
        parts.append(f"{_number(len(findings), 'finding')} in {among}")
    else:
        parts.append("nothing found")
    if notes:
        parts.append(_number(notes, "note"))
    if report.failures:
        parts.append(f"{_number(len(report.failures), 'file')} could not be checked")
    return ", ".join(parts) + "."


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _place(failure: Failure) -> str:
    path = escaped(failure.path)
    return f"{path}:{failure.line}:" if failure.line else f"{path}:"


def as_json(report: Report) -> str:
    """One JSON object: ``findings``, ``failures``, ``files``; in ASCII, whatever the files are called."""
    return json.dumps(
        {
            "findings": [asdict(finding) for finding in report.findings],
            "failures": [asdict(failure) for failure in report.failures],
            "files": report.files,
        },
        indent=2,
    )


def github(report: Report) -> Iterator[str]:
    """Annotations, as the workflow commands of GitHub Actions spell them; paths relative to here."""
    for finding in report.findings:
        yield _annotation(
            "notice" if finding.note else "error",
            finding.path,
            finding.line,
            finding.column,
            f"{finding.code} {finding.name}",
            f"{finding.why}\nInstead: {finding.instead}",
        )
    for failure in report.failures:
        yield _annotation("error", failure.path, failure.line, 0, "sightline lint", failure.message)


def _annotation(kind: str, path: str, line: int, column: int, title: str, message: str) -> str:
    path = os.path.relpath(path) if os.path.isabs(path) else path
    place = {"file": path, "line": line, "col": column, "title": title}
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in place.items() if value)
    return f"::{kind} {properties}::{_data(message)}"


def _data(text: str) -> str:
    return escaped(text, keep="\r\n").replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
