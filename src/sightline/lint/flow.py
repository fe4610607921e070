"""What flows where in one file: an abstract interpretation of its syntax tree.

Every function is read as if a stranger called it, and again wherever the file itself calls it, with what is
known of the arguments. Statements are followed in order, both ways of a branch are joined, and a loop is read
until nothing new comes round, twice at most. What the rules need is noted on the way: what each call may be a
call of, and what became of the values that they care about.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath

from sightline.lint import compiled, expressions, statements, words
from sightline.lint.frames import Called, Class, Definition, Frame, Function
from sightline.lint.source import Source
from sightline.lint.syntax import backward_names, literal_start
from sightline.lint.values import NOTHING, Kind, Origin, Tag, Use, Value, tagged, with_tags

_DEEPEST = 5  # calls of functions of the file within each other
_MOST_STATEMENTS = 50_000  # read because a function of the file is called


class Flow:
    """Reads a file. Afterwards :attr:`called` and :attr:`origins` hold what was found."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.called: dict[ast.Call, Called] = {}
        self.origins: dict[tuple[Kind, ast.expr, Origin | None], Origin] = {}
        self.classes: dict[ast.ClassDef, Class] = {}
        self.traced: set[ast.AST] = set()  # functions that JAX traces
        self.carried: set[ast.expr] = set()  # calls that are given what they change
        self.handed: dict[ast.Call, ast.Call] = {}  # calls that others are to make
        self.discarded: ast.expr | None = None  # the last expression that is a statement
        self.apart = 0  # within how many calls and functions whose dicts are printed, decided by, or kept
        self._functions: dict[ast.AST, Function] = {}
        self.stars: set[str] = set()  # modules of which everything is imported
        self._waiting: deque[Function] = deque()
        self._done: set[ast.AST] = set()
        self._read: dict[object, Value] = {}
        self.left = _MOST_STATEMENTS
        self._backward: dict[ast.AST, frozenset[str]] = {}
        path = PurePath(source.path)
        self._benchmark = words.is_benchmark(path.stem) or words.is_benchmark(path.parent.name)

    def run(self) -> Flow:
        """Read the whole file; again if a method used what a later one sets."""
        self._once()
        if any(each.outdated for each in self.classes.values()):
            for origin in self.origins.values():
                origin.uses.clear()
                origin.keys.clear()
            self.called.clear()
            self._read.clear()
            self._done.clear()
            self.left = _MOST_STATEMENTS
            self._once()
        return self

    def _once(self) -> None:
        module = Frame(None)
        module.benchmark = self._benchmark
        module.rooted = True
        module.backward = self._backward_names(self.source.tree)
        self.body(self.source.tree.body, module)
        while self._waiting:
            self._alone(self._waiting.popleft())

    def _alone(self, function: Function) -> None:
        """Read a function as called by a stranger."""
        frame = Frame(function.frame, function)
        self._enter(function, frame)
        self._parameters(function, frame, [], {}, NOTHING, None)
        self._run(function, frame)

    # --- functions -----------------------------------------------------------------------------------------

    def function(self, node: Definition, frame: Frame) -> Function:
        """The function that a node defines, and the plan to read it."""
        function = self._functions.get(node)
        if function is None:
            function = self._functions[node] = Function(node, frame)
        function.frame = frame
        if node not in self._done:
            self._done.add(node)
            self._waiting.append(function)
        arguments = node.args
        named = arguments.posonlyargs + arguments.args
        for parameter, default in zip(reversed(named), reversed(arguments.defaults), strict=False):
            function.defaults[parameter.arg] = self.eval(default, frame)
        for parameter, maybe in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if maybe is not None:
                function.defaults[parameter.arg] = self.eval(maybe, frame)
        return function

    def inline(
        self,
        function: Function,
        node: ast.expr,
        frame: Frame,
        args: Sequence[Value] = (),
        keywords: dict[str, Value] | None = None,
        rest: Value = NOTHING,
        receiver: Value | None = None,
    ) -> Value:
        """Read a function of the file as called here; what it returns.

        ``rest`` stands for what is unpacked into the arguments.
        """
        if any(each.function is not None and each.function.node is function.node for each in frame.chain()):
            return NOTHING
        if frame.depth >= _DEEPEST or self.left <= 0:
            return NOTHING
        keywords = keywords or {}
        key = None
        if function.frame.function is None:  # without a closure
            loops = tuple(loop for each in frame.chain() for loop in each.loops)
            key = (
                function.node, tuple(args), tuple(keywords.items()), rest, receiver, tuple(frame.scopes),
                frame.rooted, frame.traced, frame.benchmark, loops,
            )  # fmt: skip
            if (known := self._read.get(key)) is not None:
                return self._called_from(known, function, node, frame)
        inner = Frame(function.frame, function, frame)
        self._enter(function, inner)
        self._parameters(function, inner, args, keywords, rest, receiver)
        self._run(function, inner)
        if key is not None:
            self._read[key] = inner.returned
        return self._called_from(inner.returned, function, node, frame)

    def _enter(self, function: Function, frame: Frame) -> None:
        node = function.node
        frame.traced = frame.traced or node in self.traced
        mine = [function.name, function.owner.node.name if function.owner else ""]
        frame.benchmark = frame.benchmark or function.frame.benchmark or any(map(words.is_benchmark, mine))
        frame.scopes.extend(function.scopes)
        frame.backward = self._backward_names(node)
        if not frame.traced and words.is_step(function.name):
            frame.loops.append(node)  # what is called a step is in somebody's loop

    def _parameters(
        self,
        function: Function,
        frame: Frame,
        args: Sequence[Value],
        keywords: dict[str, Value],
        rest: Value,
        receiver: Value | None,
    ) -> None:
        arguments = function.node.args
        named = arguments.posonlyargs + arguments.args
        names, given = frame.names, list(args)
        if function.owner and not function.is_static and named:
            mine = Value(instances=frozenset({function.owner}))
            names[named[0].arg] = receiver if receiver and receiver.instances else mine
            named = named[1:]
        unpacked = tagged(rest.tags)
        for position, parameter in enumerate(named + arguments.kwonlyargs):
            name = parameter.arg
            if position < min(len(given), len(named)):
                value = given[position]
            elif name in keywords:
                value = keywords[name]
            else:
                value = unpacked
                if value is NOTHING and frame.caller:
                    value = function.defaults.get(name, NOTHING)
                if value is NOTHING and not frame.caller and words.is_hook(function.name):
                    value = self._hooked(parameter, function, frame)
            if not value.known and parameter.annotation is not None:
                value = with_tags(
                    expressions.annotated(self, parameter.annotation, function.frame), value.tags
                )
            names[name] = value
        if arguments.vararg:
            more = given[len(named) :]
            names[arguments.vararg.arg] = tagged(
                {tag for value in more for tag in value.tags} | unpacked.tags
            )
        if arguments.kwarg:
            taken = {parameter.arg for parameter in named + arguments.kwonlyargs}
            names[arguments.kwarg.arg] = tagged(
                {tag for name, value in keywords.items() if name not in taken for tag in value.tags}
                | unpacked.tags
            )

    def _hooked(self, parameter: ast.arg, function: Function, frame: Frame) -> Value:
        if parameter.annotation is None:
            return NOTHING
        kind = expressions.annotated(self, parameter.annotation, function.frame)
        return compiled.hooked(self, parameter.annotation, kind, frame)

    def _run(self, function: Function, frame: Frame) -> None:
        if isinstance(function.node, ast.Lambda):
            frame.returned = self.eval(function.node.body, frame)
            self.use(frame.returned, Use.RETURNED)
        else:
            kept = words.is_state(function.name)
            self.apart += kept
            self.body(function.node.body, frame)
            self.apart -= kept

    def _called_from(self, value: Value, function: Function, node: ast.expr, frame: Frame) -> Value:
        """What a function returned, for its caller: what arose inside arises at the call."""
        tags = frozenset(
            Tag(self._outer(tag.origin, node, frame, tag.whole), tag.whole)
            if _moves(tag.origin) and function.contains(tag.origin.node)
            else tag
            for tag in value.tags
        )
        items = value.items
        if items is not None:
            items = tuple(self._called_from(item, function, node, frame) for item in items)
        if tags == value.tags and items == value.items:
            return value
        return replace(value, tags=tags, items=items)

    def _outer(self, inner: Origin, node: ast.expr, frame: Frame, whole: bool) -> Origin:
        operand = node.args[0] if isinstance(node, ast.Call) and node.args else node
        origin = self.origin(inner.kind, node, frame, inner=inner, how=inner.how, operand=operand)
        origin.step_like = inner.step_like
        if not whole:
            origin.reductions |= inner.reductions
        return origin

    def _backward_names(self, node: ast.AST) -> frozenset[str]:
        """The variables of a function on which PyTorch's ``backward`` is called."""
        if "backward(" not in self.source.text:
            return frozenset()
        if node not in self._backward:
            self._backward[node] = frozenset(backward_names(node))
        return self._backward[node]

    # --- parts of the tree ----------------------------------------------------------------------------------

    def body(self, nodes: Iterable[ast.stmt], frame: Frame) -> bool:
        """Read statements; whether they always leave the function."""
        return statements.body(self, nodes, frame)

    def eval(self, node: ast.expr, frame: Frame) -> Value:
        """Read an expression; what is known of its value."""
        return expressions.read(self, node, frame)

    # --- what is noted -------------------------------------------------------------------------------------

    def origin(
        self,
        kind: Kind,
        node: ast.expr,
        frame: Frame,
        *,
        inner: Origin | None = None,
        how: str = "",
        operand: ast.expr | None = None,
    ) -> Origin:
        """The origin of a kind at a node; one and the same for all ways to it."""
        origin = self.origins.get((kind, node, inner))
        if origin is None:
            origin = self.origins[kind, node, inner] = Origin(kind, node, how, inner=inner, operand=operand)
        origin.loops.update(frame.loops)
        return origin

    def made_here(self, origins: Iterable[Origin], frame: Frame) -> bool:
        """Whether values arise in this function, and were not given to it."""
        function = frame.function
        return function is None or any(function.contains(origin.node) for origin in origins)

    def use(self, value: Value, use: Use) -> None:
        """Note what became of a value."""
        for tag in value.tags:
            tag.origin.uses.add(Use.NEEDED if use is Use.PASSED and tag.whole else use)

    def metric(
        self, value: Value, key: str | None = None, *, numbers_only: bool = False, logged: bool = True
    ) -> None:
        """Note that a value is logged or stands among metrics; ``logged=False`` if only its key says so."""
        for tag in value.tags:
            if key:
                tag.origin.keys.setdefault(key)
            if not (numbers_only and tag.whole and tag.origin.kind is not Kind.ELAPSED):
                tag.origin.uses.update((Use.METRIC, Use.LOGGED) if logged else (Use.METRIC,))

    def keyed(
        self,
        key: ast.expr | None,
        value: Value,
        frame: Frame,
        *,
        among_metrics: bool,
        is_dict: bool = False,
    ) -> None:
        """Note that a value stands under a key of a dict, or, unless ``is_dict``, perhaps of a list."""
        if not value.tags:
            return
        name = literal_start(key)
        if name is not None and words.is_counter(name):
            value = tagged(value.of_kind(Kind.ELAPSED))  # the step is no metric; the time that it took is
        if self.apart and not among_metrics:
            return
        if among_metrics or (name is not None and words.is_metric_key(name)):
            numbers_only = not among_metrics and "/" not in (name or "")
            self.metric(value, name, numbers_only=numbers_only, logged=among_metrics)
        elif name is not None:
            for tag in value.tags:
                tag.origin.keys.setdefault(name)
        elif value.of_kind(Kind.ELAPSED) and (is_dict or not self._is_index(key, frame)):
            self.metric(tagged(value.of_kind(Kind.ELAPSED)))

    def _is_index(self, key: ast.expr | None, frame: Frame) -> bool:
        """Whether a subscript counts, and does not name."""
        if isinstance(key, ast.Name):
            return words.is_counter(key.id) or "range" in self.eval(key, frame).paths
        return not isinstance(key, (ast.JoinedStr, ast.Attribute, ast.Call, ast.BinOp))

    def active_loops(self, frame: Frame) -> set[ast.AST]:
        """The loops around what is read now, in this function and in those that called it."""
        return {loop for each in frame.chain() for loop in each.loops}


def _moves(origin: Origin) -> bool:
    """Whether what a function returns arises at its call, for its callers to judge."""
    return origin.kind is not Kind.CLOCK and not (origin.here and origin.kind in (Kind.READ, Kind.ELAPSED))
