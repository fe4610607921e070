"""What statements do to what is known."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sightline.lint import compiled, expressions, libraries, names, words
from sightline.lint.frames import Class, Frame, Function
from sightline.lint.syntax import last_name
from sightline.lint.values import NOTHING, Kind, Use, Value, join, tagged, with_tags

if TYPE_CHECKING:
    from sightline.lint.flow import Flow


def body(flow: Flow, statements: Iterable[ast.stmt], frame: Frame) -> bool:
    """Read statements; whether they always leave the function."""
    for statement in statements:
        if frame.caller:
            flow.left -= 1
        if _STATEMENTS.get(statement.__class__, _ignore)(flow, statement, frame):
            return True
    return False


def _expression(flow: Flow, node: ast.Expr, frame: Frame) -> None:
    flow.discarded = node.value
    flow.eval(node.value, frame)


def _assign(flow: Flow, node: ast.Assign, frame: Frame) -> None:
    names.find_carried(flow, node.targets, node.value)
    value = flow.eval(node.value, frame)
    for target in node.targets:
        names.assign(flow, target, value, frame, node.value)


def _annotated_assign(flow: Flow, node: ast.AnnAssign, frame: Frame) -> None:
    value = NOTHING
    if node.value is not None:
        names.find_carried(flow, [node.target], node.value)
        value = flow.eval(node.value, frame)
    if not value.known or value.constant:
        value = join(expressions.annotated(flow, node.annotation, frame), value)
    if node.value is not None or value is not NOTHING:
        names.assign(flow, node.target, value, frame, node.value)


def _augmented_assign(flow: Flow, node: ast.AugAssign, frame: Frame) -> None:
    value = flow.eval(node.value, frame)
    before = flow.eval(node.target, frame)
    names.assign(flow, node.target, tagged(before.tags | value.tags), frame, node.value)


def _return(flow: Flow, node: ast.Return, frame: Frame) -> bool:
    if node.value is not None:
        value = flow.eval(node.value, frame)
        if not frame.caller:
            _needed_by_callers(flow, node.value, value)
        expressions.give(flow, value, frame)
    return True


def _needed_by_callers(flow: Flow, node: ast.expr, value: Value) -> None:
    """Note what goes out whole to callers that are not seen, and not among metrics."""
    if isinstance(node, ast.Tuple) and value.items is not None:
        for each, item in zip(node.elts, value.items, strict=True):
            _needed_by_callers(flow, each, item)
    elif not isinstance(node, (ast.Dict, ast.DictComp)) and not _speaks_of_metrics(node):
        arrays = value.of_kind(Kind.GATHERED, Kind.READ)
        whole = [tag for tag in arrays if tag.whole and not tag.origin.reduces]
        flow.use(tagged(whole), Use.NEEDED)


def _raise(flow: Flow, node: ast.Raise, frame: Frame) -> bool:
    for each in (node.exc, node.cause):
        if each is not None:
            flow.eval(each, frame)
    return True


def _assert(flow: Flow, node: ast.Assert, frame: Frame) -> None:
    expressions.test(flow, node.test, frame)
    if node.msg is not None:
        flow.eval(node.msg, frame)


def _if(flow: Flow, node: ast.If, frame: Frame) -> bool:
    ends: list[dict[str, Value]] = []
    leaves = True
    branch: ast.If | None = node
    while branch is not None:
        expressions.test(flow, branch.test, frame)
        before = dict(frame.names)
        frame.guards.append(branch)
        if not flow.body(branch.body, frame):
            ends.append(frame.names)
            leaves = False
        frame.guards.pop()
        frame.names = before
        rest = branch.orelse
        branch = rest[0] if len(rest) == 1 and isinstance(rest[0], ast.If) else None
        if branch is None and not flow.body(rest, frame):
            ends.append(frame.names)
            leaves = False
    if ends:
        frame.names = _joined(ends)
    return leaves


def loop(flow: Flow, node: ast.AST, frame: Frame, once: Callable[[], object]) -> None:
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


def _for(flow: Flow, node: ast.For | ast.AsyncFor, frame: Frame) -> None:
    each = expressions.element(flow, node.iter, frame)

    def once() -> None:
        names.assign(flow, node.target, each, frame)
        flow.body(node.body, frame)

    rooted = frame.rooted
    frame.rooted = rooted or _is_steps(node.iter)
    loop(flow, node, frame, once)
    frame.rooted = rooted
    flow.body(node.orelse, frame)


def _while(flow: Flow, node: ast.While, frame: Frame) -> None:
    def once() -> None:
        expressions.test(flow, node.test, frame)
        flow.body(node.body, frame)

    loop(flow, node, frame, once)
    flow.body(node.orelse, frame)


def _with(flow: Flow, node: ast.With | ast.AsyncWith, frame: Frame) -> bool:
    scopes, rooted = len(frame.scopes), frame.rooted
    exits: list[tuple[ast.expr, Function, Value]] = []
    for item in node.items:
        value = flow.eval(item.context_expr, frame)
        entered = value
        for owner in value.instances:
            enter, leave = owner.attribute("__enter__"), owner.attribute("__exit__")
            for function in enter.functions if enter else ():
                found = flow.inline(function, item.context_expr, frame, receiver=value)
                entered = join(value, found)
            exits += [(item.context_expr, each, value) for each in (leave.functions if leave else ())]
        if item.optional_vars is not None:
            names.assign(flow, item.optional_vars, entered, frame)
        if libraries.is_scope(value.paths):
            frame.scopes.append(value.text)
        if libraries.is_start(path.removesuffix("()") for path in value.paths):
            frame.rooted = True
    left = flow.body(node.body, frame)
    for expression, function, value in exits:
        flow.inline(function, expression, frame, receiver=value)
    del frame.scopes[scopes:]
    frame.rooted = rooted
    return left


def _try(flow: Flow, node: ast.Try, frame: Frame) -> bool:
    before = dict(frame.names)
    left = flow.body(node.body, frame)
    after = frame.names
    ends = []
    if not left:
        left = flow.body(node.orelse, frame)
        if not left:
            ends.append(frame.names)
    for handler in node.handlers:
        frame.names = _joined([before, after])
        if handler.type is not None:
            flow.eval(handler.type, frame)
        if handler.name:
            frame.set(handler.name, NOTHING)
        if not flow.body(handler.body, frame):
            ends.append(frame.names)
    frame.names = _joined(ends or [before, after])
    return flow.body(node.finalbody, frame) or not ends


def _match(flow: Flow, node: ast.Match, frame: Frame) -> None:
    subject = flow.eval(node.subject, frame)
    flow.use(subject, Use.CONTROL)
    ends = [dict(frame.names)]
    for case in node.cases:
        frame.names = dict(ends[0])
        found = _pattern(flow, case.pattern, subject, frame)
        if isinstance(node.subject, ast.Name) and found is not subject:
            frame.set(node.subject.id, found)
        if case.guard is not None:
            expressions.test(flow, case.guard, frame)
        if not flow.body(case.body, frame):
            ends.append(frame.names)
    frame.names = _joined(ends)


def _pattern(flow: Flow, pattern: ast.pattern, subject: Value, frame: Frame) -> Value:
    """Bind the names of a pattern; what is known of what it matches."""
    if isinstance(pattern, ast.MatchClass):
        made = expressions.instance_of(flow.eval(pattern.cls, frame))
        for each in [*pattern.patterns, *pattern.kwd_patterns]:
            _pattern(flow, each, tagged(subject.tags), frame)
        return with_tags(made, subject.tags)
    if isinstance(pattern, ast.MatchAs):
        found = _pattern(flow, pattern.pattern, subject, frame) if pattern.pattern else subject
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
            _pattern(flow, each, part, frame)
    return subject


def _import(flow: Flow, node: ast.Import, frame: Frame) -> None:
    for alias in node.names:
        path = alias.name if alias.asname else alias.name.partition(".")[0]
        frame.set(alias.asname or path, Value(frozenset({path})))


def _import_from(flow: Flow, node: ast.ImportFrom, frame: Frame) -> None:
    module = "." * node.level + (node.module or "")
    for alias in node.names:
        if alias.name == "*":
            flow.stars.add(module)
        else:
            path = f"{module}.{alias.name}" if node.module else module + alias.name
            frame.set(alias.asname or alias.name, Value(frozenset({path})))


def _definition(flow: Flow, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> None:
    function = flow.function(node, frame if frame.owner is None else frame.outer or frame)
    function.owner = frame.owner
    value = Value(functions=frozenset({function}))
    scopes: list[str | None] = []
    for decorator in reversed(node.decorator_list):
        made = flow.eval(decorator, frame)
        name = last_name(decorator)
        function.is_static = function.is_static or name == "staticmethod"
        function.is_property = function.is_property or name in ("property", "cached_property")
        if libraries.is_scope(made.paths):
            scopes.append(made.text)
        else:
            value = compiled.decorated(flow, decorator, made, value, frame)
    function.scopes = tuple(reversed(scopes))
    frame.set(node.name, value)
    if frame.owner is not None:
        frame.owner.set(node.name, value)


def _class(flow: Flow, node: ast.ClassDef, frame: Frame) -> None:
    owner = flow.classes.setdefault(node, Class(node))
    bases = [flow.eval(base, frame) for base in node.bases]
    owner.bases = [each for base in bases for each in base.classes if each is not owner]
    for decorator in node.decorator_list:
        flow.eval(decorator, frame)
    paths = frozenset(path for base in bases for path in base.paths)
    inner = Frame(frame, owner=owner)
    inner.rooted = False
    flow.body(node.body, inner)
    frame.set(node.name, Value(paths=paths, classes=frozenset({owner})))


def _delete(flow: Flow, node: ast.Delete, frame: Frame) -> None:
    for target in node.targets:
        if isinstance(target, ast.Name):
            frame.names.pop(target.id, None)


def _global(flow: Flow, node: ast.Global | ast.Nonlocal, frame: Frame) -> None:
    if isinstance(node, ast.Global):
        frame.global_names.update(node.names)


def _speaks_of_metrics(node: ast.expr) -> bool:
    return any(words.is_results(part.id) for part in ast.walk(node) if isinstance(part, ast.Name))


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


_STATEMENTS: dict[type, Callable[..., bool | None]] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated_assign,
    ast.AugAssign: _augmented_assign,
    ast.Return: _return,
    ast.Raise: _raise,
    ast.Assert: _assert,
    ast.If: _if,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.Match: _match,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.FunctionDef: _definition,
    ast.AsyncFunctionDef: _definition,
    ast.ClassDef: _class,
    ast.Delete: _delete,
    ast.Global: _global,
    ast.Nonlocal: _global,
}
