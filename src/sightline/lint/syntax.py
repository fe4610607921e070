"""Small questions to a syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.lint import words


def dotted(node: ast.AST) -> str | None:
    """``"a.b.c"`` for names and attributes of names; None for all else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def last_name(node: ast.AST) -> str:
    """The identifier by which an expression goes: ``"log"`` of ``self.run.log(…)``; empty without one."""
    while True:
        if isinstance(node, ast.Attribute):
            return node.attr
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, (ast.Subscript, ast.Starred, ast.Await)):
            node = node.value
        else:
            return ""


def literal_start(node: ast.AST | None) -> str | None:
    """A string that is written out, or the beginning of an f-string that is."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr) and node.values:
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return literal_start(node.left)
    return None


def asks(node: ast.expr, container: ast.expr) -> bool:
    """Whether an expression has a ``get`` of a container, which is a dict then: ``d.get(k, 0) + x``."""
    return any(
        isinstance(part, ast.Call)
        and isinstance(part.func, ast.Attribute)
        and part.func.attr == "get"
        and dotted(part.func.value) is not None
        and dotted(part.func.value) == dotted(container)
        for part in ast.walk(node)
    )


def leaves(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for each in target.elts:
            yield from leaves(each)
    elif isinstance(target, ast.Starred):
        yield from leaves(target.value)
    else:
        yield target


def backward_names(node: ast.AST) -> set[str]:
    """The variables on which PyTorch's ``backward`` is called, and the losses that they are sums of."""
    found: set[str] = set()
    sums: list[tuple[str, ast.expr]] = []
    for part in ast.walk(node):
        if isinstance(part, (ast.Assign, ast.AugAssign)):
            target = part.targets[0] if isinstance(part, ast.Assign) else part.target
            sums.append((dotted(target) or "", part.value))
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            where = [*part.args] if part.func.attr in ("backward", "manual_backward") else []
            on = part.func.value  # the loss, scaler.scale(loss), or an accelerator that is given it
            if part.func.attr == "backward" and (not part.args or words.is_loss(last_name(on))):
                where += [on, *(on.args if isinstance(on, ast.Call) else [])]
            found.update(name for each in where if (name := dotted(each)))
    while (
        more := {
            term for name, value in sums if name in found for term in _terms(value) if words.is_loss(term)
        }
        - found
    ):
        found |= more
    return found


def _terms(node: ast.expr) -> Iterator[str]:
    """The variables of a sum or product that is written out."""
    if isinstance(node, ast.BinOp):
        yield from _terms(node.left)
        yield from _terms(node.right)
    elif isinstance(node, ast.UnaryOp):
        yield from _terms(node.operand)
    elif name := dotted(node):
        yield name
