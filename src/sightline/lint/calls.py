"""What a call does to what is known: where values of interest arise, pass through, and end."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sightline.lint import libraries, names, sinks, words
from sightline.lint.call import Call
from sightline.lint.compiled import compiled_call, step_by_name, step_factory, step_output, transformation
from sightline.lint.ends import logged, printed
from sightline.lint.frames import Called, Class, Frame, Function
from sightline.lint.gathers import collective, gathered
from sightline.lint.host_reads import numpy_tags, read, read_of
from sightline.lint.syntax import last_name
from sightline.lint.values import NOTHING, Kind, Tag, Use, Value, holding, join, tagged, with_tags

if TYPE_CHECKING:
    from sightline.lint.flow import Flow


_SAME = frozenset({"contextlib.closing", "contextlib.nullcontext", "functools.partial", "typing.cast"})


def call(flow: Flow, node: ast.Call, frame: Frame) -> Value:
    """Read a call; what is known of what it gives."""
    it = Call(flow, node, frame)
    called = flow.called.setdefault(node, Called(node))
    called.paths |= it.paths
    called.scopes.add((tuple(frame.scopes), frame.rooted))
    for step in _STEPS if it.paths else _STEPS_WITHOUT_A_NAME:
        value = step(it)
        if value is not None:
            return value
    return _unknown(it)


# --- what gives something else of the same ------------------------------------------------------------------


def _indirect(it: Call) -> Value | None:
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


def _handed_over(it: Call) -> Value | None:
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


def _clock(it: Call) -> Value | None:
    if any(map(libraries.is_timer_stop, it.paths)) and not it.frame.benchmark:
        return tagged([Tag(it.flow.origin(Kind.ELAPSED, it.node, it.frame), False)])
    if not it.any(libraries.CLOCKS):
        return None
    return tagged([Tag(it.flow.origin(Kind.CLOCK, it.node, it.frame), True)])


# --- functions and classes of the file ----------------------------------------------------------------------


def _measured(it: Call) -> None:
    """Times that stand in an object of metrics: ``StepMetrics(seconds=now - began)``."""
    if it.name[:1].isupper() and words.is_metrics_class(it.name):
        for key, value in [*it.keywords.items(), *((None, each) for each in it.args)]:
            it.flow.metric(tagged(value.of_kind(Kind.ELAPSED)), key)


def _local(it: Call) -> Value | None:
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
            return step_output(it, True)
        return (step_factory(it) or result) if result is NOTHING else result
    if it.function.classes:
        _measured(it)
        for owner in it.function.classes:
            _construct(it, owner)
        return Value(it.result_paths(), instances=it.function.classes)
    return None


def _construct(it: Call, owner: Class) -> None:
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


def _mapped(it: Call) -> Value | None:
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


def _applied(it: Call, function: Value, trees: Sequence[Value]) -> Value:
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
        return read_of(it, tree, it.node.args[-1], number=True)
    if function.paths & libraries.ARRAY_READS:
        return read_of(it, tree, it.node.args[-1], number=False)
    if function.paths & (libraries.GATHERS | libraries.TRACED_GATHERS):
        return gathered(it)
    return tree


def _decided(it: Call) -> Value | None:
    """Schedulers, early stops, checkpoints: they are told numbers to decide something, and arrays to keep."""
    if it.function.functions or not it.decides:
        return None
    it.flow.use(tagged(it.tags), Use.DECIDES)
    it.flow.use(tagged(tag for tag in it.tags if tag.whole), Use.NEEDED)
    it.flow.use(tagged(tag for tag in it.tags if not tag.whole), Use.CONTROL)
    return Value(it.result_paths())


def _mutation(it: Call) -> Value | None:
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


def _reduction(it: Call) -> Value | None:
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
        tags = numpy_tags(it, tags)
    if axis:
        few = [tag for tag in tags if tag.origin.few]  # sums of a few numbers are numbers
        for tag in few:
            tag.origin.reductions.add(it.name)
        return tagged([*tags.difference(few), *(Tag(tag.origin, False) for tag in few)])
    for tag in tags:
        tag.origin.reductions.add(it.name)
    return tagged(Tag(tag.origin, tag.whole and tag.origin.kind in (Kind.STEP, Kind.CLOCK)) for tag in tags)


def _size(it: Call) -> Value | None:
    """Functions that are told how large something is to be."""
    known = it.name in libraries.SHAPERS and not it.function.functions
    if not known and not (words.is_shaper(it.name) and not it.function.functions):
        return None
    it.flow.use(tagged(tag for tag in it.tags if not tag.whole), Use.SIZE)
    kept = {tag for tag in it.tags | it.receiver.tags if tag.whole}
    return Value(
        frozenset({"range"}) if it.any({"range"}) else it.result_paths(),
        numpy_tags(it, frozenset(kept)) if any(map(libraries.is_numpy, it.paths)) else frozenset(kept),
    )


def _passing(it: Call) -> Value | None:
    """Functions whose result is made of their arguments."""
    if it.any({"bool"}):
        it.flow.use(tagged(it.tags), Use.CONTROL)
    if it.any(libraries.DROPPING):
        if it.any({"str", "repr"}):
            it.flow.use(tagged(it.tags), Use.PRINT)
        return Value(it.result_paths())
    if it.any({"dict"}):
        for key, value in it.keywords.items():
            it.flow.keyed(ast.Constant(key), value, it.frame, among_metrics=False)
    if it.any(libraries.PASSING):
        return tagged(it.tags)
    if any(map(libraries.is_numpy, it.paths)):
        return Value(it.result_paths(), numpy_tags(it, frozenset(it.tags)))
    if any(map(libraries.stays_on_device, it.paths)):
        items = it.args[0].items if it.args and it.name in libraries.ARRAY_MAKERS else None
        return Value(it.result_paths(), frozenset(it.tags | it.receiver.tags), items=items)
    if it.receiver.tags and isinstance(it.node.func, ast.Attribute) and not it.receiver.known:
        _pass_on(it, it.values)
        return with_tags(it.receiver.element, [tag for tag in it.tags if not tag.whole])
    if it.receiver.holds:
        return it.receiver.element
    return None


def _unknown(it: Call) -> Value:
    """A function of which nothing is known, but its name."""
    if words.is_media(it.name):
        it.flow.use(tagged(tag for tag in it.tags if tag.whole), Use.NEEDED)
        return Value(it.result_paths())
    if it.name[:1].isupper():  # a class: its instance has what it is given
        _measured(it)
        return Value(it.result_paths(), frozenset(it.tags))
    for name, value in it.keywords.items():
        if words.is_setting(name):
            it.flow.use(tagged(tag for tag in value.of_kind(Kind.READ) if not tag.whole), Use.CONTROL)
            it.keywords[name] = tagged(tag for tag in value.tags if tag.origin.kind is not Kind.READ)
    size = [name for name in it.keywords if words.is_size(name)]
    for name in size:
        it.flow.use(tagged(tag for tag in it.keywords[name].tags if not tag.whole), Use.SIZE)
    if words.is_statistic(it.name):
        return Value(it.result_paths(), frozenset(it.tags | it.receiver.tags))
    _pass_on(it, it.values)
    return Value(it.result_paths(), it.receiver.tags)


def _pass_on(it: Call, values: Iterable[Value]) -> None:
    for value in values:
        it.flow.use(value, Use.PASSED)


_STEPS = (
    _handed_over,
    _indirect,
    _clock,
    transformation,
    compiled_call,
    collective,
    read,
    printed,
    _mapped,
    _local,
    logged,
    step_by_name,
    step_factory,
    _decided,
    _mutation,
    _reduction,
    _size,
    _passing,
)
_STEPS_WITHOUT_A_NAME = tuple(
    step for step in _STEPS if step not in (_indirect, _clock, transformation, _mapped)
)
