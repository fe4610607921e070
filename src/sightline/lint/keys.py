"""SL105: keys of recording calls that are outside the naming conventions (docs/naming.md).

Checked is the whole key wherever the file says under which scopes it is recorded. A function that anybody may
call under any scope is only held to what no scope can mend.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from sightline.lint import libraries
from sightline.lint.advice import HUMP, conventional
from sightline.lint.findings import UNCONVENTIONAL_KEY, Finding
from sightline.lint.frames import Called
from sightline.lint.source import Source
from sightline.lint.syntax import literal_start
from sightline.values import naming

_OPTIONS = {
    "per_process", "nonfinite", "replicated", "emit", "quantiles", "over", "mask", "bins", "values",
    "numerator", "denominator", "amount",
}  # fmt: skip
_BY_NAME = {"scalar", "total", "last", "text"}  # take keys as keywords
_EXPORTED = {
    "summary": "{}/mean",
    "masked": "{}/mean",
}
_SECONDS = "s|sec|secs|second|seconds|ms|us|ns|time|duration|elapsed"

Scopes = set[tuple[tuple[str | None, ...], bool]]


def findings(source: Source, called: Iterable[Called]) -> Iterator[Finding]:
    """The keys that are spelled unlike ours, why, and how they would be."""
    called = list(called)
    namespaces = _namespaces(called)
    for each in called:
        if namespaces is not None and any(map(libraries.is_commit, each.paths)):
            yield from _committed(source, each.node, namespaces)
            continue
        call = next(filter(None, map(libraries.recording, sorted(each.paths))), None)
        if call is None or call == "ingest":
            continue
        for node, key in _keys(call, each.node):
            reason = _reason(call, key, each.scopes, namespaces)
            if reason is not None:
                yield source.finding(
                    UNCONVENTIONAL_KEY,
                    node,
                    _instead(call, key, each.scopes, namespaces),
                    f"{key!r}: {reason}.",
                )


def _committed(source: Source, node: ast.Call, namespaces: tuple[str, ...]) -> Iterator[Finding]:
    """The keys of final values, which stand under no scope."""
    given = node.args[1] if len(node.args) > 1 else None
    for keyword in node.keywords:
        given = keyword.value if keyword.arg == "stats" else given
    for each in given.keys if isinstance(given, ast.Dict) else ():
        key = literal_start(each)
        if each is None or not key or key.startswith("{}") or key.endswith(naming.COUNT_SUFFIX):
            continue
        reason = naming.unconventional(key.replace("{}", "x"), namespaces=namespaces)
        if reason is not None:
            better = conventional(key)
            yield source.finding(UNCONVENTIONAL_KEY, each, f'{{"{better}": …}}', f"{key!r}: {reason}.")


def _keys(call: str, node: ast.Call) -> Iterator[tuple[ast.expr | ast.keyword, str]]:
    first: ast.expr | None = node.args[0] if node.args else None
    for keyword in node.keywords:
        if keyword.arg == "key":
            first = keyword.value
        elif call in _BY_NAME and keyword.arg is not None and keyword.arg not in _OPTIONS:
            yield keyword, keyword.arg
        elif call in _BY_NAME and keyword.arg is None and isinstance(keyword.value, ast.Dict):
            for each in keyword.value.keys:
                if (key := literal_start(each)) and each is not None:
                    yield each, key
    if first is not None and (key := literal_start(first)) and not key.startswith("{}"):
        yield first, key


def _namespaces(called: Iterable[Called]) -> tuple[str, ...] | None:
    """First parts that the file's ``sl.start`` welcomes; None without one, or where they are not known."""
    found: list[str] = []
    starts = [each.node for each in called if libraries.is_start(each.paths)]
    for node in starts:
        for keyword in node.keywords:
            if keyword.arg == "naming" and literal_start(keyword.value) == "off":
                return None
            if keyword.arg == "namespaces":
                if not isinstance(keyword.value, (ast.Tuple, ast.List)):
                    return None
                found += [name for each in keyword.value.elts if (name := literal_start(each))]
            elif keyword.arg is None:
                return None
    return tuple(found) if starts else None


def _odd(call: str, scope: str, key: str, namespaces: tuple[str, ...]) -> str | None:
    """Why the exported key is odd; or what is given to rate and record_timing, which spell their units."""
    whole = _exported(call, scope, key)
    reason = naming.unconventional(whole, namespaces=namespaces)
    if reason is None and call in ("rate", "record_timing") and scope:
        return naming.unconventional(naming.join(scope, key.replace("{}", "x")), namespaces=namespaces)
    return reason


def _exported(call: str, scope: str, key: str) -> str:
    """The key of one number that the call exports; ``x`` stands for what an f-string puts in."""
    key = key.replace("{}", "x")
    if call == "record_timing":
        return naming.TIMING_KEY.format(key=naming.join(scope, key))
    if call == "rate":
        return f"throughput/{naming.join(scope, key)}_per_s"
    return naming.join(scope, _EXPORTED.get(call, "{}").format(key))


def _reason(call: str, key: str, scopes: Scopes, namespaces: tuple[str, ...] | None) -> str | None:
    try:
        naming.check_key(key.replace("{}", "x"))
    except ValueError as error:
        return str(error).partition(f"{key!r} ")[2] or str(error)
    known = [scope for scope, whole in scopes if whole and None not in scope]
    if known and namespaces is not None:
        for scope in sorted(known, key=str):
            if reason := _odd(call, "/".join(map(str, scope)), key, namespaces):
                return reason
        return None
    for names, _ in sorted(scopes, key=str):
        inner: list[str] = []
        for name in names:
            inner = [] if name is None else [*inner, name]
        ways = ("/".join(inner), "/".join(["train", *inner]))
        reasons = [_odd(call, scope, key, namespaces or ()) for scope in ways]
        if all(reasons):
            return reasons[1]
    return None


def _instead(call: str, key: str, scopes: Scopes, namespaces: tuple[str, ...] | None) -> str:
    for other, better in _candidates(call, key):
        if _reason(other, better, scopes, namespaces) is None:
            if other == "record_timing":
                return f'with sl.record_timing("{better}"): …'
            return f'sl.{other}("{better}", …)'
    for scope in ("train", "eval"):
        if _odd(call, scope, key, ()) is None:
            return f'with sl.scope("{scope}"): sl.{call}("{key}", …)'
    return f"sl.{call}(…) under a key of docs/naming.md"


def _candidates(call: str, key: str) -> Iterator[tuple[str, str]]:
    """Other calls and keys, the nearest first."""
    snake = "/".join(_snake(part) for part in key.split("/"))
    if snake.partition("/")[0] not in naming.NAMESPACES:
        spelled = conventional(key)  # "train-reward/total" as "train/reward/total"
        if spelled.partition("/")[0] in naming.NAMESPACES:
            yield call, spelled
    yield call, snake
    folder, _, last = snake.rpartition("/")
    at = f"{folder}/" if folder else ""
    if found := re.fullmatch(r"(.+)_per_(?:s|sec|second)(_per_.+)", last):
        yield "rate", found[1] + found[2]
    if found := re.fullmatch(r"(.+)_per_(s|sec|second)", last):
        yield "rate", found[1]
    if found := re.fullmatch(rf"(.+?)(_time)?_({_SECONDS})", last):
        yield "record_timing", found[1]
    if found := re.fullmatch(r"(mean|avg|average|std|min|max|minimum|maximum)_(.+)", last):
        yield "summary", at + found[2]
    if found := re.fullmatch(r"(.+)_(mean|avg|average|std|min|max|sum)", last):
        yield "summary", at + found[1]
    if found := re.fullmatch(r"(?:num|number|n)_(?:of_)?(.+)", last):
        yield call, at + found[1]
    if found := re.fullmatch(r"(.+)_(pct|percent|percentage)", last):
        yield call, f"{at}{found[1]}_fraction"
    if last in _SECONDS.split("|"):
        yield "record_timing", "step"
    yield call, conventional(key)
    for namespace in ("train", "eval"):
        yield call, f"{namespace}/{snake}"


def _snake(part: str) -> str:
    return re.sub(r"[^a-z0-9@{}]+", "_", HUMP.sub("_", part).lower()).strip("_")
