"""``# sightline: allow <reason>``: what is permitted, by whom reads it, and whether anything still needs it.

An allow covers its own line; the line below where it stands alone; and all of a statement on whose first or
last line it is. Of a compound statement (``for``, ``with``, ``def``) the header counts, not the body.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sightline.lint.findings import ALLOW_WITHOUT_REASON, UNUSED_ALLOW, Finding, Rule
from sightline.lint.source import Source

#: Up to another comment; ``#123`` is the number of an issue.
_ALLOW = re.compile(r"#\s*sightline:\s*allow\b[:\s]*((?:[^#]|#(?=\d))*)")


@dataclass
class Allow:
    """One comment. ``target`` is the line that it is on, or else the line of code that it stands above."""

    line: int
    column: int
    target: int
    reason: str
    used: bool = False


def apply(source: Source, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings that no allow covers, and those about the allows themselves."""
    allows = list(_allows(source))
    covered = _covered(source.tree, {allow.target for allow in allows}) if allows else {}
    for finding in findings:
        lines = {finding.line} | covered.get(finding.line, set())
        found = [allow for allow in allows if allow.target in lines]
        for allow in found:
            allow.used = True
        if not found:
            yield finding
    for allow in allows:
        if not re.search(r"\w", allow.reason):
            yield _about(source, allow, ALLOW_WITHOUT_REASON, "# sightline: allow <why it must be so>")
        if not allow.used:
            yield _about(source, allow, UNUSED_ALLOW, "(nothing: take the comment out)", note=True)


def _about(source: Source, allow: Allow, rule: Rule, instead: str, note: bool = False) -> Finding:
    return Finding(source.path, allow.line, allow.column, rule.code, rule.name, rule.why, instead, note)


def _allows(source: Source) -> Iterator[Allow]:
    if "sightline:" not in source.text:
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type != tokenize.COMMENT or not (found := _ALLOW.search(token.string)):
            continue
        line, column = token.start
        target = line
        if not source.lines[line - 1][:column].strip():
            target += 1
            while target <= len(source.lines) and source.lines[target - 1].lstrip().startswith("#"):
                target += 1
        yield Allow(line, column + found.start() + 1, target, found[1].strip())


def _covered(tree: ast.Module, targets: set[int]) -> dict[int, set[int]]:
    """For each line, the allowed lines at an end of its statement."""
    covered: dict[int, set[int]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            continue
        first, last = _extent(node)
        allowed = targets & {first, last}
        if allowed:
            for line in range(first, last + 1):
                covered.setdefault(line, set()).update(allowed)
    return covered


def _extent(node: ast.stmt | ast.ExceptHandler | ast.match_case) -> tuple[int, int]:
    """The lines of a statement, or of the header of a compound one."""
    first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
    body: list[ast.stmt] | list[ast.match_case] | None = getattr(node, "body", None) or getattr(
        node, "cases", None
    )
    if not body:
        return first, node.end_lineno or first  # type: ignore[union-attr]  # a match_case has a body
    inner = body[0]
    start = inner.pattern.lineno if isinstance(inner, ast.match_case) else inner.lineno
    for decorator in getattr(inner, "decorator_list", ()):
        start = min(start, decorator.lineno)
    return first, max(first, start - 1)
