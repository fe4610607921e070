"""What flows where in one file: an abstract interpretation of its syntax tree.

Every function is read as if a stranger called it, and again wherever the file itself calls it, with what is
known of the arguments. Statements are followed in order, both ways of a branch are joined, and a loop is read
until nothing new comes round, twice at most. What the rules need is noted on the way: what each call may be a
call of, and what became of the values that they care about.
"""

from __future__ import annotations

import ast
import builtins
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath

from sightline.lint import calls, libraries, sinks, words
from sightline.lint.frames import Called, Class, Definition, Frame, Function
from sightline.lint.source import Source
from sightline.lint.syntax import backward_names, dotted, last_name, leaves, literal_start
from sightline.lint.values import (
    CONSTANT,
    NOTHING,
    Kind,
    Origin,
    Tag,
    Use,
    Value,
    holding,
    join,
    tagged,
    with_tags,
)

_DEEPEST = 5  # calls of functions of the file within each other
_MOST_STATEMENTS = 50_000  # read because a function of the file is called
_BUILTINS = frozenset(dir(builtins))


class Flow:
    """Reads a file. Afterwards :attr:`called` and :attr:`origins` hold what was found."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.called: dict[ast.Call, Called] = {}
        self.origins: dict[tuple[Kind, ast.expr, Origin | None], Origin] = {}
        self.traced: set[ast.AST] = set()
        self.carried: set[ast.expr] = set()
        self.discarded: ast.expr | None = None
        self.showing = 0  # within how many calls that print what is being read
        self._functions: dict[ast.AST, Function] = {}
        self._classes: dict[ast.ClassDef, Class] = {}
        self._stars: list[str] = []
        self._waiting: deque[Function] = deque()
        self._done: set[ast.AST] = set()
        self._read: dict[object, Value] = {}
        self._left = _MOST_STATEMENTS
        self._backward: dict[ast.AST, frozenset[str]] = {}
        path = PurePath(source.path)
        self._benchmark = words.is_benchmark(path.stem) or words.is_benchmark(path.parent.name)

    def run(self) -> Flow:
        """Read the whole file; again if a method used what a later one sets."""
        self._once()
        if any(each.outdated for each in self._classes.values()):
            for origin in self.origins.values():
                origin.uses.clear()
                origin.keys.clear()
            self.called.clear()
            self._read.clear()
            self._done.clear()
            self._left = _MOST_STATEMENTS
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
        if frame.depth >= _DEEPEST or self._left <= 0:
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
        frame.benchmark = frame.benchmark or function.frame.benchmark or words.is_benchmark(function.name)
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
            if not value.known and parameter.annotation is not None:
                value = with_tags(self.annotated(parameter.annotation, function.frame), value.tags)
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

    def _run(self, function: Function, frame: Frame) -> None:
        if isinstance(function.node, ast.Lambda):
            frame.returned = self.eval(function.node.body, frame)
            self.use(frame.returned, Use.RETURNED)
        else:
            self.body(function.node.body, frame)

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

    def metric(self, value: Value, key: str | None = None, *, numbers_only: bool = False) -> None:
        """Note that a value is logged or stands among metrics."""
        for tag in value.tags:
            if key:
                tag.origin.keys.setdefault(key)
            if not (numbers_only and tag.whole and tag.origin.kind is not Kind.ELAPSED):
                tag.origin.uses.add(Use.METRIC)

    def keyed(self, key: ast.expr | None, value: Value, frame: Frame, *, among_metrics: bool) -> None:
        """Note that a value stands under a key of a dict."""
        if not value.tags:
            return
        name = literal_start(key)
        if name is not None and words.is_counter(name):
            return
        if self.showing and not among_metrics:
            return
        if among_metrics or (name is not None and words.is_metric_key(name)):
            self.metric(value, name, numbers_only=not among_metrics and "/" not in (name or ""))
        elif name is not None:
            for tag in value.tags:
                tag.origin.keys.setdefault(name)
        elif any(tag.origin.kind is Kind.ELAPSED for tag in value.tags) and not self._is_index(key, frame):
            self.metric(tagged(value.of_kind(Kind.ELAPSED)))

    def _is_index(self, key: ast.expr | None, frame: Frame) -> bool:
        """Whether a subscript counts, and does not name."""
        if isinstance(key, ast.Name):
            return words.is_counter(key.id) or "range" in self.eval(key, frame).paths
        return not isinstance(key, (ast.JoinedStr, ast.Attribute, ast.Call, ast.BinOp))

    def active_loops(self, frame: Frame) -> set[ast.AST]:
        """The loops around what is read now, in this function and in those that called it."""
        return {loop for each in frame.chain() for loop in each.loops}

    # --- statements ----------------------------------------------------------------------------------------

    def body(self, statements: Iterable[ast.stmt], frame: Frame) -> bool:
        """Read statements; whether they always leave the function."""
        for statement in statements:
            if frame.caller:
                self._left -= 1
            if _STATEMENTS.get(statement.__class__, _ignore)(self, statement, frame):
                return True
        return False

    def _expression(self, node: ast.Expr, frame: Frame) -> None:
        self.discarded = node.value
        self.eval(node.value, frame)

    def _assign(self, node: ast.Assign, frame: Frame) -> None:
        self._find_carried(node.targets, node.value)
        value = self.eval(node.value, frame)
        for target in node.targets:
            self.assign(target, value, frame, node.value)

    def _annotated_assign(self, node: ast.AnnAssign, frame: Frame) -> None:
        value = NOTHING
        if node.value is not None:
            self._find_carried([node.target], node.value)
            value = self.eval(node.value, frame)
        if not value.known or value.constant:
            value = join(self.annotated(node.annotation, frame), value)
        if node.value is not None or value is not NOTHING:
            self.assign(node.target, value, frame, node.value)

    def _augmented_assign(self, node: ast.AugAssign, frame: Frame) -> None:
        value = self.eval(node.value, frame)
        before = self.eval(node.target, frame)
        self.assign(node.target, tagged(before.tags | value.tags), frame, node.value)

    def _find_carried(self, targets: list[ast.expr], value: ast.expr) -> None:
        """Note a call that is given what it changes, as in ``state, loss = f(state, batch)``."""
        call = value.value if isinstance(value, ast.Await) else value
        if isinstance(call, ast.Call):
            given = {dotted(each) for each in [*call.args, *(keyword.value for keyword in call.keywords)]}
            changed = {dotted(each) for target in targets for each in leaves(target)}
            if (given & changed) - {None}:
                self.carried.add(call)

    def assign(self, target: ast.expr, value: Value, frame: Frame, node: ast.expr | None = None) -> None:
        """Bind a target; ``node`` is what is assigned, where it is written."""
        if isinstance(target, (ast.Tuple, ast.List)):
            plain = not any(isinstance(each, ast.Starred) for each in target.elts)
            if value.items is not None and plain and len(value.items) == len(target.elts):
                parts = value.items
            else:
                parts = (tagged(value.tags),) * len(target.elts)
            made = node if isinstance(node, ast.Call) else None
            for each, part in zip(target.elts, parts, strict=True):
                self.assign(each.value if isinstance(each, ast.Starred) else each, part, frame, made)
            return
        if isinstance(target, ast.Subscript):
            among = words.is_metrics(last_name(target.value))
            self.keyed(target.slice, value, frame, among_metrics=among)
            self.eval(target.slice, frame)
            self.absorb(target.value, value, frame)
            return
        name = dotted(target)
        if node is not None:
            for tag in value.tags:
                tag.origin.names.setdefault(last_name(target))
        if value.tags and words.is_metrics(last_name(target)):
            gathers = value.of_kind(Kind.GATHERED)
            if isinstance(node, (ast.Dict, ast.DictComp)) or _makes_dict(node):
                self.metric(value)
            elif gathers and any(
                tag.origin.operand is not None and words.is_metrics(last_name(tag.origin.operand))
                for tag in gathers
            ):
                self.metric(tagged(gathers))
        if isinstance(target, ast.Attribute):
            base = self.eval(target.value, frame)
            for owner in base.instances | base.classes:
                owner.set(target.attr, value)
            if words.is_metrics(last_name(target.value)):
                self.metric(value, target.attr)
        if name is None:
            return
        if name in frame.backward and node is not None and not isinstance(node, (ast.Name, ast.Constant)):
            value = self._torch_loss(value, node, frame)
        frame.set(name, value)
        if frame.owner is not None:
            frame.owner.set(name, value)

    def _torch_loss(self, value: Value, node: ast.expr, frame: Frame) -> Value:
        """What PyTorch's ``backward`` is called on: a step's output; all else was computed with."""
        self.use(value, Use.PASSED)
        origin = self.origin(Kind.STEP, node, frame, how="backward")
        origin.step_like = True
        return tagged([*value.of_kind(Kind.STEP), Tag(origin, True)])

    def absorb(self, container: ast.expr, value: Value, frame: Frame) -> None:
        """What is put into a container is in the container."""
        if not value.tags and not value.paths and not value.holds:
            return
        while isinstance(container, ast.Subscript):
            container = container.value
        name = dotted(container)
        if name is None:
            return
        before = self.eval(container, frame)
        after = holding(before, value)
        if isinstance(container, ast.Attribute):
            for owner in self.eval(container.value, frame).instances:
                owner.set(container.attr, holding(owner.attributes.get(container.attr, NOTHING), value))
        if after is not before:
            where: Frame = frame
            while name not in where.names and where.outer and where.get(name) is not None:
                where = where.outer
            where.names[name] = after

    def _return(self, node: ast.Return, frame: Frame) -> bool:
        if node.value is not None:
            value = self.eval(node.value, frame)
            if not frame.caller:
                self._needed_by_callers(node.value, value)
            self.give(value, frame)
        return True

    def _needed_by_callers(self, node: ast.expr, value: Value) -> None:
        """Note what goes out whole to callers that are not seen, and not among metrics."""
        if isinstance(node, ast.Tuple) and value.items is not None:
            for each, item in zip(node.elts, value.items, strict=True):
                self._needed_by_callers(each, item)
        elif not isinstance(node, (ast.Dict, ast.DictComp)) and not _speaks_of_metrics(node):
            arrays = value.of_kind(Kind.GATHERED, Kind.READ)
            whole = [tag for tag in arrays if tag.whole and not tag.origin.reduces]
            self.use(tagged(whole), Use.NEEDED)

    def give(self, value: Value, frame: Frame) -> None:
        """Return or yield a value."""
        self.use(value, Use.RETURNED)
        frame.returned = join(frame.returned, value)

    def _raise(self, node: ast.Raise, frame: Frame) -> bool:
        for each in (node.exc, node.cause):
            if each is not None:
                self.eval(each, frame)
        return True

    def test(self, node: ast.expr, frame: Frame) -> None:
        """Read a condition."""
        self.use(self.eval(node, frame), Use.CONTROL)

    def _assert(self, node: ast.Assert, frame: Frame) -> None:
        self.test(node.test, frame)
        if node.msg is not None:
            self.eval(node.msg, frame)

    def _if(self, node: ast.If, frame: Frame) -> bool:
        ends: list[dict[str, Value]] = []
        leaves = True
        branch: ast.If | None = node
        while branch is not None:
            self.test(branch.test, frame)
            before = dict(frame.names)
            frame.guards.append(branch)
            if not self.body(branch.body, frame):
                ends.append(frame.names)
                leaves = False
            frame.guards.pop()
            frame.names = before
            rest = branch.orelse
            branch = rest[0] if len(rest) == 1 and isinstance(rest[0], ast.If) else None
            if branch is None and not self.body(rest, frame):
                ends.append(frame.names)
                leaves = False
        if ends:
            frame.names = _joined(ends)
        return leaves

    def loop(self, node: ast.AST, frame: Frame, once: Callable[[], object]) -> None:
        """Read what is repeated, again if the first time changed what is known."""
        frame.loops.append(node)
        guards, frame.guards = frame.guards, []
        for _ in range(2):
            before = dict(frame.names)
            once()
            frame.names = _joined([before, frame.names])
            if frame.names == before:
                break
        frame.guards = guards
        frame.loops.pop()

    def _for(self, node: ast.For | ast.AsyncFor, frame: Frame) -> None:
        element = self.element(node.iter, frame)

        def once() -> None:
            self.assign(node.target, element, frame)
            self.body(node.body, frame)

        rooted = frame.rooted
        frame.rooted = rooted or _is_steps(node.iter)
        self.loop(node, frame, once)
        frame.rooted = rooted
        self.body(node.orelse, frame)

    def _while(self, node: ast.While, frame: Frame) -> None:
        def once() -> None:
            self.test(node.test, frame)
            self.body(node.body, frame)

        self.loop(node, frame, once)
        self.body(node.orelse, frame)

    def element(self, node: ast.expr, frame: Frame) -> Value:
        """What iterating over an expression gives."""
        if isinstance(node, ast.Call):
            over = self.eval(node.func, frame).paths if isinstance(node.func, ast.Name) else frozenset()
            if over & {"enumerate"} and node.args:
                return Value(items=(NOTHING, self.element(node.args[0], frame)))
            if over & {"zip"} and not any(isinstance(each, ast.Starred) for each in node.args):
                parts = tuple(self.element(each, frame) for each in node.args)
                return Value(items=parts, tags=frozenset(tag for part in parts for tag in part.tags))
            if isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "values"):
                element = self.eval(node.func.value, frame).element
                return Value(items=(NOTHING, element)) if node.func.attr == "items" else element
            if over & {"range"}:
                self.eval(node, frame)
                return Value(paths=frozenset({"range"}))
        value = self.eval(node, frame)
        if value.items:
            element = value.items[0]
            for item in value.items[1:]:
                element = join(element, item)
            return element
        return value.element

    def _with(self, node: ast.With | ast.AsyncWith, frame: Frame) -> bool:
        scopes, rooted = len(frame.scopes), frame.rooted
        exits: list[tuple[ast.expr, Function, Value]] = []
        for item in node.items:
            value = self.eval(item.context_expr, frame)
            entered = value
            for owner in value.instances:
                enter, leave = owner.attribute("__enter__"), owner.attribute("__exit__")
                for function in enter.functions if enter else ():
                    found = self.inline(function, item.context_expr, frame, receiver=value)
                    entered = join(value, found)
                exits += [(item.context_expr, each, value) for each in (leave.functions if leave else ())]
            if item.optional_vars is not None:
                self.assign(item.optional_vars, entered, frame)
            if libraries.is_scope(value.paths):
                frame.scopes.append(value.text)
            if libraries.is_start(path.removesuffix("()") for path in value.paths):
                frame.rooted = True
        left = self.body(node.body, frame)
        for expression, function, value in exits:
            self.inline(function, expression, frame, receiver=value)
        del frame.scopes[scopes:]
        frame.rooted = rooted
        return left

    def _try(self, node: ast.Try, frame: Frame) -> bool:
        before = dict(frame.names)
        left = self.body(node.body, frame)
        after = frame.names
        ends = []
        if not left:
            left = self.body(node.orelse, frame)
            if not left:
                ends.append(frame.names)
        for handler in node.handlers:
            frame.names = _joined([before, after])
            if handler.type is not None:
                self.eval(handler.type, frame)
            if handler.name:
                frame.set(handler.name, NOTHING)
            if not self.body(handler.body, frame):
                ends.append(frame.names)
        frame.names = _joined(ends or [before, after])
        return self.body(node.finalbody, frame) or not ends

    def _match(self, node: ast.Match, frame: Frame) -> None:
        subject = self.eval(node.subject, frame)
        self.use(subject, Use.CONTROL)
        ends = [dict(frame.names)]
        for case in node.cases:
            frame.names = dict(ends[0])
            found = self._pattern(case.pattern, subject, frame)
            if isinstance(node.subject, ast.Name) and found is not subject:
                frame.set(node.subject.id, found)
            if case.guard is not None:
                self.test(case.guard, frame)
            if not self.body(case.body, frame):
                ends.append(frame.names)
        frame.names = _joined(ends)

    def _pattern(self, pattern: ast.pattern, subject: Value, frame: Frame) -> Value:
        """Bind the names of a pattern; what is known of what it matches."""
        if isinstance(pattern, ast.MatchClass):
            made = self._instance(self.eval(pattern.cls, frame))
            for each in [*pattern.patterns, *pattern.kwd_patterns]:
                self._pattern(each, tagged(subject.tags), frame)
            return with_tags(made, subject.tags)
        if isinstance(pattern, ast.MatchAs):
            found = self._pattern(pattern.pattern, subject, frame) if pattern.pattern else subject
            if pattern.name:
                frame.set(pattern.name, found)
            return found
        part = tagged(subject.tags)
        if isinstance(pattern, ast.MatchStar) and pattern.name:
            frame.set(pattern.name, part)
        if isinstance(pattern, ast.MatchMapping) and pattern.rest:
            frame.set(pattern.rest, part)
        if isinstance(pattern, (ast.MatchSequence, ast.MatchMapping, ast.MatchOr)):
            for each in pattern.patterns:
                self._pattern(each, part, frame)
        return subject

    def _import(self, node: ast.Import, frame: Frame) -> None:
        for alias in node.names:
            path = alias.name if alias.asname else alias.name.partition(".")[0]
            frame.set(alias.asname or path, Value(frozenset({path})))

    def _import_from(self, node: ast.ImportFrom, frame: Frame) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self._stars.append(module)
            else:
                path = f"{module}.{alias.name}" if node.module else module + alias.name
                frame.set(alias.asname or alias.name, Value(frozenset({path})))

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> None:
        function = self.function(node, frame if frame.owner is None else frame.outer or frame)
        function.owner = frame.owner
        value = Value(functions=frozenset({function}))
        scopes: list[str | None] = []
        for decorator in reversed(node.decorator_list):
            made = self.eval(decorator, frame)
            name = last_name(decorator)
            function.is_static = function.is_static or name == "staticmethod"
            function.is_property = function.is_property or name in ("property", "cached_property")
            if libraries.is_scope(made.paths):
                scopes.append(made.text)
            else:
                value = calls.decorated(self, decorator, made, value, frame)
        function.scopes = tuple(reversed(scopes))
        frame.set(node.name, value)
        if frame.owner is not None:
            frame.owner.set(node.name, value)

    def _class(self, node: ast.ClassDef, frame: Frame) -> None:
        owner = self._classes.setdefault(node, Class(node))
        bases = [self.eval(base, frame) for base in node.bases]
        owner.bases = [each for base in bases for each in base.classes if each is not owner]
        for decorator in node.decorator_list:
            self.eval(decorator, frame)
        paths = frozenset(path for base in bases for path in base.paths)
        inner = Frame(frame, owner=owner)
        inner.rooted = False
        self.body(node.body, inner)
        frame.set(node.name, Value(paths=paths, classes=frozenset({owner})))

    def _delete(self, node: ast.Delete, frame: Frame) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                frame.names.pop(target.id, None)

    def _global(self, node: ast.Global | ast.Nonlocal, frame: Frame) -> None:
        if isinstance(node, ast.Global):
            frame.global_names.update(node.names)

    # --- expressions ---------------------------------------------------------------------------------------

    def eval(self, node: ast.expr, frame: Frame) -> Value:
        """Read an expression; what is known of its value."""
        return _EXPRESSIONS.get(node.__class__, _unknown)(self, node, frame)

    def _constant(self, node: ast.Constant, frame: Frame) -> Value:
        return Value(text=node.value, constant=True) if isinstance(node.value, str) else CONSTANT

    def _name(self, node: ast.Name, frame: Frame) -> Value:
        found = frame.get(node.id)
        if found is not None:
            return found
        if node.id in _BUILTINS:
            return Value(frozenset({node.id}))
        if self._stars:
            return Value(frozenset(f"{module}.{node.id}" for module in self._stars))
        return NOTHING

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        return self.attribute_of(self.eval(node.value, frame), node, frame)

    def attribute_of(self, base: Value, node: ast.Attribute, frame: Frame) -> Value:
        """An attribute of a value: what was last assigned to it here, or else whatever it may be."""
        name = dotted(node)
        if name is not None and (found := frame.get(name)) is not None:
            return found
        return self.attribute(base, node, frame)

    def attribute(self, base: Value, node: ast.Attribute, frame: Frame) -> Value:
        """What is known of an attribute of a value."""
        attr = node.attr
        if attr in libraries.ON_HOST:
            return NOTHING
        paths = frozenset(f"{path}.{attr}" for path in base.paths)
        guessed = sinks.guessed(last_name(node.value), attr, base)
        if guessed:
            paths |= {guessed}
        value = Value(
            paths, base.tags, compiled=base.compiled and attr in ("lower", "compile", "trace", "func")
        )
        for owner in base.instances | base.classes:
            found = owner.attribute(attr)
            if found is None:
                continue
            for function in found.functions:
                if function.is_property and base.instances:
                    value = join(value, self.inline(function, node, frame, receiver=base))
                    break
            else:
                value = join(value, found)
        return value

    def _subscript(self, node: ast.Subscript, frame: Frame) -> Value:
        base = self.eval(node.value, frame)
        index = self.eval(node.slice, frame)
        if isinstance(node.slice, ast.Slice):
            self.use(tagged(tag for tag in index.of_kind(Kind.GATHERED) if not tag.whole), Use.SIZE)
        if base.items is not None and isinstance(node.slice, ast.Constant):
            at = node.slice.value
            if isinstance(at, int) and -len(base.items) <= at < len(base.items):
                return base.items[at]
        chosen = [tag for tag in index.of_kind(Kind.GATHERED) if tag.whole and base.tags]  # by a mask
        return with_tags(base.element, chosen)

    def _slice(self, node: ast.Slice, frame: Frame) -> Value:
        tags = {
            tag
            for each in (node.lower, node.upper, node.step)
            if each is not None
            for tag in self.eval(each, frame).tags
        }
        return tagged(tags)

    def _call(self, node: ast.Call, frame: Frame) -> Value:
        return calls.call(self, node, frame)

    def _operation(self, node: ast.BinOp, frame: Frame) -> Value:
        chain: list[ast.BinOp] = []  # a + b + c + … leans to the left, and can be long
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            chain.append(left)
            left = left.left
        value = self.eval(left, frame)
        for each in reversed(chain):
            value = self._combine(each, value, self.eval(each.right, frame), frame)
        return value

    def _combine(self, node: ast.BinOp, left: Value, right: Value, frame: Frame) -> Value:
        clocks = left.of_kind(Kind.CLOCK), right.of_kind(Kind.CLOCK)
        now = {tag.origin for tag in clocks[0]}
        before = [tag for tag in clocks[1] if tag.whole or tag.origin not in now]  # now - int(now) is none
        tags = (left.tags | right.tags).difference(*clocks)
        numbers = [tag for tag in tags if not tag.whole and Tag(tag.origin, True) in tags]
        self.use(tagged(numbers), Use.PASSED)  # an array is normalised by what it is reduced to
        tags = tags.difference(numbers)
        if isinstance(node.op, ast.Sub) and clocks[0] and not frame.traced and not frame.benchmark:
            start = not right.known and not right.tags and words.is_start(last_name(node.right))
            if before or start:
                origin = self.origin(Kind.ELAPSED, node, frame)
                origin.here = self.made_here([tag.origin for tag in before], frame) if before else False
                return tagged([*tags, Tag(origin, False)])
        if not isinstance(node.op, ast.Div):
            self._computes_with(left, right)
            self._computes_with(right, left)
        if isinstance(node.op, (ast.Mult, ast.Div)):  # seconds as milliseconds are a clock's still
            tags = tags.union(*clocks)
        return tagged(tags)

    def _computes_with(self, value: Value, other: Value) -> None:
        """Note that a number from all processes goes into what is computed of other values."""
        if not other.constant and not other.of_kind(Kind.GATHERED):
            self.use(tagged(tag for tag in value.of_kind(Kind.GATHERED) if not tag.whole), Use.PASSED)

    def _unary(self, node: ast.UnaryOp, frame: Frame) -> Value:
        return tagged(self.eval(node.operand, frame).tags)

    def _either(self, node: ast.BoolOp, frame: Frame) -> Value:
        value = self.eval(node.values[0], frame)
        for each in node.values[1:]:
            value = join(value, self.eval(each, frame))
        return value

    def _compare(self, node: ast.Compare, frame: Frame) -> Value:
        """Of arrays it is an array; of numbers it decides something."""
        arrays: set[Tag] = set()
        for each in (node.left, *node.comparators):
            value = self.eval(each, frame)
            numbers = [tag for tag in value.tags if not tag.whole]
            self.use(tagged(numbers), Use.CONTROL)
            arrays.update(tag for tag in value.tags if tag.whole and tag.origin.kind is not Kind.CLOCK)
        return tagged(arrays)

    def _conditional(self, node: ast.IfExp, frame: Frame) -> Value:
        self.test(node.test, frame)
        return join(self.eval(node.body, frame), self.eval(node.orelse, frame))

    def _sequence(self, node: ast.Tuple | ast.List | ast.Set, frame: Frame) -> Value:
        items = [self.eval(each, frame) for each in node.elts]
        tags = frozenset(tag for item in items for tag in item.tags)
        holds = frozenset(path for item in items for path in item.paths)
        if any(isinstance(each, ast.Starred) for each in node.elts) or len(items) > 32:
            return Value(tags=tags, holds=holds)
        return Value(tags=tags, items=tuple(items), holds=holds)

    def _dict(self, node: ast.Dict, frame: Frame) -> Value:
        whole = NOTHING
        for key, each in zip(node.keys, node.values, strict=True):
            if key is not None:
                self.eval(key, frame)
            value = self.eval(each, frame)
            if key is not None:
                self.keyed(key, value, frame, among_metrics=False)
            whole = holding(whole, value)
        return CONSTANT if whole is NOTHING else whole

    def _formatted(self, node: ast.JoinedStr, frame: Frame) -> Value:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.use(self.eval(part.value, frame), Use.PRINT)
                if part.format_spec is not None:
                    self.eval(part.format_spec, frame)
        return CONSTANT

    def _lambda(self, node: ast.Lambda, frame: Frame) -> Value:
        return Value(functions=frozenset({self.function(node, frame)}))

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, frame: Frame
    ) -> Value:
        before = dict(frame.names)
        for generator in node.generators:
            element = self.element(generator.iter, frame)
            frame.loops.append(node)
            self.assign(generator.target, element, frame)
            for condition in generator.ifs:
                self.test(condition, frame)
        if isinstance(node, ast.DictComp):
            self.eval(node.key, frame)
            value = self.eval(node.value, frame)
            self.keyed(node.key, value, frame, among_metrics=False)
        else:
            value = self.eval(node.elt, frame)
        del frame.loops[-len(node.generators) :]
        bound = {name for each in node.generators for leaf in leaves(each.target) if (name := dotted(leaf))}
        for name in bound:
            if name in before:
                frame.names[name] = before[name]
            else:
                frame.names.pop(name, None)
        return tagged(value.tags)

    def _walrus(self, node: ast.NamedExpr, frame: Frame) -> Value:
        self._find_carried([node.target], node.value)
        value = self.eval(node.value, frame)
        self.assign(node.target, value, frame, node.value)
        return self.eval(node.target, frame)

    def _inside(self, node: ast.Await | ast.Starred, frame: Frame) -> Value:
        return self.eval(node.value, frame)

    def _yield(self, node: ast.Yield | ast.YieldFrom, frame: Frame) -> Value:
        if node.value is not None:
            self.give(self.eval(node.value, frame), frame)
        return NOTHING

    # --- annotations ---------------------------------------------------------------------------------------

    def annotated(self, annotation: ast.expr, frame: Frame) -> Value:
        """What is known of a value with this annotation."""
        if isinstance(annotation, ast.Constant):
            if not isinstance(annotation.value, str):
                return NOTHING
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except (SyntaxError, ValueError, RecursionError):
                return NOTHING
        if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
            return join(self.annotated(annotation.left, frame), self.annotated(annotation.right, frame))
        if isinstance(annotation, ast.Subscript):
            kind = last_name(annotation.value)
            if kind not in ("Optional", "Union", "Annotated", "Final", "ClassVar"):
                return NOTHING
            inner = annotation.slice
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            value = NOTHING
            for part in parts[:1] if kind == "Annotated" else parts:
                value = join(value, self.annotated(part, frame))
            return value
        if isinstance(annotation, (ast.Name, ast.Attribute)):
            return self._instance(self.eval(annotation, frame))
        return NOTHING

    def _instance(self, value: Value) -> Value:
        paths = frozenset(f"{path}()" for path in value.paths if "." in path)
        return Value(paths=paths, instances=value.classes) if paths or value.classes else NOTHING


def _moves(origin: Origin) -> bool:
    """Whether what a function returns arises at its call, for its callers to judge."""
    return origin.kind is not Kind.CLOCK and not (origin.here and origin.kind in (Kind.READ, Kind.ELAPSED))


def _speaks_of_metrics(node: ast.expr) -> bool:
    return any(words.is_results(part.id) for part in ast.walk(node) if isinstance(part, ast.Name))


def _makes_dict(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict"


def _is_steps(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "steps"


def _joined(ends: list[dict[str, Value]]) -> dict[str, Value]:
    """What is known after one of several ways."""
    first, *others = ends
    if not others:
        return first
    names = dict(first)
    for other in others:
        for name, value in other.items():
            known = names.get(name)
            names[name] = value if known is None else join(known, value)
    return names


def _ignore(flow: Flow, node: ast.stmt, frame: Frame) -> None:
    """A statement in which nothing flows."""


def _unknown(flow: Flow, node: ast.expr, frame: Frame) -> Value:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            flow.eval(child, frame)
    return NOTHING


_STATEMENTS: dict[type, Callable[..., bool | None]] = {
    ast.Expr: Flow._expression,
    ast.Assign: Flow._assign,
    ast.AnnAssign: Flow._annotated_assign,
    ast.AugAssign: Flow._augmented_assign,
    ast.Return: Flow._return,
    ast.Raise: Flow._raise,
    ast.Assert: Flow._assert,
    ast.If: Flow._if,
    ast.For: Flow._for,
    ast.AsyncFor: Flow._for,
    ast.While: Flow._while,
    ast.With: Flow._with,
    ast.AsyncWith: Flow._with,
    ast.Try: Flow._try,
    ast.TryStar: Flow._try,
    ast.Match: Flow._match,
    ast.Import: Flow._import,
    ast.ImportFrom: Flow._import_from,
    ast.FunctionDef: Flow._definition,
    ast.AsyncFunctionDef: Flow._definition,
    ast.ClassDef: Flow._class,
    ast.Delete: Flow._delete,
    ast.Global: Flow._global,
    ast.Nonlocal: Flow._global,
}
_EXPRESSIONS: dict[type, Callable[..., Value]] = {
    ast.Constant: Flow._constant,
    ast.Name: Flow._name,
    ast.Attribute: Flow._attribute,
    ast.Subscript: Flow._subscript,
    ast.Slice: Flow._slice,
    ast.Call: Flow._call,
    ast.BinOp: Flow._operation,
    ast.UnaryOp: Flow._unary,
    ast.BoolOp: Flow._either,
    ast.Compare: Flow._compare,
    ast.IfExp: Flow._conditional,
    ast.Tuple: Flow._sequence,
    ast.List: Flow._sequence,
    ast.Set: Flow._sequence,
    ast.Dict: Flow._dict,
    ast.JoinedStr: Flow._formatted,
    ast.Lambda: Flow._lambda,
    ast.ListComp: Flow._comprehension,
    ast.SetComp: Flow._comprehension,
    ast.GeneratorExp: Flow._comprehension,
    ast.DictComp: Flow._comprehension,
    ast.NamedExpr: Flow._walrus,
    ast.Await: Flow._inside,
    ast.Starred: Flow._inside,
    ast.Yield: Flow._yield,
    ast.YieldFrom: Flow._yield,
}
