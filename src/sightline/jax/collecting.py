"""Recording inside JAX's transformations: a collected function returns what it recorded beside its output.

Values inside jit, grad, vmap or scan have no numbers yet; they can only leave as outputs. So a function under
:func:`collect` hands the recording calls inside it a :class:`Collector`, and returns the words that this
gathered as a pytree, :class:`~sightline.jax.collected.Stats`. There are no callbacks: a compiled function
returns what it records, each time that it runs.

The collector is found through the scope of each tracker. While the function is traced that is a path which
begins with a NUL and the collector's number, so that recording anywhere else pays nothing for this.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, overload

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import auto_axes

from sightline.errors import RecordError
from sightline.jax import mistakes
from sightline.jax.collected import MAGIC, Collected, Entry, Layout, Stats, ingest, layout_of, sites
from sightline.jax.reductions import (
    is_number,
    moments_words,
    scalar_dtype,
    scalar_words,
    sketch_words,
)
from sightline.recording.key_registry import KeyRegistry, call_site
from sightline.recording.scoping import COLLECTED, all_scopes
from sightline.values.host_values import (
    checked_key,
    checked_mask,
    checked_quantiles,
    mask_shape_error,
    shape_error,
    to_number,
    to_numbers,
)
from sightline.values.naming import join

__all__ = ["Collected", "Collector", "Entry", "Stats", "active", "add", "collect", "ingest", "relative"]

P = ParamSpec("P")
R = TypeVar("R")

Like = Stats | Sequence[Stats]
Axis = str | tuple[str, ...]

_core: Any = jax.extend.core if hasattr(jax.extend.core, "get_opaque_trace_state") else jax.core  # JAX 0.9
_trace_state: Callable[[], object] = _core.get_opaque_trace_state  # compares equal within one trace

_WHOLE: Any = jax.sharding.PartitionSpec()  # type: ignore[no-untyped-call]
_RECORDED = np.ones(1, np.uint32)


@overload
def collect(
    fn: Callable[P, R], *, axis: Axis | None = None, like: Like | None = None
) -> Callable[P, tuple[R, Stats]]: ...


@overload
def collect(
    *, axis: Axis | None = None, like: Like | None = None
) -> Callable[[Callable[P, R]], Callable[P, tuple[R, Stats]]]: ...


def collect(fn: Any = None, *, axis: Axis | None = None, like: Like | None = None) -> Any:
    """A function that returns what is recorded inside it beside its output: ``(out, stats)``.

    Inside, ``sl.summary``, ``masked``, ``histogram``, ``scalar``, ``total``, ``ratio``, ``rate`` and ``last``
    take traced values. Outside, ``sl.ingest(stats)`` takes what comes out, without waiting. Values pass
    through ``stop_gradient``: gradients are what they were.

    Put it directly on the function that a transformation is given. Each transformation inside of which
    something is recorded needs one, and ``sl.add(stats)`` hands inner statistics to the enclosing collected
    function::

        @jax.jit
        @sl.collect
        def step(params, batch):
            grad = jax.value_and_grad(sl.collect(loss), has_aux=True)
            (value, stats), grads = grad(params, batch)
            sl.add(stats)
            return update(params, grads)

    Under ``jit`` over a mesh, statistics of an array that is divided over it take communication between
    the devices, as any sum over it does: a few numbers for each record. Inside ``shard_map`` with ``axis=``
    they take none.

    Stacked statistics just work: those of a scan's body among its ``ys``, those of a vmapped function with
    the axis that vmap gives them.

    Args:
        fn: any function that JAX can trace. None: gives a decorator.
        axis: for ``shard_map``, one or more axes of the mesh: the statistics get an axis of size 1 in front,
            on which ``out_specs=P(axis)`` stacks them. What is recorded with ``replicated=True`` counts on
            the first shard alone.
        like: for branches of ``cond`` and ``switch`` that record different keys: the statistics of all of
            them (or their ``jax.eval_shape``). What this branch does not record of those stays empty.

    Returns:
        The function; its second output is a :class:`Stats`, a pytree of small uint32 arrays.

    Raises:
        RecordError: when the function is traced: as the body of a ``while_loop`` or ``fori_loop``, which have
            no outputs; for keys that ``like`` does not have; and what the recording calls raise.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import sightline as sl
        >>> def loss(weight, x):
        ...     error = weight * x - 1
        ...     sl.summary("error", error)
        ...     return jnp.sum(error**2)
        >>> step = jax.jit(jax.value_and_grad(sl.collect(loss), has_aux=True))
        >>> (value, stats), grad = step(2.0, jnp.array([0.5, 1.0]))
        >>> tracker = sl.StatsTracker()
        >>> tracker.ingest(stats)
        >>> exported = tracker.export(reduce="local")
        >>> exported["error/mean"], exported["error/max"], exported["error__count"]
        (0.5, 1.0, 2)
    """
    if fn is None:
        return functools.partial(collect, axis=axis, like=like)
    if not callable(fn):
        raise mistakes.not_a_function(fn)
    if axis is not None and like is not None:
        raise RecordError(
            "collect: axis= is for the function that shard_map is given, and like= for a branch inside it; "
            "use two collected functions, and sl.add"
        )
    expected = None if like is None else _Expected(like)

    @functools.wraps(fn)
    def collected(*args: Any, **kwargs: Any) -> tuple[Any, Stats]:
        loop = mistakes.transformation()
        if loop in mistakes.WITHOUT_OUTPUTS:
            raise mistakes.loop_without_outputs(loop)
        collector = Collector(axis, expected)
        with collector:
            out = fn(*args, **kwargs)
        return out, collector.stats()

    return collected


def add(stats: Stats, scope: str | None = None) -> None:
    """Hands the statistics of an inner collected function to the enclosing one.

    Their keys get the scope that is active here.

    Args:
        stats: what an inner collected function returned, with any axes in front.
        scope: the path of a tracker, as it is; None: the longest of all trackers.

    Raises:
        RecordError: no collected function is running, or another transformation stands between; no Stats; or
            something has been computed with them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import sightline as sl
        >>> def double(x):
        ...     sl.scalar(x=x)
        ...     return 2 * x
        >>> @jax.jit
        ... @sl.collect
        ... def step(xs):
        ...     ys, stats = jax.vmap(sl.collect(double))(xs)
        ...     with sl.scope("inner"):
        ...         sl.add(stats)
        ...     return ys
        >>> ys, stats = step(jnp.arange(4.0))
        >>> stats
        Stats(scalar 'inner/x')
    """
    if scope is None:
        scope = max(
            (path.get() for path in all_scopes()), key=lambda path: (path[:1] == COLLECTED, len(path))
        )
    collector = active(scope)
    if collector is None:
        raise mistakes.add_without_collector()
    collector.include(stats, relative(scope))


# --- finding the collector ---------------------------------------------------------------------------------

_number = itertools.count()
_collectors: dict[str, Collector] = {}


def active(scope: str) -> Collector | None:
    """The collector that a tracker's path leads into, or None.

    Raises:
        RecordError: its function has returned.
    """
    if not scope.startswith(COLLECTED):
        return None
    found = _collectors.get(scope.partition("/")[0])
    if found is None:
        raise mistakes.collector_has_ended()
    return found


def relative(scope: str) -> str:
    """The part of a tracker's path that was entered inside the collected function."""
    return scope.partition("/")[2]


# --- gathering ---------------------------------------------------------------------------------------------


class Collector:
    """What one collected function records, while it is traced.

    A context manager: within it the recording calls of all trackers lead here.

    Args:
        axis: as :func:`collect` has it.
        expected: what all branches together record.
    """

    def __init__(self, axis: Axis | None = None, expected: _Expected | None = None) -> None:
        self._trace = _trace_state()
        self._registry = KeyRegistry()
        self._rows: dict[Entry, list[list[Any]]] = {}  # the words of each record, in pieces
        self._added: list[tuple[Layout, Any]] = []
        self._axis = axis
        self._expected = expected
        self._path = f"{COLLECTED}{next(_number)}"
        self._tokens: list[Any] = []
        if axis is not None:
            try:
                self._shard = lax.axis_index(axis)
            except NameError:
                raise mistakes.no_such_axis(axis) from None

    def __enter__(self) -> None:
        _collectors[self._path] = self
        self._tokens = [(scope, scope.set(self._path)) for scope in all_scopes()]

    def __exit__(self, *_: object) -> None:
        for scope, token in self._tokens:
            scope.reset(token)
        for scope in all_scopes():
            if scope.get().partition("/")[0] == self._path:  # of a tracker that was made meanwhile
                scope.set("")
        del _collectors[self._path]

    def add(
        self,
        kind: str,
        scope: str,
        key: str,
        values: tuple[Any, ...],
        *,
        mask: Any = None,
        emit: Sequence[str] = (),
        quantiles: Sequence[float] = (),
        bins: int = 0,
        over: str = "",
        replicated: bool = False,
        nonfinite: str = "show",
    ) -> None:
        """Records, as the tracker's call of this name does.

        Args:
            kind: scalar, total, ratio, rate, last, summary, masked or histogram.
            scope: the tracker's path, as it is.
            key: under that.
            values: one, or a numerator and a denominator: traced or not; host values become constants.
            mask: for masked and histogram.
            emit, quantiles, bins, over, replicated, nonfinite: as the tracker's calls have them.

        Raises:
            RecordError: as those do; inside another transformation; or ``like`` does not have this.
        """
        name = join(relative(scope), checked_key(key))
        self._check_trace(f"{kind}({key!r})")
        if nonfinite not in ("show", "drop"):
            raise RecordError(f"{key!r}: nonfinite={nonfinite!r}; expected 'show' or 'drop'")
        emit = (emit,) if isinstance(emit, str) else tuple(emit)
        quantiles = checked_quantiles(kind, key, quantiles)
        sketched = bool(quantiles or bins)
        call = kind
        dtypes: list[str]
        if kind in ("summary", "masked", "histogram"):
            kind = "summary"
            dtype, words = _elements(call, key, values[0], mask, sketched)
            dtypes = [dtype]
        else:
            numbers = [_number_words(call, key, value) for value in values]
            dtypes = [dtype for dtype, _ in numbers]
            words = [_RECORDED, *(each for _, each in numbers)]
        entry = Entry(
            kind, tuple(dtypes), sketched, name, emit, quantiles, join(relative(scope), over) if over else "",
            replicated, bins, nonfinite,
        )  # fmt: skip
        self._declare(entry, call)
        rows = self._rows.get(entry, [])
        if self._expected is not None:
            self._expected.check(call, entry, len(rows) + 1)
        self._rows[entry] = [*rows, words]

    def include(self, stats: Stats, scope: str) -> None:
        """Takes in the statistics of an inner collected function, with their names under ``scope``."""
        if not isinstance(stats, Stats):
            raise mistakes.not_stats("add", stats)
        self._check_trace("add(stats)")
        stats.check("add")
        for layout, words in stats.parts():
            moved = layout.under(scope)
            for entry, _ in moved.rows:
                self._declare(entry, entry.call)
            self._added.append((moved, words))
        if self._expected is not None:
            self._expected.check_added(self._added)

    def stats(self) -> Stats:
        """All of it as a pytree."""
        rows = self._rows
        repeats = {entry: len(found) for entry, found in rows.items()}
        added = list(self._added)
        if self._expected is not None:
            repeats = self._expected.repeats
            added += self._expected.missing(added)
        own = layout_of(tuple(sorted(repeats.items())))
        pieces = [_magic()]
        for entry, n in own.rows:
            found = rows.get(entry, [])
            pieces += [piece for words in found for piece in words]
            pieces.append(np.zeros(entry.width * (n - len(found)), np.uint32))
        parts = [(own, _joined(pieces))] if own.rows else []
        # In an order that does not depend on which was added first, as branches may differ in that.
        parts += sorted(added, key=lambda part: (part[0].rows, np.shape(part[1])))
        return Stats(
            [self._on_shard(layout, words) for layout, words in parts],
            own,
            tuple(layout for layout, _ in parts[bool(own.rows) :]),
        )

    def _on_shard(self, layout: Layout, words: Any) -> Any:
        """Under ``axis``: with an axis to stack shards on; what is replicated counts on the first alone."""
        if self._axis is None:
            return words
        once = layout.replicated()
        if once.any():
            words = jnp.where((self._shard == 0) | ~once, words, np.uint32(0))
        return jnp.expand_dims(words, 0)

    def _check_trace(self, call: str) -> None:
        if _trace_state() != self._trace:
            raise mistakes.inner_transformation(call, _site())

    def _declare(self, entry: Entry, call: str) -> None:
        # As it would be exported, so that names that cannot stand side by side are found here.
        name = f"throughput/{entry.key}_per_s" if entry.kind == "rate" else entry.key
        self._registry.declare(
            "", name, entry.kind, emit=entry.emit, quantiles=entry.quantiles, over=entry.over,
            replicated=entry.replicated, bins=entry.bins, call=call,
        )  # fmt: skip
        if entry not in sites:
            sites[entry] = call_site()


class _Expected:
    """What the branches of a ``cond`` record together.

    Attributes:
        repeats: own entries, each with how many times it is recorded at most.
    """

    def __init__(self, like: Like) -> None:
        each = [like] if isinstance(like, Stats) else like
        if not isinstance(each, Sequence) or not all(isinstance(stats, Stats) for stats in each):
            raise mistakes.bad_like(like)
        own, added = Counter[Entry](), Counter[tuple[Layout, tuple[int, ...]]]()
        for stats in each:
            own |= Counter(dict(stats.own.rows))
            added |= Counter(_shapes(list(stats.parts())[bool(stats.own.rows) :]))
        self.repeats = dict(own)
        self._added = added

    def check(self, call: str, entry: Entry, repeats: int) -> None:
        known = self.repeats.get(entry, 0)
        if repeats <= known:
            return
        times = f"{known} times" if known != 1 else "once"
        same = [other for other in self.repeats if other.key == entry.key]
        expected = f"this key {times}" if known else f"no {_described(entry)}, but {_described(*same)}"
        raise mistakes.not_in_like(f"{call}({entry.key!r})", _site(), expected)

    def check_added(self, parts: Sequence[tuple[Layout, Any]]) -> None:
        for layout, shape in Counter(_shapes(parts)) - self._added:
            known = ", ".join(f"[{other.keys}] {lead}" for other, lead in self._added) or "nothing added"
            raise mistakes.not_in_like(f"add(Stats({layout.keys})) {shape}", _site(), known)

    def missing(self, parts: Sequence[tuple[Layout, Any]]) -> list[tuple[Layout, Any]]:
        """Empty parts in place of what this branch has not added."""
        absent = self._added - Counter(_shapes(parts))
        return [(layout, _empty(layout, lead)) for layout, lead in absent.elements()]


def _shapes(parts: Sequence[tuple[Layout, Any]]) -> list[tuple[Layout, tuple[int, ...]]]:
    """Each layout with the axes in front of its words."""
    return [(layout, tuple(words.shape[:-1])) for layout, words in parts]


def _empty(layout: Layout, lead: tuple[int, ...]) -> Any:
    return jnp.pad(jnp.broadcast_to(_magic(), (*lead, 1)), [(0, 0)] * len(lead) + [(0, layout.width - 1)])


def _described(*entries: Entry) -> str:
    return (
        " and ".join(f"{entry.call} {entry.key!r} of {', '.join(entry.dtypes)}" for entry in entries)
        or "others"
    )


def _site() -> str:
    return ":".join(map(str, call_site()))


# --- words -------------------------------------------------------------------------------------------------


def _number_words(call: str, key: str, value: Any) -> tuple[str, Any]:
    """One number as words, and how they are read."""
    array = _on_device(call, key, value)
    if array is not None:
        if array.size != 1:
            raise shape_error(call, key, array.shape)
        return scalar_dtype(array.dtype).str, scalar_words(lax.stop_gradient(array))
    number = to_number(call, key, value)
    dtype = _dtype_of(number)
    return dtype, np.array([number], dtype).view(np.uint32)


def _dtype_of(number: float | int) -> str:
    """JAX's default for host numbers, so that branches may record ``0`` and an array; wider if it must be."""
    kinds: tuple[str, ...] = ("<f4", "<f8")
    if isinstance(number, int):
        kinds = ("<i4", "<i8", "<u8", "<f8")
    if jnp.result_type(float).itemsize == 8:
        kinds = kinds[1:]
    for kind in kinds[:-1]:
        dtype: Any = np.dtype(kind)
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        if not np.isfinite(float(number)) or limits.min <= number <= limits.max:
            return kind
    return kinds[-1]


def _elements(call: str, key: str, values: Any, mask: Any, sketched: bool) -> tuple[str, list[Any]]:
    """The moments of an array as words, and if wanted its sketch; and how they are read."""
    x = _array(call, key, values)
    chosen = None
    if mask is not None:
        chosen = _on_device(call, key, mask)
        if chosen is None:
            chosen = jnp.asarray(checked_mask(call, key, mask))
        if chosen.shape != x.shape:
            raise mask_shape_error(call, key, chosen.shape, x.shape)
    words = _anywhere(moments_words, x, chosen)
    if sketched:
        return scalar_dtype(x.dtype).str, [words, _anywhere(sketch_words, x, chosen)]
    return scalar_dtype(x.dtype).str, [words]


def _anywhere(reduce: Callable[..., jax.Array], *arrays: jax.Array | None) -> jax.Array:
    """A reduction of arrays, whose axes of an explicit mesh are left to the compiler, as others are."""
    meshes = [jax.typeof(array).sharding.mesh for array in arrays if array is not None]
    mesh = max(meshes, key=lambda mesh: len(mesh.explicit_axes))
    if not mesh.explicit_axes:
        return reduce(*arrays)
    with jax.sharding.use_abstract_mesh(mesh):
        words: jax.Array = auto_axes(reduce, axes=mesh.explicit_axes, out_sharding=_WHOLE)(*arrays)
    return words


def _array(call: str, key: str, values: Any) -> jax.Array:
    array = _on_device(call, key, values)
    if array is not None:
        return array
    host = to_numbers(call, key, values)
    made = jnp.asarray(host)
    if host.dtype.kind in "iu" and host.dtype.itemsize > made.dtype.itemsize and host.size:
        limits = np.iinfo(made.dtype)
        if not limits.min <= int(host.min()) <= int(host.max()) <= limits.max:
            raise RecordError(
                f"{call}({key!r}): the values are {host.dtype} beyond {made.dtype}, which is as wide as JAX "
                f"takes them. Give floats, or set jax_enable_x64"
            )
    return made


def _on_device(call: str, key: str, value: Any) -> jax.Array | None:
    """An array of JAX, traced or not, with real numbers; None for a host value."""
    if not isinstance(value, jax.Array):
        if hasattr(value, "__jax_array__") or any(isinstance(x, jax.Array) for x in jax.tree.leaves(value)):
            try:
                value = jnp.asarray(value)
            except (TypeError, ValueError) as error:
                raise RecordError(f"{call}({key!r}): not one array of numbers: {error}") from error
        else:
            return None
    if not is_number(value.dtype):
        raise RecordError(
            f"{call}({key!r}): got a jax.Array of {value.dtype}; expected real numbers (float, int or bool)"
        )
    if value.dtype.itemsize == 8 and jnp.result_type(float).itemsize < 8:  # made where 64 bits were enabled
        value = value.astype(jax.dtypes.canonicalize_dtype(value.dtype))
    array: jax.Array = value
    return array


def _magic() -> Any:
    """The first word.

    Inside shard_map it is typed as differing from shard to shard, and so is all that is joined to it.
    Branches of a cond must agree in that, whatever they record.
    """
    word = np.array([MAGIC], np.uint32)
    manual = jax.sharding.get_abstract_mesh().manual_axes
    return lax.pcast(word, tuple(manual), to="varying") if manual else word


def _joined(pieces: Sequence[Any]) -> Any:
    """One vector; pieces of the host that stand side by side become one constant."""
    joined: list[Any] = []
    for on_host, group in itertools.groupby(pieces, key=lambda piece: isinstance(piece, np.ndarray)):
        side_by_side = list(group)
        joined += [np.concatenate(side_by_side)] if on_host else side_by_side
    return jnp.concatenate(joined)
