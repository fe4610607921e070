"""What a call does to what is known: where values of interest arise, pass through, and end."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sightline.lint import libraries, names, sinks, words
from sightline.lint.frames import Called, Class, Frame, Function
from sightline.lint.syntax import dotted, last_name
from sightline.lint.values import NOTHING, Kind, Origin, Tag, Use, Value, holding, join, tagged, with_tags
from sightline.lint.words import named

if TYPE_CHECKING:
    from sightline.lint.flow import Flow

_PASSING = named(
    "abs dict enumerate filter getattr iter list max min next pow reversed round set sorted sum tuple zip "
    "vars any all copy.copy copy.deepcopy dataclasses.asdict itertools.chain"
)
_DROPPING = named(
    "bool callable hasattr hash id input isinstance issubclass len open repr str type time.sleep"
)
_SAME = frozenset({"contextlib.closing", "contextlib.nullcontext", "functools.partial", "typing.cast"})
_KEEPING = named(
    "save savez checkpoint checkpoints ckpt checkpointer checkpointing profiler profile profiling trace "
    "tracer"
)


class _Call:
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
        flow.showing += self.shows
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
        flow.showing -= self.shows

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


def call(flow: Flow, node: ast.Call, frame: Frame) -> Value:
    """Read a call; what is known of what it gives."""
    it = _Call(flow, node, frame)
    called = flow.called.setdefault(node, Called(node))
    called.paths |= it.paths
    called.scopes.add((tuple(frame.scopes), frame.rooted))
    for step in _STEPS if it.paths else _STEPS_WITHOUT_A_NAME:
        value = step(it)
        if value is not None:
            return value
    return _unknown(it)


# --- what gives something else of the same ------------------------------------------------------------------


def _indirect(it: _Call) -> Value | None:
    """Calls that only hand something on: partial, getattr, import_module, super."""
    if it.any(_SAME) and it.node.args:
        value = it.args[-1] if it.any({"typing.cast"}) else it.args[0] if it.args else NOTHING
        if it.any({"functools.partial"}):
            positional = len(it.node.args) > 1 or it.rest is not NOTHING
            kept = frozenset() if positional else value.functions
            return Value(value.paths, value.tags, kept, value.classes, compiled=value.compiled)
        return value
    if it.any({"getattr"}) and len(it.node.args) >= 2 and it.args[1:2] and it.args[1].text:
        as_written = ast.copy_location(ast.Attribute(it.node.args[0], it.args[1].text, ast.Load()), it.node)
        return names.attribute(it.flow, it.args[0], as_written, it.frame)
    if it.any({"importlib.import_module", "__import__"}) and it.args and it.args[0].text:
        return Value(frozenset({it.args[0].text}))
    if it.any({"super"}):
        frame: Frame | None = it.frame
        while frame and not (frame.function and frame.function.owner):
            frame = frame.outer
        bases = frame.function.owner.bases if frame and frame.function and frame.function.owner else []
        return Value(instances=frozenset(bases))
    return None


def _handed_over(it: _Call) -> Value | None:
    """A sink that somebody else is to call: ``executor.submit(wandb.log, metrics, step=n)``."""
    at = libraries.CALLERS.get(it.name)
    if at is None or at >= len(it.args) or not any(map(sinks.is_sink, it.args[at].paths)):
        return None
    node = it.node
    own = 1 + (it.name == "io_callback")  # which is told the shape of a result, too
    handed = it.flow.handed.get(node)
    if handed is None:
        handed = ast.Call(node.args[at], node.args[at + own :], node.keywords)
        it.flow.handed[node] = ast.copy_location(handed, node)
    it.flow.eval(handed, it.frame)
    return Value(it.result_paths())


def _clock(it: _Call) -> Value | None:
    if not it.any(libraries.CLOCKS):
        return None
    return tagged([Tag(it.flow.origin(Kind.CLOCK, it.node, it.frame), True)])


# --- compiled functions and steps ---------------------------------------------------------------------------


def decorated(flow: Flow, decorator: ast.expr, made: Value, value: Value, frame: Frame) -> Value:
    """A function of the file under a decorator."""
    if made.paths & (libraries.COMPILERS | {f"{path}()" for path in libraries.COMPILERS}):
        return _compiled(flow, value)
    if made.paths & (libraries.TRACERS | {f"{path}()" for path in libraries.TRACERS}):
        _mark_traced(flow, value)
    for wrapper in made.functions:
        found = flow.inline(wrapper, decorator, frame, [value])
        if found.compiled:
            return _compiled(flow, value)
    return value


def _compiled(flow: Flow, value: Value) -> Value:
    _mark_traced(flow, value)
    return Value(value.paths, value.tags, value.functions, compiled=True)


def _mark_traced(flow: Flow, value: Value) -> None:
    for function in value.functions:
        flow.traced.add(function.node)
    for item in value.items or ():
        _mark_traced(flow, item)


def _transformation(it: _Call) -> Value | None:
    """``jax.jit(f)`` and its like, also where the function comes later: ``jax.jit(donate_argnums=0)``."""
    is_compiler = it.any(libraries.COMPILERS)
    if is_compiler or it.any(libraries.GRADIENTS):
        given = it.args[0] if it.args else it.keywords.get("fun", it.keywords.get("f", NOTHING))
        for value in it.values:
            _mark_traced(it.flow, value)
        if not it.node.args and not it.keywords.keys() & {"fun", "f"}:
            return Value(it.result_paths() if not is_compiler else it.paths)
        return Value(given.paths, frozenset(), given.functions, compiled=True)
    if it.any(libraries.TRACERS):
        for value in it.values:
            _mark_traced(it.flow, value)
        if it.args and (it.args[0].functions or it.args[0].compiled):
            return Value(it.args[0].paths, it.args[0].tags, it.args[0].functions)
        return Value(it.result_paths(), frozenset(it.tags))
    return None


def _compiled_call(it: _Call) -> Value | None:
    """What a compiled function gives lies on a device."""
    if not it.function.compiled:
        return None
    if it.name in ("lower", "compile", "trace") and it.receiver.compiled:
        return Value(compiled=True)
    for function in it.function.functions:
        if _only_sums(it.flow, function):
            return _gathered(it, reduces=True)
    return _step_output(it, words.is_step(it.name, it.receiver_name))


def _only_sums(flow: Flow, function: Function) -> bool:
    """Whether a function does nothing but a collective: ``lambda x: lax.pmean(x, "batch")``."""
    node: ast.AST | None = function.node
    if isinstance(node, ast.Lambda):
        node = node.body
    elif isinstance(node, ast.FunctionDef):
        last = node.body[-1]
        node = last.value if isinstance(last, ast.Return) and len(node.body) <= 2 else None
    if not isinstance(node, ast.Call):
        return False
    paths = flow.eval(node.func, function.frame).paths
    if paths & libraries.TREE_MAPS and node.args and isinstance(node.args[0], ast.Lambda):
        inner = node.args[0].body
        return isinstance(inner, ast.Call) and not flow.eval(inner.func, function.frame).paths.isdisjoint(
            libraries.TRACED_SUMS
        )
    given = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "x")]
    return not paths.isdisjoint(libraries.TRACED_SUMS) and any(isinstance(each, ast.Name) for each in given)


def _step_output(it: _Call, step_like: bool) -> Value:
    it.flow.use(tagged(it.tags), Use.NEEDED)
    if it.frame.traced:
        return NOTHING
    origin = it.flow.origin(Kind.STEP, it.node, it.frame, how=it.name)
    origin.loops |= it.flow.active_loops(it.frame)  # a caller's too
    if step_like or it.node in it.flow.carried or _takes_a_batch(it.node) or _over_data(it.frame):
        origin.step_like = True
    return tagged([Tag(origin, True)])


def _takes_a_batch(node: ast.Call) -> bool:
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any("batch" in words.words(last_name(each)) for each in given)


def _over_data(frame: Frame) -> bool:
    """Whether the innermost loop goes over batches of data."""
    loop = frame.loops[-1] if frame.loops else None
    if not isinstance(loop, (ast.For, ast.AsyncFor)):
        return False
    over = loop.iter
    while (
        isinstance(over, ast.Call) and over.args and last_name(over) in ("enumerate", "tqdm", "zip", "iter")
    ):
        over = over.args[-1]
    return words.is_data(last_name(over))


def _step_by_name(it: _Call) -> Value | None:
    """A function of another file that is called a step."""
    if it.discarded or not words.is_step(it.name, it.receiver_name):
        return None
    if it.function.classes or it.function.constant or any(map(_is_library, it.paths)):
        return None
    return _step_output(it, True)


def _is_library(path: str) -> bool:
    return libraries.stays_on_device(path) or libraries.is_numpy(path)


# --- collectives --------------------------------------------------------------------------------------------


def _gathered(it: _Call, *, reduces: bool = False) -> Value:
    operand = it.node.args[0] if it.node.args else None
    origin = it.flow.origin(Kind.GATHERED, it.node, it.frame, how=it.name, operand=operand)
    origin.reduces = reduces
    return tagged([Tag(origin, True)])


def _collective(it: _Call) -> Value | None:
    if it.any(libraries.GATHERS) or it.any(libraries.TRACED_GATHERS):
        return _gathered(it)
    if not it.function.known and libraries.is_accelerator_gather(it.receiver_name, it.name):
        return _gathered(it)
    for path in it.paths:
        written = libraries.written_argument(path)
        if written is None:
            continue
        at, name = written
        target = it.node.args[at] if at < len(it.node.args) else None
        for keyword in it.node.keywords:
            target = keyword.value if keyword.arg == name else target
        if target is None or _is_gradient(target):
            return NOTHING
        value = _gathered(it, reduces="gather" not in path)
        next(iter(value.tags)).origin.operand = (
            it.node.args[1] if at == 0 and len(it.node.args) > 1 and ("gather" in path) else target
        )
        before = it.flow.eval(target, it.frame)
        clean = frozenset(tag for tag in before.tags if tag.origin.kind is not Kind.STEP)
        where = dotted(target)
        if where is not None:
            it.frame.set(where, Value(before.paths, clean, instances=before.instances))
        names.absorb(it.flow, target, value, it.frame)
        return NOTHING
    return None


def _is_gradient(node: ast.expr) -> bool:
    return any(
        isinstance(part, ast.Attribute) and part.attr in ("grad", "main_grad", "data")
        for part in ast.walk(node)
    )


# --- reads --------------------------------------------------------------------------------------------------


def _read(it: _Call) -> Value | None:
    method = not it.args and it.name
    if it.any(libraries.NUMBER_READS) and it.args:
        return _read_of(it, it.args[0], it.node.args[0], number=True)
    if method in libraries.NUMBER_METHODS and isinstance(it.node.func, ast.Attribute):
        return _read_of(it, it.receiver, it.node.func.value, number=True)
    if it.any(libraries.ARRAY_READS) and it.args:
        return _read_of(it, it.args[0], it.node.args[0], number=it.any({"int"}))
    if method in libraries.ARRAY_METHODS and isinstance(it.node.func, ast.Attribute):
        return _read_of(it, it.receiver, it.node.func.value, number=False)
    if it.name == "block_until_ready":
        value, node = (it.args[0], it.node.args[0]) if it.args else (it.receiver, it.node.func)
        if isinstance(node, ast.Attribute) and not it.args:
            node = node.value
        steps = [tag for tag in value.of_kind(Kind.STEP) if tag.origin.step_like]
        if steps and not _keeps_something(it.frame):
            _read_origin(it, steps, node)
        return value
    return None


def _read_of(it: _Call, value: Value, node: ast.expr, *, number: bool) -> Value:
    """The value on the host: what was gathered or timed stays that, an output of a step has been read."""
    steps, others = value.of_kind(Kind.STEP), value.tags
    if number:
        inner = [tag for tag in value.of_kind(Kind.READ) if tag.origin.node is node]
        for tag in inner:  # float(np.asarray(x)) is one read
            tag.origin.uses.add(Use.NEEDED)
            steps += [Tag(step, True) for step in tag.origin.read]
        others = others.difference(inner)
    others = others.difference(steps)
    if number:
        exact = not it.any({"int"})
        if exact:
            it.flow.use(tagged(others), Use.NUMBER)
        others = frozenset(Tag(tag.origin, False) for tag in others)
    if not steps:
        return Value(tags=others, items=None if number else value.items)
    origin = _read_origin(it, steps, node)
    if origin is None:
        return tagged(others)
    return tagged([*others, Tag(origin, not number)])


def _read_origin(it: _Call, steps: list[Tag], node: ast.expr) -> Origin | None:
    """A read of these step outputs here; None where reading holds nobody."""
    frame = it.frame
    active = it.flow.active_loops(frame)
    in_loop = [tag.origin for tag in steps if not active.isdisjoint(tag.origin.loops)]
    if not in_loop or frame.traced or frame.benchmark or any(map(_once, _guards(frame))):
        return None
    origin = it.flow.origin(Kind.READ, it.node, frame, how=it.name, operand=node)
    origin.step_like = origin.step_like or any(step.step_like for step in in_loop)
    origin.read.update(in_loop)
    origin.here = it.flow.made_here(in_loop, frame)
    return origin


def _guards(frame: Frame) -> list[ast.If]:
    """The branches around what is read now, within its loop."""
    return [guard for each in frame.chain() for guard in each.guards]


def _once(guard: ast.If) -> bool:
    """Whether a branch is taken in one turn of its loop: ``if step == 0``."""
    test = guard.test
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.left, ast.Name)
        and words.is_counter(test.left.id)
        and test.left.id != "rank"
    )


def _keeps_something(frame: Frame) -> bool:
    """Whether a branch writes a checkpoint or a profile, which must wait for what it writes."""
    return any(
        not _KEEPING.isdisjoint(words.words(part.attr if isinstance(part, ast.Attribute) else part.id))
        for guard in _guards(frame)
        for statement in guard.body
        for part in ast.walk(statement)
        if isinstance(part, (ast.Attribute, ast.Name))
    )


# --- where values end ---------------------------------------------------------------------------------------


def _shows(it: _Call) -> bool:
    """Whether a call puts its arguments where people read them."""
    return any(map(libraries.is_print, it.paths)) or libraries.is_print_method(it.receiver_name, it.name)


def _printed(it: _Call) -> Value | None:
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


def _logged(it: _Call) -> Value | None:
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
    if any(map(_is_library, it.paths)) or it.any(_PASSING | _DROPPING):
        return None
    for node in it.node.args:
        if isinstance(node, ast.JoinedStr) or it.written[node].text is not None:
            continue
        if not words.is_counter(last_name(node)):
            _metric(it, node)
    for keyword in it.node.keywords:
        if keyword.arg is None or not words.is_counter(keyword.arg):
            _metric(it, keyword.value, keyword.arg)
    return Value(it.result_paths())


def _metric(it: _Call, node: ast.expr, key: str | None = None) -> None:
    it.flow.metric(it.written[node], key)


# --- functions and classes of the file ----------------------------------------------------------------------


def _local(it: _Call) -> Value | None:
    functions: frozenset[Function] = it.function.functions
    if functions:
        receiver = it.receiver if it.receiver.instances else None
        result = NOTHING
        for function in functions:
            args: Sequence[Value] = it.args
            if it.receiver.classes and function.owner and not function.is_static and args:
                receiver, args = args[0], args[1:]  # Class.method(instance, …)
            found = it.flow.inline(function, it.node, it.frame, args, it.keywords, it.rest, receiver)
            result = join(result, found)
        # A method of a class that is here to be read is no step for being called `update`.
        says_so = not it.receiver.instances or len(words.words(it.name)) > 1
        if result is NOTHING and says_so and not it.discarded and words.is_step(it.name, it.receiver_name):
            return _step_output(it, True)
        return result
    if it.function.classes:
        for owner in it.function.classes:
            _construct(it, owner)
        return Value(it.result_paths(), instances=it.function.classes)
    return None


def _construct(it: _Call, owner: Class) -> None:
    made = owner.attribute("__init__")
    instance = Value(instances=frozenset({owner}))
    if made is not None:
        for function in made.functions:
            it.flow.inline(function, it.node, it.frame, it.args, it.keywords, it.rest, instance)
        return
    fields = [
        each.target.id
        for each in owner.node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    ]
    for name, value in [*zip(fields, it.args, strict=False), *it.keywords.items()]:
        owner.set(name, value)


# --- what values pass through -------------------------------------------------------------------------------


def _mapped(it: _Call) -> Value | None:
    """``jax.tree.map(f, *trees)`` and ``map(f, …)``: f of what the trees hold."""
    if not it.any(libraries.TREE_MAPS) or not it.args:
        return None
    function, trees = it.args[0], it.args[1:]
    in_turn = it.any({"map"})
    if in_turn:
        it.frame.loops.append(it.node)
    result = _applied(it, function, trees)
    if in_turn:
        it.frame.loops.pop()
    return result


def _applied(it: _Call, function: Value, trees: Sequence[Value]) -> Value:
    leaves = [tagged(tree.tags) for tree in trees]
    result = NOTHING
    for each in () if function.compiled else function.functions:
        given = [NOTHING, *leaves] if "with_path" in it.name else leaves
        result = join(result, it.flow.inline(each, it.node, it.frame, given))
    if function.functions and not function.compiled:
        return result
    tree = tagged(tag for leaf in leaves for tag in leaf.tags)
    if function.paths & libraries.NUMBER_READS:
        it.name = "float"
        return _read_of(it, tree, it.node.args[-1], number=True)
    if function.paths & libraries.ARRAY_READS:
        return _read_of(it, tree, it.node.args[-1], number=False)
    if function.paths & (libraries.GATHERS | libraries.TRACED_GATHERS):
        return _gathered(it)
    return tree


def _decided(it: _Call) -> Value | None:
    """Schedulers, early stops, checkpoints: they are told numbers to decide something, and arrays to keep."""
    if it.function.functions or not (words.is_decider(it.name) or words.is_decider(it.receiver_name)):
        return None
    it.flow.use(tagged(tag for tag in it.tags if tag.whole), Use.NEEDED)
    it.flow.use(tagged(tag for tag in it.tags if not tag.whole), Use.CONTROL)
    return Value(it.result_paths())


def _mutation(it: _Call) -> Value | None:
    """``list.append``, ``dict.update`` and the like: what goes in is inside."""
    node = it.node.func
    if it.name not in libraries.MUTATORS or not isinstance(node, ast.Attribute):
        return None
    if not it.discarded and it.name not in ("setdefault",):
        return None
    container = _subscripted(node.value)
    flow, among = it.flow, words.is_metrics(last_name(container))
    given = NOTHING
    for value in it.values:
        given = holding(given, value)
    if isinstance(container, ast.Subscript):
        flow.keyed(container.slice, given, it.frame, among_metrics=among)
    elif it.name in ("update", "setdefault"):
        for key, value in it.keywords.items():
            flow.keyed(ast.Constant(key), value, it.frame, among_metrics=among)
        if among:
            flow.metric(tagged(tag for value in [*it.args, it.rest] for tag in value.tags))
    elif among:
        flow.metric(tagged(given.of_kind(Kind.READ)))
    names.absorb(flow, container, given, it.frame)
    return with_tags(it.receiver.element, given.tags)


def _subscripted(node: ast.expr) -> ast.expr:
    """``d.setdefault(key, [])`` as ``d[key]``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        inner = ast.copy_location(ast.Subscript(node.func.value, node.args[0], ast.Load()), node)
        return inner if node.func.attr == "setdefault" else node
    return node


def _reduction(it: _Call) -> Value | None:
    """Means, sums and extremes, as functions and as methods."""
    if it.name not in libraries.REDUCTIONS or it.function.functions:
        return None
    is_function = any(map(libraries.is_function, it.paths)) or it.any({"max", "min", "sum", "any", "all"})
    if not is_function and not it.receiver.tags:
        return None
    tags = frozenset(it.tags) | (frozenset() if is_function else it.receiver.tags)
    axis = it.args[1 if is_function else 0 :] or [
        it.keywords[name] for name in ("axis", "dim") if name in it.keywords
    ]
    if it.any({"max", "min"}) or it.name in ("percentile", "quantile", "nanpercentile", "nanquantile"):
        axis = []
    if any(map(libraries.is_numpy, it.paths)):
        tags = _numpy_tags(it, tags)
    if axis:
        return tagged(tags)
    for tag in tags:
        tag.origin.reductions.add(it.name)
    return tagged(Tag(tag.origin, tag.whole and tag.origin.kind in (Kind.STEP, Kind.CLOCK)) for tag in tags)


def _numpy_tags(it: _Call, tags: frozenset[Tag]) -> frozenset[Tag]:
    """NumPy reads what lies on a device."""
    steps = [tag for tag in tags if tag.origin.kind is Kind.STEP]
    if not steps:
        return tags
    rest = tags.difference(steps)
    operand = it.node.args[0] if it.node.args else it.node
    origin = _read_origin(it, steps, operand)
    return rest | {Tag(origin, True)} if origin else rest


def _size(it: _Call) -> Value | None:
    """Functions that are told how large something is to be."""
    known = it.name in libraries.SHAPERS and not it.function.functions
    if not known and not (words.is_shaper(it.name) and not it.function.functions):
        return None
    it.flow.use(tagged(tag for tag in it.tags if not tag.whole), Use.SIZE)
    kept = {tag for tag in it.tags | it.receiver.tags if tag.whole}
    return Value(
        frozenset({"range"}) if it.any({"range"}) else it.result_paths(),
        _numpy_tags(it, frozenset(kept)) if any(map(libraries.is_numpy, it.paths)) else frozenset(kept),
    )


def _passing(it: _Call) -> Value | None:
    """Functions whose result is made of their arguments."""
    if it.any({"bool"}):
        it.flow.use(tagged(it.tags), Use.CONTROL)
    if it.any(_DROPPING):
        if it.any({"str", "repr"}):
            it.flow.use(tagged(it.tags), Use.PRINT)
        return Value(it.result_paths())
    if it.any({"dict"}):
        for key, value in it.keywords.items():
            it.flow.keyed(ast.Constant(key), value, it.frame, among_metrics=False)
    if it.any(_PASSING):
        return tagged(it.tags)
    if any(map(libraries.is_numpy, it.paths)):
        return Value(it.result_paths(), _numpy_tags(it, frozenset(it.tags)))
    if any(map(libraries.stays_on_device, it.paths)):
        return Value(it.result_paths(), frozenset(it.tags | it.receiver.tags))
    if it.receiver.tags and isinstance(it.node.func, ast.Attribute) and not it.receiver.known:
        _pass_on(it, it.values)
        return with_tags(it.receiver.element, [tag for tag in it.tags if not tag.whole])
    if it.receiver.holds:
        return it.receiver.element
    return None


def _unknown(it: _Call) -> Value:
    """A function of which nothing is known, but its name."""
    if words.is_media(it.name):
        it.flow.use(tagged(tag for tag in it.tags if tag.whole), Use.NEEDED)
        return Value(it.result_paths())
    if it.name[:1].isupper():  # a class: its instance has what it is given
        return Value(it.result_paths(), frozenset(it.tags))
    size = [name for name in it.keywords if words.is_size(name)]
    for name in size:
        it.flow.use(tagged(tag for tag in it.keywords[name].tags if not tag.whole), Use.SIZE)
    if words.is_statistic(it.name):
        return Value(it.result_paths(), frozenset(it.tags | it.receiver.tags))
    _pass_on(it, it.values)
    return Value(it.result_paths(), it.receiver.tags)


def _pass_on(it: _Call, values: Iterable[Value]) -> None:
    for value in values:
        it.flow.use(value, Use.PASSED)


_STEPS = (
    _handed_over,
    _indirect,
    _clock,
    _transformation,
    _compiled_call,
    _collective,
    _read,
    _printed,
    _mapped,
    _local,
    _logged,
    _step_by_name,
    _decided,
    _mutation,
    _reduction,
    _size,
    _passing,
)
_STEPS_WITHOUT_A_NAME = tuple(
    step for step in _STEPS if step not in (_indirect, _clock, _transformation, _mapped)
)
