"""One call, with its arguments read."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sightline.lint import libraries, names, words
from sightline.lint.frames import Frame
from sightline.lint.syntax import last_name
from sightline.lint.values import NOTHING, Tag, Value, join

if TYPE_CHECKING:
    from sightline.lint.flow import Flow


class Call:
    """One call, with its arguments read."""

    def __init__(self, flow: Flow, node: ast.Call, frame: Frame) -> None:
        self.flow, self.node, self.frame = flow, node, frame
        self.discarded = flow.discarded is node
        self.name = last_name(node.func)
        self.receiver = NOTHING
        self.receiver_name = ""
        if isinstance(node.func, ast.Attribute):
            self.receiver = flow.eval(node.func.value, frame)
            self.receiver_name = last_name(node.func.value)
            self.function = names.attribute_of(flow, self.receiver, node.func, frame)
        else:
            self.function = flow.eval(node.func, frame)
        self.paths = self.function.paths
        self.shows = _shows(self)
        self.decides = words.is_decider(self.name) or words.is_decider(self.receiver_name)
        # A dict that is written out there is no dict of metrics.
        apart = self.shows or (self.decides and not words.is_log_call(self.name)) or _is_orbax(self)
        flow.apart += apart
        self.written: dict[ast.expr, Value] = {}  # each argument as it is written, and its value
        self.args: list[Value] = []
        self.keywords: dict[str, Value] = {}
        self.rest = NOTHING
        for each in node.args:
            value = self.written[each] = flow.eval(each, frame)
            if isinstance(each, ast.Starred):
                self.rest = join(self.rest, value)
            else:
                self.args.append(value)
        for keyword in node.keywords:
            value = self.written[keyword.value] = flow.eval(keyword.value, frame)
            if keyword.arg is None:
                self.rest = join(self.rest, value)
            else:
                self.keywords[keyword.arg] = value
        flow.apart -= apart

    @property
    def values(self) -> list[Value]:
        """All arguments."""
        return [*self.args, *self.keywords.values(), self.rest]

    @property
    def tags(self) -> set[Tag]:
        """What any argument was made from."""
        return {tag for value in self.values for tag in value.tags}

    def any(self, paths: Iterable[str]) -> bool:
        """Whether what is called may be one of these."""
        return bool(self.paths) and not self.paths.isdisjoint(paths)

    def result_paths(self) -> frozenset[str]:
        """The dotted names of what it gives."""
        return frozenset(f"{path}()" for path in self.paths if "." in path and path.count("()") < 3)


def _is_orbax(it: Call) -> bool:
    """Whether a call is one of Orbax, whose ``metrics`` decide which checkpoints are kept."""
    return any(path.startswith("orbax.") for path in it.paths)


def _shows(it: Call) -> bool:
    """Whether a call puts its arguments where people read them."""
    return any(map(libraries.is_print, it.paths)) or libraries.is_print_method(it.receiver_name, it.name)
