"""Where values end: calls that print them, log them, or hand them to a tracker."""

from __future__ import annotations

import ast

from sightline.lint import libraries, sinks, words
from sightline.lint.call import Call
from sightline.lint.syntax import last_name
from sightline.lint.values import NOTHING, Kind, Use, Value, tagged


def printed(it: Call) -> Value | None:
    """Calls that put text where people read it."""
    shown = it.shows
    if not shown and it.name == "log" and it.args:  # logging's log(level, …)
        level = it.args[0]
        shown = any(path.startswith("logging.") for path in level.paths) or (
            isinstance(it.node.args[0], ast.Constant) and isinstance(it.node.args[0].value, int)
        )
    if not shown:
        return None
    it.flow.use(tagged(it.tags), Use.PRINT)
    return NOTHING


def logged(it: Call) -> Value | None:
    """Sinks, sightline itself, and functions of other files that are called like a logger."""
    for path in it.paths:
        if sinks.is_sink(path):
            for node in sinks.metric_arguments(path, it.node):
                _metric(it, node)
            return NOTHING
        if (kind := libraries.recording(path)) is not None:
            if kind == "record_timing":
                return Value(it.result_paths())
            for at, node in enumerate(it.node.args):
                key = it.args[0].text if at and it.args else None
                _metric(it, node, key)
            for keyword in it.node.keywords:
                _metric(it, keyword.value, keyword.arg)
            return NOTHING
    if libraries.is_scope(it.result_paths()):
        text = it.args[0].text if it.args else None
        return Value(it.result_paths(), text=text)
    if it.function.functions or it.function.classes or not words.is_log_call(it.name):
        return None
    if any(map(libraries.is_computing, it.paths)) or it.any(libraries.PASSING | libraries.DROPPING):
        return None
    for node in it.node.args:
        if isinstance(node, ast.JoinedStr) or it.written[node].text is not None:
            continue
        if not words.is_counter(last_name(node)) or it.written[node].of_kind(Kind.ELAPSED):
            _metric(it, node)
    for keyword in it.node.keywords:
        elapsed = it.written[keyword.value].of_kind(Kind.ELAPSED)
        if keyword.arg is None or elapsed or not words.is_counter(keyword.arg):
            _metric(it, keyword.value, keyword.arg)
    return Value(it.result_paths())


def _metric(it: Call, node: ast.expr, key: str | None = None) -> None:
    it.flow.metric(it.written[node], key)
