"""What is known of an expression's value."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from sightline.lint import calls, compiled, names, words
from sightline.lint.frames import Frame
from sightline.lint.syntax import dotted, last_name, leaves
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

if TYPE_CHECKING:
    from sightline.lint.flow import Flow


def read(flow: Flow, node: ast.expr, frame: Frame) -> Value:
    """Read an expression; what is known of its value."""
    return _EXPRESSIONS.get(node.__class__, _unknown)(flow, node, frame)


def _constant(flow: Flow, node: ast.Constant, frame: Frame) -> Value:
    return Value(text=node.value, constant=True) if isinstance(node.value, str) else CONSTANT


def _attribute(flow: Flow, node: ast.Attribute, frame: Frame) -> Value:
    base = flow.eval(node.value, frame)
    if (
        not base.tags
        and not base.instances
        and (given := compiled.hooked_attribute(flow, node, frame)) is not NOTHING
    ):
        return given
    return names.attribute_of(flow, base, node, frame)


def _subscript(flow: Flow, node: ast.Subscript, frame: Frame) -> Value:
    base = flow.eval(node.value, frame)
    index = flow.eval(node.slice, frame)
    if isinstance(node.slice, ast.Slice):
        flow.use(tagged(tag for tag in index.of_kind(Kind.GATHERED) if not tag.whole), Use.SIZE)
    if base.items is not None and isinstance(node.slice, ast.Constant):
        at = node.slice.value
        if isinstance(at, int) and -len(base.items) <= at < len(base.items):
            return base.items[at]
    if index.text is not None:
        base = _under(base, index.text)
        for tag in base.of_kind(Kind.READ):
            tag.origin.has_names = tag.origin.has_names or tag.whole
    chosen = [tag for tag in index.of_kind(Kind.GATHERED) if tag.whole and base.tags]  # by a mask
    _note_mask(chosen, base.of_kind(Kind.GATHERED))
    one_of = [tag for tag in base.of_kind(Kind.GATHERED) if tag.origin.few and tag.origin.reduces]
    if one_of and isinstance(node.slice, ast.Constant):
        numbers = [Tag(tag.origin, False) for tag in one_of]
        return Value(base.holds, base.tags.difference(one_of).union(numbers))
    return with_tags(base.element, chosen)


def _under(container: Value, key: str) -> Value:
    """The same container with those numbers alone that were put under a key, where any was."""
    numbers = container.of_kind(Kind.GATHERED, Kind.READ, Kind.ELAPSED)
    others = [tag for tag in numbers if key not in tag.origin.keys]
    if len(others) in (0, len(numbers)):
        return container
    return replace(container, tags=container.tags.difference(others))


def _slice(flow: Flow, node: ast.Slice, frame: Frame) -> Value:
    tags = {
        tag
        for each in (node.lower, node.upper, node.step)
        if each is not None
        for tag in flow.eval(each, frame).tags
    }
    return tagged(tags)


def _call(flow: Flow, node: ast.Call, frame: Frame) -> Value:
    return calls.call(flow, node, frame)


def _operation(flow: Flow, node: ast.BinOp, frame: Frame) -> Value:
    chain: list[ast.BinOp] = []  # a + b + c + … leans to the left, and can be long
    left: ast.expr = node
    while isinstance(left, ast.BinOp):
        chain.append(left)
        left = left.left
    value = flow.eval(left, frame)
    first = _reading(value, left, ast.Add())
    began, ended = first is ast.Sub, first is ast.Add  # in the sum so far: -t0 + …, time.time() + …
    for each in reversed(chain):
        right = flow.eval(each.right, frame)
        reading = _reading(right, each.right, each.op)
        before, value = value, _combine(flow, each, value, right, frame)
        taken = (began and reading is ast.Add) or (ended and reading is ast.Sub)
        if taken and not frame.traced and not frame.benchmark and not _arises(value, each):
            origin = flow.origin(Kind.ELAPSED, each, frame)
            readings = [*right.of_kind(Kind.CLOCK), *before.of_kind(Kind.CLOCK)]
            origin.here = flow.made_here([tag.origin for tag in readings], frame)
            value = tagged([*value.tags, Tag(origin, False)])
        if not isinstance(each.op, (ast.Add, ast.Sub)):
            began = ended = False
        began, ended = began or reading is ast.Sub, ended or reading is ast.Add
    return value


def _arises(value: Value, node: ast.expr) -> bool:
    return any(tag.origin.node is node for tag in value.of_kind(Kind.ELAPSED))


def _reading(value: Value, node: ast.expr, op: ast.operator) -> type[ast.operator] | None:
    """Whether a term of a sum is a clock that is read there, or an earlier reading that is taken off."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node, op = node.operand, ast.Sub()
    if not any(tag.whole for tag in value.of_kind(Kind.CLOCK)):
        return None
    is_now = isinstance(node, ast.Call) or words.is_now(last_name(node))
    if isinstance(op, ast.Add) and is_now:
        return ast.Add
    return ast.Sub if isinstance(op, ast.Sub) and not isinstance(node, ast.Call) else None


def _combine(flow: Flow, node: ast.BinOp, left: Value, right: Value, frame: Frame) -> Value:
    clocks = left.of_kind(Kind.CLOCK), right.of_kind(Kind.CLOCK)
    now = {tag.origin for tag in clocks[0]}
    before = [tag for tag in clocks[1] if tag.whole or tag.origin not in now]  # now - int(now) is none
    tags = (left.tags | right.tags).difference(*clocks)
    numbers = [tag for tag in tags if not tag.whole and Tag(tag.origin, True) in tags]
    flow.use(tagged(numbers), Use.PASSED)  # an array is normalised by what it is reduced to
    tags = tags.difference(numbers)
    if isinstance(node.op, ast.Sub) and (now or before) and not frame.traced and not frame.benchmark:
        began = before or (_is_unknown(right) and words.is_start(last_name(node.right)))
        ended = now or (_is_unknown(left) and words.is_now(last_name(node.left)))
        if began and ended:
            origin = flow.origin(Kind.ELAPSED, node, frame)
            origin.here = flow.made_here([tag.origin for tag in before], frame) if before else False
            return tagged([*tags, Tag(origin, False)])
    if not isinstance(node.op, ast.Div):
        _computes_with(flow, left, right)
    _computes_with(flow, right, left)  # also a local value by a number of all
    _note_ratio_or_mask(node, left, right)
    if isinstance(node.op, (ast.Mult, ast.Div)):  # seconds as milliseconds are a clock's still
        tags = tags.union(*clocks)
    return tagged(tags)


def _note_ratio_or_mask(node: ast.BinOp, left: Value, right: Value) -> None:
    """Note of gathers that one is divided by the other, or that one masks the other."""
    gathers = left.of_kind(Kind.GATHERED), right.of_kind(Kind.GATHERED)
    if isinstance(node.op, ast.Div):
        for tag in set(gathers[0]).intersection(gathers[1]):
            tag.origin.is_ratio = True
        if len(gathers[0]) == len(gathers[1]) == 1:
            (over,), (under,) = gathers
            _note_parts(over.origin, under.origin)
    if isinstance(node.op, ast.Mult) and all(gathers):
        for by, of, masks in ((node.right, *gathers), (node.left, *gathers[::-1])):
            if "mask" in words.words(last_name(by)):
                _note_mask(masks, of)


def _note_parts(over: Origin, under: Origin) -> None:
    if over is not under and over.operand is not None and under.operand is not None:
        for origin in (over, under):
            origin.parts = origin.parts or (over.operand, under.operand)


def _note_mask(masks: list[Tag], of: Iterable[Tag]) -> None:
    for mask in masks:
        mask.origin.is_mask = True
        for tag in of:
            if tag.origin is not mask.origin:
                tag.origin.mask = tag.origin.mask or mask.origin.operand


def _is_unknown(value: Value) -> bool:
    return not value.known and not value.tags


def _computes_with(flow: Flow, value: Value, other: Value) -> None:
    """Note that a number from all processes goes into what is computed of other values."""
    if not other.constant and not other.of_kind(Kind.GATHERED):
        flow.use(tagged(tag for tag in value.of_kind(Kind.GATHERED) if not tag.whole), Use.PASSED)


def _unary(flow: Flow, node: ast.UnaryOp, frame: Frame) -> Value:
    return tagged(flow.eval(node.operand, frame).tags)


def _either(flow: Flow, node: ast.BoolOp, frame: Frame) -> Value:
    value = flow.eval(node.values[0], frame)
    for each in node.values[1:]:
        value = join(value, flow.eval(each, frame))
    return value


def _compare(flow: Flow, node: ast.Compare, frame: Frame) -> Value:
    """Of arrays it is an array; of numbers it decides something."""
    arrays: set[Tag] = set()
    for each in (node.left, *node.comparators):
        value = flow.eval(each, frame)
        numbers = [tag for tag in value.tags if not tag.whole]
        flow.use(tagged(numbers), Use.CONTROL)
        arrays.update(tag for tag in value.tags if tag.whole and tag.origin.kind is not Kind.CLOCK)
    return tagged(arrays)


def _conditional(flow: Flow, node: ast.IfExp, frame: Frame) -> Value:
    test(flow, node.test, frame)
    return join(flow.eval(node.body, frame), flow.eval(node.orelse, frame))


def _sequence(flow: Flow, node: ast.Tuple | ast.List | ast.Set, frame: Frame) -> Value:
    items = [flow.eval(each, frame) for each in node.elts]
    tags = frozenset(tag for item in items for tag in item.tags)
    holds = frozenset(path for item in items for path in item.paths)
    if any(isinstance(each, ast.Starred) for each in node.elts) or len(items) > 32 or _depth(items) > 3:
        return Value(tags=tags, holds=holds)
    return Value(tags=tags, items=tuple(items), holds=holds)


def _depth(items: list[Value]) -> int:
    """How deep tuples lie in tuples: a loop may put one into itself."""
    depth = 0
    while items:
        items = [inner for item in items for inner in item.items or ()]
        depth += 1
    return depth


def _dict(flow: Flow, node: ast.Dict, frame: Frame) -> Value:
    whole = NOTHING
    for key, each in zip(node.keys, node.values, strict=True):
        if key is not None:
            flow.eval(key, frame)
        value = flow.eval(each, frame)
        if key is not None:
            flow.keyed(key, value, frame, among_metrics=False)
        whole = holding(whole, value)
    return CONSTANT if whole is NOTHING else whole


def _formatted(flow: Flow, node: ast.JoinedStr, frame: Frame) -> Value:
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            flow.use(flow.eval(part.value, frame), Use.PRINT)
            if part.format_spec is not None:
                flow.eval(part.format_spec, frame)
    return CONSTANT


def _lambda(flow: Flow, node: ast.Lambda, frame: Frame) -> Value:
    return Value(functions=frozenset({flow.function(node, frame)}))


def _comprehension(
    flow: Flow, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, frame: Frame
) -> Value:
    before = dict(frame.names)
    for generator in node.generators:
        each = element(flow, generator.iter, frame)
        frame.loops.append(node)
        names.assign(flow, generator.target, each, frame)
        for condition in generator.ifs:
            test(flow, condition, frame)
    if isinstance(node, ast.DictComp):
        flow.eval(node.key, frame)
        value = flow.eval(node.value, frame)
        flow.keyed(node.key, value, frame, among_metrics=False)
    else:
        value = flow.eval(node.elt, frame)
    del frame.loops[-len(node.generators) :]
    bound = {name for each in node.generators for leaf in leaves(each.target) if (name := dotted(leaf))}
    for name in bound:
        if name in before:
            frame.names[name] = before[name]
        else:
            frame.names.pop(name, None)
    return tagged(value.tags)


def _walrus(flow: Flow, node: ast.NamedExpr, frame: Frame) -> Value:
    names.find_carried(flow, [node.target], node.value)
    value = flow.eval(node.value, frame)
    names.assign(flow, node.target, value, frame, node.value)
    return flow.eval(node.target, frame)


def _inside(flow: Flow, node: ast.Await | ast.Starred, frame: Frame) -> Value:
    return flow.eval(node.value, frame)


def _yield(flow: Flow, node: ast.Yield | ast.YieldFrom, frame: Frame) -> Value:
    if node.value is not None:
        give(flow, flow.eval(node.value, frame), frame)
    return NOTHING


def annotated(flow: Flow, annotation: ast.expr, frame: Frame) -> Value:
    """What is known of a value with this annotation."""
    if isinstance(annotation, ast.Constant):
        if not isinstance(annotation.value, str):
            return NOTHING
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except (SyntaxError, ValueError, RecursionError):
            return NOTHING
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return join(annotated(flow, annotation.left, frame), annotated(flow, annotation.right, frame))
    if isinstance(annotation, ast.Subscript):
        kind = last_name(annotation.value)
        if kind not in ("Optional", "Union", "Annotated", "Final", "ClassVar"):
            return NOTHING
        inner = annotation.slice
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        value = NOTHING
        for part in parts[:1] if kind == "Annotated" else parts:
            value = join(value, annotated(flow, part, frame))
        return value
    if isinstance(annotation, (ast.Name, ast.Attribute)):
        return instance_of(flow.eval(annotation, frame))
    return NOTHING


def instance_of(value: Value) -> Value:
    """An instance of a class."""
    paths = frozenset(f"{path}()" for path in value.paths if "." in path)
    return Value(paths=paths, instances=value.classes) if paths or value.classes else NOTHING


def element(flow: Flow, node: ast.expr, frame: Frame) -> Value:
    """What iterating over an expression gives."""
    if isinstance(node, ast.Call):
        over = flow.eval(node.func, frame).paths if isinstance(node.func, ast.Name) else frozenset()
        if over & {"enumerate"} and node.args:
            return Value(items=(NOTHING, element(flow, node.args[0], frame)))
        if over & {"zip"} and not any(isinstance(each, ast.Starred) for each in node.args):
            parts = tuple(element(flow, each, frame) for each in node.args)
            return Value(items=parts, tags=frozenset(tag for part in parts for tag in part.tags))
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "values"):
            receiver = flow.eval(node.func.value, frame)
            if not receiver.instances:
                held = receiver.element
                return Value(items=(NOTHING, held)) if node.func.attr == "items" else held
        if over & {"range"}:
            flow.eval(node, frame)
            return Value(paths=frozenset({"range"}))
    value = flow.eval(node, frame)
    if value.items:
        first, *others = value.items
        for item in others:
            first = join(first, item)
        return first
    return value.element


def test(flow: Flow, node: ast.expr, frame: Frame) -> None:
    """Read a condition."""
    flow.use(flow.eval(node, frame), Use.CONTROL)


def give(flow: Flow, value: Value, frame: Frame) -> None:
    """Return or yield a value."""
    flow.use(value, Use.RETURNED)
    frame.returned = join(frame.returned, value)


def _unknown(flow: Flow, node: ast.expr, frame: Frame) -> Value:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            flow.eval(child, frame)
    return NOTHING


_EXPRESSIONS: dict[type, Callable[..., Value]] = {
    ast.Constant: _constant,
    ast.Name: names.name_value,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Slice: _slice,
    ast.Call: _call,
    ast.BinOp: _operation,
    ast.UnaryOp: _unary,
    ast.BoolOp: _either,
    ast.Compare: _compare,
    ast.IfExp: _conditional,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Set: _sequence,
    ast.Dict: _dict,
    ast.JoinedStr: _formatted,
    ast.Lambda: _lambda,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.NamedExpr: _walrus,
    ast.Await: _inside,
    ast.Starred: _inside,
    ast.Yield: _yield,
    ast.YieldFrom: _yield,
}
