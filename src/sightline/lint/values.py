"""What is known of a value while a file is read: which names it may have, and what it was made from."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, NamedTuple

from sightline.lint import words
from sightline.lint.syntax import last_name

_MOST_PATHS = 8


class Kind(Enum):
    """What a value may have been made from."""

    STEP = auto()  # the output of a compiled function or a step: on a device
    READ = auto()  # a blocking read of such an output: on the host
    GATHERED = auto()  # a collective over processes
    CLOCK = auto()  # a reading of a clock
    ELAPSED = auto()  # a difference of two


class Use(Enum):
    """What became of a value."""

    METRIC = auto()  # it is logged, or is in a dict of metrics
    LOGGED = auto()  # a metric that is more than named in a dict
    PRINT = auto()
    NUMBER = auto()  # made a float
    CONTROL = auto()  # it decides what happens next
    DECIDES = auto()  # it is given to a checkpoint, a scheduler, an early stop
    SIZE = auto()  # it says how large something is
    PASSED = auto()  # one number of it goes into a computation
    NEEDED = auto()  # all of it goes into a computation, or a step is given it
    RETURNED = auto()


@dataclass(eq=False)
class Origin:
    """A place where values of a kind arise, and what became of them.

    Args:
        kind: what arises.
        node: the place.
        how: the function or method that makes it, as in ``"float"``.
        step_like: of a STEP or a READ: training or evaluation goes by it.
        here: of a READ or ELAPSED: what is read or subtracted arose in the same function.
        inner: the origin inside a function of the same file, if this is a call of it.
        operand: what is read or gathered.
        loops: the loops of its function around it.
        uses: what became of it.
        keys: under which keys of dicts and metrics it was found, in order.
        names: of variables it was assigned to, in order.
        reductions: which reductions it went through.
        reduces: of a GATHERED: the collective itself makes a sum or a mean.
        is_mask: of a GATHERED: it chooses among what another gives.
        mask: of a GATHERED: what chooses among its values, before it is gathered.
        is_ratio: of a GATHERED: one part of it is divided by another.
        parts: of a GATHERED: what is divided by what, where both are gathered, each by itself.
        few: of a GATHERED: each process gives a few numbers that are written out, ``np.array([hits, n])``.
        read: of a READ: the step outputs that are read.
        has_names: of a READ: parts of it are taken by names, as of a dict.
    """

    kind: Kind
    node: ast.expr
    how: str = ""
    step_like: bool = False
    here: bool = True
    inner: Origin | None = None
    operand: ast.expr | None = None
    loops: set[ast.AST] = field(default_factory=set)
    uses: set[Use] = field(default_factory=set)
    keys: dict[str, None] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    reductions: set[str] = field(default_factory=set)
    reduces: bool = False
    is_mask: bool = False
    mask: ast.expr | None = None
    is_ratio: bool = False
    parts: tuple[ast.expr, ast.expr] | None = None
    few: bool = False
    read: set[Origin] = field(default_factory=set)
    has_names: bool = False

    @property
    def of_metrics(self) -> bool:
        """Whether what is read or gathered goes by the name of metrics."""
        return self.operand is not None and words.is_metrics(last_name(self.operand))


class Tag(NamedTuple):
    """That a value was made from an origin; ``whole`` until a reduction made a number of it."""

    origin: Origin
    whole: bool


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a value. Nothing known is :data:`NOTHING`.

    Args:
        paths: dotted names that it may have.
        tags: what it was made from.
        functions: functions of this file that it may be.
        classes: classes of this file that it may be.
        instances: classes of this file that it may be an instance of.
        items: of a tuple or list that is written out.
        text: of a string that is written out.
        constant: a literal.
        compiled: calling it gives what devices compute.
        holds: dotted names of what may be in it, if it is a container.
    """

    paths: frozenset[str] = frozenset()
    tags: frozenset[Tag] = frozenset()
    functions: frozenset[Any] = frozenset()
    classes: frozenset[Any] = frozenset()
    instances: frozenset[Any] = frozenset()
    items: tuple[Value, ...] | None = None
    text: str | None = None
    constant: bool = False
    compiled: bool = False
    holds: frozenset[str] = frozenset()

    @property
    def element(self) -> Value:
        """What is known of what is in it."""
        return Value(self.holds, self.tags) if self.holds or self.tags else NOTHING

    def of_kind(self, *kinds: Kind) -> list[Tag]:
        return [tag for tag in self.tags if tag.origin.kind in kinds]

    @property
    def known(self) -> bool:
        """Whether anything is known of what it is."""
        return bool(
            self.paths
            or self.functions
            or self.classes
            or self.instances
            or self.items is not None
            or self.constant
        )


NOTHING = Value()
CONSTANT = Value(constant=True)


def tagged(tags: Iterable[Tag]) -> Value:
    """A value of which only its making is known."""
    found = frozenset(tags)
    return Value(tags=found) if found else NOTHING


def join(a: Value, b: Value) -> Value:
    """What is known of a value that is one of two."""
    if a is b or b is NOTHING or a == b:
        return a
    if a is NOTHING:
        return b
    items = None
    if a.items is not None and b.items is not None and len(a.items) == len(b.items):
        items = tuple(join(x, y) for x, y in zip(a.items, b.items, strict=True))
    paths = a.paths | b.paths
    return Value(
        paths if len(paths) <= _MOST_PATHS else a.paths,
        a.tags | b.tags,
        a.functions | b.functions,
        a.classes | b.classes,
        a.instances | b.instances,
        items,
        a.text if a.text == b.text else None,
        a.constant and b.constant,
        a.compiled or b.compiled,
        a.holds | b.holds,
    )


def with_tags(value: Value, tags: Iterable[Tag]) -> Value:
    """The same, made from these too."""
    more = value.tags.union(tags)
    return value if more == value.tags else replace(value, tags=more)


def holding(container: Value, value: Value) -> Value:
    """The same container with a value in it."""
    tags = container.tags | value.tags
    holds = container.holds | value.paths | value.holds
    if tags == container.tags and holds == container.holds:
        return container
    return replace(container, tags=tags, holds=holds, items=None, text=None, constant=False)
