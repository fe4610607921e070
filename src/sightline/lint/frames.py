"""Functions, classes and names of a file, while it is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from sightline.lint.values import NOTHING, Value, join

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(eq=False)
class Class:
    """A class of the file, and what its attributes may be, whichever method sets them."""

    node: ast.ClassDef
    attributes: dict[str, Value] = field(default_factory=dict)
    bases: list[Class] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    outdated: bool = False  # an attribute was asked for before all of it was known

    def set(self, name: str, value: Value) -> None:
        """Note one thing more that an attribute may be."""
        before = self.attributes.get(name)
        after = value if before is None else join(before, value)
        if after != before:
            self.attributes[name] = after
            self.outdated = self.outdated or name in self.asked

    def attribute(self, name: str) -> Value | None:
        """What an attribute may be, as far as it is known."""
        self.asked.add(name)
        found = self.attributes.get(name)
        for base in self.bases:
            if found is None and base is not self:
                found = base.attribute(name)
        return found


@dataclass(eq=False)
class Function:
    """A function of the file."""

    node: Definition
    frame: Frame
    owner: Class | None = None
    is_static: bool = False
    is_property: bool = False
    scopes: tuple[str | None, ...] = ()
    defaults: dict[str, Value] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "lambda" if isinstance(self.node, ast.Lambda) else self.node.name

    def contains(self, node: ast.expr) -> bool:
        """Whether a node is a part of the function."""
        mine = self.node
        assert mine.end_lineno is not None
        assert mine.end_col_offset is not None
        return (mine.lineno, mine.col_offset) <= (node.lineno, node.col_offset) and (
            node.lineno,
            node.col_offset,
        ) < (mine.end_lineno, mine.end_col_offset)


class Frame:
    """The names of one execution of a module, a class body or a function."""

    def __init__(
        self,
        outer: Frame | None,
        function: Function | None = None,
        caller: Frame | None = None,
        owner: Class | None = None,
    ) -> None:
        self.names: dict[str, Value] = {}
        self.has_paths = False  # whether names such as "self.state" are among them
        self.outer = outer
        self.function = function
        self.caller = caller
        self.owner = owner  # of a class body
        self.loops: list[ast.AST] = []
        self.guards: list[ast.If] = []
        self.scopes: list[str | None] = list(caller.scopes) if caller else []
        self.rooted: bool = bool(caller and caller.rooted)
        self.returned: Value = NOTHING
        self.global_names: set[str] = set()
        self.backward: frozenset[str] = frozenset()
        self.traced: bool = bool(caller and caller.traced)
        self.benchmark: bool = bool(caller.benchmark if caller else outer and outer.benchmark)

    @property
    def depth(self) -> int:
        return 1 + self.caller.depth if self.caller else 0

    def chain(self) -> Iterator[Frame]:
        """This and the frames that called it, innermost first."""
        frame: Frame | None = self
        while frame:
            yield frame
            frame = frame.caller

    def get(self, name: str) -> Value | None:
        frame: Frame | None = self
        while frame:
            if (found := frame.names.get(name)) is not None:
                return found
            frame = frame.outer
        return None

    def set(self, name: str, value: Value) -> None:
        if name in self.global_names:
            frame = self
            while frame.outer:
                frame = frame.outer
            frame.names[name] = join(frame.names.get(name, value), value)
            return
        self.names[name] = value
        if "." in name:
            self.has_paths = True
        if self.has_paths:
            prefix = name + "."
            for stale in [other for other in self.names if other.startswith(prefix)]:
                del self.names[stale]


@dataclass
class Called:
    """What is known of one call in the file.

    Args:
        node: the call.
        paths: dotted names of what is called.
        scopes: for each way to the call, the active scopes, None for one that is not known, and whether these
            are all that there can be.
    """

    node: ast.Call
    paths: set[str] = field(default_factory=set)
    scopes: set[tuple[tuple[str | None, ...], bool]] = field(default_factory=set)
