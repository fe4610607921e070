"""Compiled functions and steps: what makes them, and what they give, which lies on a device."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from sightline.lint import libraries, words
from sightline.lint.call import Call
from sightline.lint.frames import Frame
from sightline.lint.gathers import gathered, only_sums
from sightline.lint.syntax import last_name, literal_start
from sightline.lint.values import NOTHING, Kind, Tag, Use, Value, tagged

if TYPE_CHECKING:
    from sightline.lint.flow import Flow

_ABOUT_DEVICES = re.compile(r"^\s*(?:import|from) (?:jax|flax|sightline)\b", re.MULTILINE)


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


def transformation(it: Call) -> Value | None:
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


def compiled_call(it: Call) -> Value | None:
    """What a compiled function gives lies on a device."""
    if not it.function.compiled:
        return None
    if it.name in ("lower", "compile", "trace") and it.receiver.compiled:
        return Value(compiled=True)
    for function in it.function.functions:
        if only_sums(it.flow, function):
            return gathered(it, reduces=True)
    return step_output(it, words.is_step(it.name, it.receiver_name) or any(map(_is_made_step, it.paths)))


def step_factory(it: Call) -> Value | None:
    """A function of which only the name is known, which says that it makes steps: ``make_train_step(…)``."""
    if not words.makes_step(it.name) or it.discarded or it.function.classes or it.function.constant:
        return None
    return Value(it.result_paths() | {f".{it.name}()"}, compiled=True)


def _is_made_step(path: str) -> bool:
    return path.endswith("()") and words.makes_step(path[:-2].rpartition(".")[2])


def step_output(it: Call, step_like: bool) -> Value:
    """What a step gives; ``step_like`` where the file or a name says that it is one."""
    it.flow.use(tagged(it.tags), Use.NEEDED)
    if it.frame.traced:
        return NOTHING
    origin = it.flow.origin(Kind.STEP, it.node, it.frame, how=it.name)
    origin.loops |= it.flow.active_loops(it.frame)  # a caller's too
    if step_like or it.node in it.flow.carried or _takes_a_batch(it.node) or _over_data(it.frame):
        origin.step_like = True
    return tagged([Tag(origin, True)])


def hooked(flow: Flow, annotation: ast.expr, kind: Value, frame: Frame) -> Value:
    """What a hook is given after each step, by its annotation: ``on_step(self, update: Update)``."""
    if frame.traced or not _ABOUT_DEVICES.search(flow.source.text):
        return NOTHING
    name = str(literal_start(annotation) or last_name(annotation)).rpartition(".")[2]
    is_array = any(path.removesuffix("()") in libraries.ARRAYS for path in kind.paths)
    return _given_by_a_step(flow, annotation, frame) if is_array or words.is_step_output(name) else NOTHING


def hooked_attribute(flow: Flow, node: ast.Attribute, frame: Frame) -> Value:
    """The same of what the object has that a hook is given: ``step.update``."""
    function = frame.function
    if node.attr != "update" or function is None or not words.is_hook(function.name):
        return NOTHING
    arguments = function.node.args
    given = {each.arg for each in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
    if frame.traced or last_name(node.value) not in given or not _ABOUT_DEVICES.search(flow.source.text):
        return NOTHING
    return _given_by_a_step(flow, node, frame)


def _given_by_a_step(flow: Flow, node: ast.expr, frame: Frame) -> Value:
    if frame.function is not None and frame.function.node not in frame.loops:
        frame.loops.append(frame.function.node)  # it is called in somebody's loop
    origin = flow.origin(Kind.STEP, node, frame, how="step")
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


def step_by_name(it: Call) -> Value | None:
    """A function of another file that is called a step."""
    if it.discarded or not words.is_step(it.name, it.receiver_name):
        return None
    if it.function.classes or it.function.constant or any(map(libraries.is_computing, it.paths)):
        return None
    return step_output(it, True)
