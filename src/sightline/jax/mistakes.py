"""The mistakes that can be made with collected statistics: the wrong code, why it is wrong, what is right.

The frames of Python tell which transformation of JAX is tracing. They choose the words of a message, and
nothing else depends on them but the refusal of loops without outputs.
"""

from __future__ import annotations

import os
import sys

import jax

from sightline.errors import RecordError

_JAX = os.path.join(os.path.dirname(jax.__file__), "_src") + os.sep
# Between a transformation and the function that it traces.
_BETWEEN = {
    "api_util.py", "core.py", "linear_util.py", "partial_eval.py", "profiler.py", "traceback_util.py",
    "tree_util.py", "util.py",
}  # fmt: skip
# By file, and by how the name of the function begins; the first that fits.
_TRANSFORMATIONS = (
    ("loops.py", "while_loop", "lax.while_loop"),
    ("loops.py", "_fori", "lax.fori_loop"),
    ("loops.py", "fori_loop", "lax.fori_loop"),
    ("loops.py", "map", "lax.map"),
    ("loops.py", "", "lax.scan"),
    ("conditionals.py", "", "lax.cond"),
    ("ad.py", "", "jax.grad"),
    ("ad_checkpoint.py", "", "jax.checkpoint"),
    ("batching.py", "", "jax.vmap"),
    ("custom_derivatives.py", "", "jax.custom_vjp"),
    ("pjit.py", "", "jax.jit"),
    ("shard_map.py", "", "jax.shard_map"),
)
#: Loops that hand nothing out but their carry.
WITHOUT_OUTPUTS = ("lax.while_loop", "lax.fori_loop")


def transformation() -> str:
    """The innermost transformation that calls the running code, such as ``"lax.scan"``; "" if unknown."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        if file.startswith(_JAX) and (name := os.path.basename(file)) not in _BETWEEN:
            for where, start, found in _TRANSFORMATIONS:
                if name == where and code.co_qualname.startswith(start):
                    return found
            return ""
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def lesson(what: str, *, wrong: str, why: str, right: str) -> RecordError:
    """An error of three parts.

    Example:
        >>> print(lesson("it fails", wrong="f()\\ng()", why="it cannot", right="h()"))
        it fails
            wrong:  f()
                    g()
            why:    it cannot
            right:  h()
    """
    parts = [what]
    for name, text in (("wrong:", wrong), ("why:", why), ("right:", right)):
        for i, line in enumerate(text.splitlines()):
            parts.append(f"    {name if i == 0 else '':<8}{line}".rstrip())
    return RecordError("\n".join(parts))


_AS_SCAN = (
    "def body(carry, x):\n"
    "    carry, stats = sl.collect(update)(carry, x)     # update calls the recording functions\n"
    "    return carry, stats\n"
    "carry, stats = jax.lax.scan(body, start, xs)        # xs=jnp.arange(n) for a counter\n"
    "sl.add(stats)"
)
_RIGHT = {
    "lax.scan": (
        "carry, ys = jax.lax.scan(body, start, xs)",
        "def body_with_stats(carry, x):\n"
        "    (carry, y), stats = sl.collect(body)(carry, x)\n"
        "    return carry, (y, stats)\n"
        "carry, (ys, stats) = jax.lax.scan(body_with_stats, start, xs)\n"
        "sl.add(stats)",
    ),
    "lax.map": (
        "ys = jax.lax.map(f, xs)",
        "ys, stats = jax.lax.map(sl.collect(f), xs)\nsl.add(stats)",
    ),
    "lax.while_loop": ("end = jax.lax.while_loop(test, body, start)", _AS_SCAN),
    "lax.fori_loop": ("end = jax.lax.fori_loop(0, n, body, start)", _AS_SCAN),
    "lax.cond": (
        "y = jax.lax.cond(test, f, g, x)",
        "like = [jax.eval_shape(sl.collect(h), x)[1] for h in (f, g)]     # what the two record\n"
        "branches = [sl.collect(h, like=like) for h in (f, g)]\n"
        "y, stats = jax.lax.cond(test, *branches, x)\n"
        "sl.add(stats)",
    ),
    "jax.grad": (
        "value, grads = jax.value_and_grad(loss)(params, batch)",
        "(value, stats), grads = jax.value_and_grad(sl.collect(loss), has_aux=True)(params, batch)\n"
        "sl.add(stats)",
    ),
    "jax.checkpoint": (
        "y = jax.checkpoint(layer)(x)",
        "y, stats = jax.checkpoint(sl.collect(layer))(x)\nsl.add(stats)",
    ),
    "jax.vmap": (
        "ys = jax.vmap(f)(xs)",
        "ys, stats = jax.vmap(sl.collect(f))(xs)\nsl.add(stats)",
    ),
    "jax.jit": (
        "y = jax.jit(f)(x)",
        "y, stats = jax.jit(sl.collect(f))(x)\nsl.add(stats)",
    ),
    "jax.shard_map": (
        'y = jax.shard_map(f, mesh=mesh, in_specs=…, out_specs=P("d"))(x)',
        'f_with_stats = sl.collect(f, axis="d")\n'
        'y, stats = jax.shard_map(f_with_stats, mesh=mesh, in_specs=…, out_specs=(P("d"), P("d")))(x)\n'
        "sl.add(stats)",
    ),
    "": (
        "y = transform(f)(x)",
        "y, stats = transform(sl.collect(f))(x)\nsl.add(stats)",
    ),
}


def inner_transformation(call: str, site: str) -> RecordError:
    """For a record inside a transformation, within the collected function, that has no collect of its own."""
    name = transformation()
    wrong, right = _RIGHT.get(name, _RIGHT[""])
    shown = name or "a transformation of JAX"
    outputs = "has no outputs but its carry" if name in WITHOUT_OUTPUTS else "hands on only its outputs"
    return lesson(
        f"{call} at {site} runs inside {shown}, which stands between it and sl.collect",
        wrong=f"{wrong}     # {call} in there",
        why=f"{shown} traces its function on its own and {outputs};\nwhat is recorded inside cannot leave",
        right=right,
    )


def loop_without_outputs(name: str) -> RecordError:
    """For a collected function as the body of such a loop."""
    wrong, right = _RIGHT[name]
    return lesson(
        f"sl.collect inside jax.{name}: its body has no outputs to leave by",
        wrong=f"{wrong}     # body calls sl.collect",
        why=f"jax.{name} hands out its last carry and nothing of each turn",
        right=right,
    )


def not_stats(call: str, given: object) -> RecordError:
    """For something else where the statistics of a collected function belong."""
    shown = f"a {type(given).__name__}"
    if isinstance(given, tuple) and any(type(part).__name__ == "Stats" for part in given):
        shown = "a tuple that holds Stats beside other things"
    return lesson(
        f"{call}: got {shown}, expected the Stats of a collected function",
        wrong=f"result = sl.collect(f)(x)\nsl.{call}(result)",
        why="a collected function returns two things",
        right=f"result, stats = sl.collect(f)(x)\nsl.{call}(stats)",
    )


def not_a_function(given: object) -> RecordError:
    """For ``collect(f(x))``."""
    return lesson(
        f"collect: got a {type(given).__name__}, expected a function",
        wrong="out, stats = sl.collect(f(x))",
        why="f has run before collect could listen",
        right="out, stats = sl.collect(f)(x)",
    )


def add_without_collector() -> RecordError:
    """For ``add`` where no collected function runs."""
    return lesson(
        "add: no collected function is running here",
        wrong="state, stats = step(state, batch)     # step = jax.jit(sl.collect(update))\nsl.add(stats)",
        why="add hands the statistics of an inner function to the enclosing one, while that is traced",
        right="state, stats = step(state, batch)\nsl.ingest(stats)",
    )


def ingest_while_traced() -> RecordError:
    """For ``ingest`` inside jit."""
    return lesson(
        "ingest: these statistics are still being traced",
        wrong="@jax.jit\ndef step(state, batch):\n    state, stats = sl.collect(update)(state, batch)\n"
        "    sl.ingest(stats)\n    return state",
        why="inside jit they have no numbers yet; they must leave it as an output",
        right="step = jax.jit(sl.collect(update))\nstate, stats = step(state, batch)\nsl.ingest(stats)\n"
        "or, to hand them to an enclosing collected function: sl.add(stats)",
    )


_MERGED = (
    'stats = jax.lax.pmean(stats, "d")      # or psum, or jax.tree.map(jnp.mean, …), or astype',
    "statistics are bits of counts and sums, which sightline merges exactly itself; no arithmetic does",
    'sl.ingest(stats)     # as they are, stacked ones too; out of shard_map: sl.collect(f, axis="d")',
)


def not_words(what: str) -> RecordError:
    """For statistics that went through arithmetic."""
    wrong, why, right = _MERGED
    return lesson(
        f"{what}: something has been computed with these statistics", wrong=wrong, why=why, right=right
    )


def wrong_shape(call: str, keys: str, shape: tuple[int, ...], words: int) -> RecordError:
    """For a leaf whose last axis is not that of one part."""
    what = f"{call}: the words of {keys} have shape {shape}; the last axis must have {words}"
    if shape and shape[-1] and shape[-1] % words == 0:
        return lesson(
            f"{what}. There are {shape[-1] // words} times as many: the shards stand in one row",
            wrong='jax.shard_map(sl.collect(f), mesh=mesh, in_specs=…, out_specs=(P("d"), P("d")))',
            why="P stacks along an axis that is there, which is that of the words; axis= adds one in front",
            right='jax.shard_map(sl.collect(f, axis="d"), mesh=mesh, in_specs=…, out_specs=(P("d"), P("d")))',
        )
    if words in shape[:-1]:
        return lesson(
            f"{what}. They stand along axis {shape.index(words)}",
            wrong="ys, stats = jax.vmap(sl.collect(f), out_axes=1)(xs)",
            why="what is stacked must stand in front of the words, and out_axes=1 puts it behind them",
            right="ys, stats = jax.vmap(sl.collect(f), out_axes=(1, 0))(xs)",
        )
    return not_words(what)


def no_such_axis(axis: object) -> RecordError:
    """For ``axis=`` where no mesh axis of that name is mapped."""
    return lesson(
        f"collect(…, axis={axis!r}): no axis of that name is mapped here",
        wrong=f"jax.jit(sl.collect(f, axis={axis!r}))",
        why="axis= names the mesh axes of shard_map over which the statistics come out stacked",
        right=f"jax.shard_map(sl.collect(f, axis={axis!r}), mesh=mesh, in_specs=…, "
        f"out_specs=(…, P({axis!r})))\nand without shard_map: jax.jit(sl.collect(f))",
    )


def not_in_like(call: str, site: str, expected: str) -> RecordError:
    """For a record that ``like=`` does not have."""
    return lesson(
        f"{call} at {site} is not in the like= of this collected function, which has {expected}",
        wrong="branches = [sl.collect(h, like=stats_of_f) for h in (f, g)]     # g records more than f",
        why="all branches give the same statistics: like= says which, and what one lacks stays empty",
        right="like = [jax.eval_shape(sl.collect(h), x)[1] for h in (f, g)]\n"
        "branches = [sl.collect(h, like=like) for h in (f, g)]",
    )


def bad_like(given: object) -> RecordError:
    """For a ``like=`` that is no Stats."""
    return lesson(
        f"collect(…, like=…): got {type(given).__name__}, expected Stats or a sequence of Stats",
        wrong="sl.collect(f, like=jax.eval_shape(sl.collect(g), x))",
        why="a collected function returns its output and the statistics; like= takes the latter",
        right="sl.collect(f, like=jax.eval_shape(sl.collect(g), x)[1])",
    )


def collector_has_ended() -> RecordError:
    """For a record under the scope of a collected function that has returned."""
    return RecordError(
        "a record came after its collected function had returned: from a thread, task or callback that was "
        "started inside it. Record on the thread that traces, or outside of the function"
    )
