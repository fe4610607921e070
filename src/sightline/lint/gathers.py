"""Collectives: calls whose values come from all processes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from sightline.lint import libraries, names
from sightline.lint.call import Call
from sightline.lint.frames import Function
from sightline.lint.syntax import dotted, last_name
from sightline.lint.values import NOTHING, Kind, Tag, Value, tagged

if TYPE_CHECKING:
    from sightline.lint.flow import Flow


def gathered(it: Call, *, reduces: bool = False, how: str = "") -> Value:
    """What a collective gives."""
    operand = it.node.args[0] if it.node.args else None
    origin = it.flow.origin(Kind.GATHERED, it.node, it.frame, how=how or it.name, operand=operand)
    origin.reduces = reduces
    origin.few = origin.few or _is_few(it.args[0] if it.args else NOTHING, operand)
    return tagged([Tag(origin, True)])


def _is_few(value: Value, node: ast.expr | None) -> bool:
    """Whether something is an array of two or more numbers that are written out."""
    while isinstance(node, ast.Call) and last_name(node) in libraries.ARRAY_MAKERS and node.args:
        node = node.args[0]
    parts = len(node.elts) if isinstance(node, (ast.List, ast.Tuple)) else len(value.items or ())
    return parts >= 2


def collective(it: Call) -> Value | None:
    """Collectives by their names, also those that write into an argument."""
    if it.any(libraries.GATHERS) or it.any(libraries.TRACED_GATHERS):
        return gathered(it)
    if not it.function.known and libraries.is_accelerator_gather(it.receiver_name, it.name):
        return gathered(it)
    if libraries.is_mpi(it.paths, it.receiver_name, it.name):
        return gathered(it, how=f"comm.{it.name}")
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
        if path.startswith("mpi4py."):
            value, sent = gathered(it, how=f"comm.{it.name}"), it.node.args[0]
            operand = target if last_name(sent) == "IN_PLACE" else sent
        else:
            value = gathered(it, reduces="gather" not in path)
            two = at == 0 and len(it.node.args) > 1 and "gather" in path
            operand = it.node.args[1] if two else target
        next(iter(value.tags)).origin.operand = operand
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


def only_sums(flow: Flow, function: Function) -> bool:
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
