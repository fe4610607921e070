"""Reads: calls that wait until a value is on the host."""

from __future__ import annotations

import ast

from sightline.lint import libraries, words
from sightline.lint.call import Call
from sightline.lint.frames import Frame
from sightline.lint.values import Kind, Origin, Tag, Use, Value, tagged
from sightline.lint.words import named

_KEEPING = named(
    "save savez checkpoint checkpoints ckpt checkpointer checkpointing profiler profile profiling trace "
    "tracer"
)


def read(it: Call) -> Value | None:
    """``float(x)``, ``x.item()``, ``np.asarray(x)``, ``block_until_ready`` and their like."""
    method = not it.args and it.name
    if it.any(libraries.NUMBER_READS) and it.args:
        return read_of(it, it.args[0], it.node.args[0], number=True)
    if method in libraries.NUMBER_METHODS and isinstance(it.node.func, ast.Attribute):
        return read_of(it, it.receiver, it.node.func.value, number=True)
    if it.any(libraries.ARRAY_READS) and it.args:
        return read_of(it, it.args[0], it.node.args[0], number=it.any({"int"}))
    if method in libraries.ARRAY_METHODS and isinstance(it.node.func, ast.Attribute):
        return read_of(it, it.receiver, it.node.func.value, number=False)
    if it.name == "block_until_ready":
        value, node = (it.args[0], it.node.args[0]) if it.args else (it.receiver, it.node.func)
        if isinstance(node, ast.Attribute) and not it.args:
            node = node.value
        steps = [tag for tag in value.of_kind(Kind.STEP) if tag.origin.step_like]
        if steps and not _keeps_something(it.frame):
            _read_origin(it, steps, node)
        return value
    return None


def read_of(it: Call, value: Value, node: ast.expr, *, number: bool) -> Value:
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


def _read_origin(it: Call, steps: list[Tag], node: ast.expr) -> Origin | None:
    """A read of these step outputs here; None where reading holds nobody."""
    frame = it.frame
    active = it.flow.active_loops(frame)
    in_loop = [tag.origin for tag in steps if not active.isdisjoint(tag.origin.loops)]
    if not in_loop or frame.traced or frame.benchmark or any(_once(guard.test) for guard in _guards(frame)):
        return None
    origin = it.flow.origin(Kind.READ, it.node, frame, how=it.name, operand=node)
    origin.step_like = origin.step_like or any(step.step_like for step in in_loop)
    origin.read.update(in_loop)
    origin.here = it.flow.made_here(in_loop, frame)
    return origin


def _guards(frame: Frame) -> list[ast.If]:
    """The branches around what is read now, within its loop."""
    return [guard for each in frame.chain() for guard in each.guards]


def _once(test: ast.expr) -> bool:
    """Whether a condition holds in one turn of its loop: ``step == 0``, ``dump and step == first``."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(map(_once, test.values))
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
        _keeps(part.attr if isinstance(part, ast.Attribute) else part.id)
        for guard in _guards(frame)
        for statement in guard.body
        for part in ast.walk(statement)
        if isinstance(part, (ast.Attribute, ast.Name))
    )


def _keeps(name: str) -> bool:
    return not _KEEPING.isdisjoint(words.words(name)) or name == "wait_until_finished"  # of Orbax


def numpy_tags(it: Call, tags: frozenset[Tag]) -> frozenset[Tag]:
    """NumPy reads what lies on a device."""
    steps = [tag for tag in tags if tag.origin.kind is Kind.STEP]
    if not steps:
        return tags
    rest = tags.difference(steps)
    operand = it.node.args[0] if it.node.args else it.node
    origin = _read_origin(it, steps, operand)
    return rest | {Tag(origin, True)} if origin else rest
