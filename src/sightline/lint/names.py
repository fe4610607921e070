"""What names, attributes and containers stand for, and what they are bound to."""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING

from sightline.lint import libraries, sinks, words
from sightline.lint.frames import Frame
from sightline.lint.syntax import asks, dotted, last_name, leaves
from sightline.lint.values import NOTHING, Kind, Tag, Use, Value, holding, join, tagged

if TYPE_CHECKING:
    from sightline.lint.flow import Flow

_BUILTINS = frozenset(dir(builtins))


def name_value(flow: Flow, node: ast.Name, frame: Frame) -> Value:
    """What a name stands for: what it is bound to, a builtin, or what a star import may have brought."""
    found = frame.get(node.id)
    if found is not None:
        return found
    if node.id in _BUILTINS:
        return Value(frozenset({node.id}))
    if flow.stars:
        return Value(frozenset(f"{module}.{node.id}" for module in flow.stars))
    return NOTHING


def attribute_of(flow: Flow, base: Value, node: ast.Attribute, frame: Frame) -> Value:
    """An attribute of a value: what was last assigned to it here, or else whatever it may be."""
    name = dotted(node)
    if name is not None and (found := frame.get(name)) is not None:
        return found
    return attribute(flow, base, node, frame)


def attribute(flow: Flow, base: Value, node: ast.Attribute, frame: Frame) -> Value:
    """What is known of an attribute of a value."""
    attr = node.attr
    if attr in libraries.ON_HOST:
        return NOTHING
    paths = frozenset(libraries.known_as(f"{path}.{attr}") for path in base.paths)
    if any(map(libraries.is_timer_reading, paths)) and not frame.benchmark:
        origin = flow.origin(Kind.ELAPSED, node, frame)
        return tagged([*base.tags, Tag(origin, False)])
    guessed = sinks.guessed(node.value, attr, base)
    if guessed:
        paths |= {guessed}
    value = Value(paths, base.tags, compiled=base.compiled and attr in ("lower", "compile", "trace", "func"))
    for owner in base.instances | base.classes:
        found = owner.attribute(attr)
        if found is None:
            continue
        for function in found.functions:
            if function.is_property and base.instances:
                value = join(value, flow.inline(function, node, frame, receiver=base))
                break
        else:
            value = join(value, found)
    return value


def assign(flow: Flow, target: ast.expr, value: Value, frame: Frame, node: ast.expr | None = None) -> None:
    """Bind a target; ``node`` is what is assigned, where it is written."""
    if isinstance(target, (ast.Tuple, ast.List)):
        plain = not any(isinstance(each, ast.Starred) for each in target.elts)
        if value.items is not None and plain and len(value.items) == len(target.elts):
            parts = value.items
        else:
            made_steps = Value(value.paths, value.tags, compiled=True) if value.compiled else None
            parts = (made_steps or tagged(value.tags),) * len(target.elts)
        made = node if isinstance(node, ast.Call) else None
        for each, part in zip(target.elts, parts, strict=True):
            assign(flow, each.value if isinstance(each, ast.Starred) else each, part, frame, made)
        return
    if isinstance(target, ast.Subscript):
        among = words.is_metrics(last_name(target.value))
        if not (value.of_kind(Kind.ELAPSED) and words.is_reply(last_name(target.value))):
            is_dict = node is not None and asks(node, target.value)
            flow.keyed(target.slice, value, frame, among_metrics=among, is_dict=is_dict)
        flow.eval(target.slice, frame)
        absorb(flow, target.value, value, frame)
        return
    name = dotted(target)
    if node is not None:
        for tag in value.tags:
            tag.origin.names.setdefault(last_name(target))
    if value.tags and words.is_metrics(last_name(target)):
        gathers = value.of_kind(Kind.GATHERED)
        if isinstance(node, (ast.Dict, ast.DictComp)) or _makes_dict(node):
            flow.metric(value, logged=False)
        elif any(tag.origin.of_metrics for tag in gathers):
            flow.metric(tagged(gathers), logged=False)
    if isinstance(target, ast.Attribute):
        base = flow.eval(target.value, frame)
        for owner in base.instances | base.classes:
            owner.set(target.attr, value)
        if words.is_metrics(last_name(target.value)):
            flow.metric(value, target.attr)
        elif words.is_setting(target.attr):
            flow.use(tagged(tag for tag in value.of_kind(Kind.READ) if not tag.whole), Use.CONTROL)
    if name is None:
        return
    if name in frame.backward and node is not None and not isinstance(node, (ast.Name, ast.Constant)):
        value = _torch_loss(flow, value, node, frame)
    frame.set(name, value)
    if frame.owner is not None:
        frame.owner.set(name, value)


def _torch_loss(flow: Flow, value: Value, node: ast.expr, frame: Frame) -> Value:
    """What PyTorch's ``backward`` is called on: a step's output; all else was computed with."""
    flow.use(value, Use.PASSED)
    origin = flow.origin(Kind.STEP, node, frame, how="backward")
    origin.step_like = True
    return tagged([*value.of_kind(Kind.STEP), Tag(origin, True)])


def absorb(flow: Flow, container: ast.expr, value: Value, frame: Frame) -> None:
    """What is put into a container is in the container."""
    if not value.tags and not value.paths and not value.holds:
        return
    while isinstance(container, ast.Subscript):
        container = container.value
    name = dotted(container)
    if name is None:
        return
    before = flow.eval(container, frame)
    after = holding(before, value)
    if isinstance(container, ast.Attribute):
        for owner in flow.eval(container.value, frame).instances:
            owner.set(container.attr, holding(owner.attributes.get(container.attr, NOTHING), value))
    if after is not before:
        where: Frame = frame
        while name not in where.names and where.outer and where.get(name) is not None:
            where = where.outer
        where.names[name] = after
        where.has_paths = where.has_paths or "." in name


def find_carried(flow: Flow, targets: list[ast.expr], value: ast.expr) -> None:
    """Note a call that is given what it changes, as in ``state, loss = f(state, batch)``."""
    call = value.value if isinstance(value, ast.Await) else value
    if isinstance(call, ast.Call):
        given = {dotted(each) for each in [*call.args, *(keyword.value for keyword in call.keywords)]}
        changed = {dotted(each) for target in targets for each in leaves(target)}
        if (given & changed) - {None}:
            flow.carried.add(call)


def _makes_dict(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict"
