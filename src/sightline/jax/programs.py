"""Running small programs on recorded arrays: on the caller's thread, at once, and few of them.

A recorded array may be donated or deleted on the next line. So its reduction is launched in the recording
call, which takes as long as any jitted call on a warm cache, and what travels to the host is the program's
small output. Nothing is launched later, or on another thread, where it would wait behind the next step.

*Ownership.* Of a global array each process reduces its shards with ``replica_id`` 0; over all processes each
element then counts once. Several shards of a process are reduced by one program over their devices, without
communication.

*Compilation.* XLA compiles a program for each shape, dtype, sharding and set of devices, which takes from
20 ms to seconds. A process compiles at most ``max_programs`` of sightline's; what comes after is copied on
its device and reduced by NumPy in the background.
"""

from __future__ import annotations

import functools
import logging
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from sightline.errors import RecordError
from sightline.jax.budget import PROGRAMS

log = logging.getLogger("sightline")

_REMEMBERED = 4096  # placements; more begin anew
_AXIS = "shard"
_SPEC: PartitionSpec = PartitionSpec(_AXIS)  # type: ignore[no-untyped-call]


class Coverage(NamedTuple):
    """How much of a global array this process counts.

    Attributes:
        owned: elements that this process counts.
        size: elements that there are, over all processes.
        where: a name of the devices that hold the array. Arrays on others are arrays of their own.
    """

    owned: int
    size: int
    where: str


class Placement(NamedTuple):
    """Where an array of a shape lies, as seen from this process.

    Attributes:
        is_whole: on one device, of this process.
        is_global: some of it lies on devices of other processes, and some here.
        is_replicated: every device holds all of it.
        owned: positions in ``array.addressable_shards`` of those that count here.
        local: for several owned shards, the sharding of an array made of them alone, along axis 0.
        size, owned_size: elements of the array, and of what is owned.
        where: of :class:`Coverage`; empty for arrays that are not global.
    """

    is_whole: bool
    is_global: bool
    is_replicated: bool
    owned: tuple[int, ...]
    local: NamedSharding | None
    size: int
    owned_size: int
    where: str = ""

    @property
    def coverage(self) -> Coverage:
        """Of what this process owns."""
        return Coverage(self.owned_size, self.size, self.where)

    def shards(self, array: jax.Array) -> list[jax.Array]:
        """The owned shards of an array that lies so, each an array on one device."""
        if self.is_whole:
            return [array]
        shards = array.addressable_shards
        return [shards[i].data for i in self.owned]

    def own_copy(self) -> Placement:
        """For a replicated array: this process counts its own copy, whoever else does."""
        return self._replace(owned=(0,), local=None, owned_size=self.size)


_placements: dict[tuple[Sharding, tuple[int, ...]], Placement] = {}


def placement(array: jax.Array) -> Placement:
    """Where an array lies; kept by sharding and shape."""
    key = (array.sharding, array.shape)
    found = _placements.get(key)
    if found is None:
        found = _place(array)
        if len(_placements) >= _REMEMBERED:
            _placements.clear()
        _placements[key] = found
    return found


def _place(array: jax.Array) -> Placement:
    shards = array.addressable_shards
    owned = tuple(i for i, shard in enumerate(shards) if shard.replica_id == 0)
    devices = [shards[i].device for i in owned]
    local = None
    if len(owned) > 1:
        local = NamedSharding(Mesh(np.array(devices), (_AXIS,)), _SPEC)
    is_global = bool(shards) and not array.is_fully_addressable
    return Placement(
        is_whole=array.is_fully_addressable and _is_plain(array.sharding),
        is_global=is_global,
        is_replicated=bool(array.is_fully_replicated),
        owned=owned,
        local=local,
        size=array.size,
        owned_size=len(owned) * math.prod(array.sharding.shard_shape(array.shape)),
        where=_name_of(array.sharding.device_set) if is_global else "",
    )


def _name_of(devices: Iterable[jax.Device]) -> str:
    """The same on all processes."""
    return f"{zlib.crc32(repr(sorted(device.id for device in devices)).encode()):08x}"


def _is_plain(sharding: Sharding) -> bool:
    """One device, and no axes that JAX would check the reduction against."""
    axes = getattr(getattr(sharding, "mesh", None), "axis_types", ())
    return len(sharding.device_set) == 1 and AxisType.Explicit not in axes


def owned(array: jax.Array) -> list[jax.Array]:
    """The shards of an array that count on this process, each an array on one device.

    Of a global array those with ``replica_id`` 0, which may be none; of an array that lies on this process's
    devices alone, each distinct part once.
    """
    return placement(array).shards(array)


# --- to the host -------------------------------------------------------------------------------------------


def is_on_host(array: Any) -> bool:
    """Whether the array lies in the host's memory already: its devices are CPUs."""
    return bool(array.platform() == "cpu")


def start_copy(array: Any) -> None:
    """Starts the copy of an array to the host, without waiting for either."""
    # The guard is for transfers by accident, and by waiting; this one is neither.
    with jax.transfer_guard_device_to_host("allow"):
        array.copy_to_host_async()


def read(array: Any) -> npt.NDArray[Any]:
    """The values of an array on one device; waits for it. Raises what its computation raised."""
    with jax.transfer_guard_device_to_host("allow"):
        return np.asarray(array)


def is_there(array: Any) -> bool:
    """Whether an array has been computed; does not wait.

    Raises:
        RuntimeError: it has been deleted (``jax.live_arrays()`` reaches all). JAX 0.10 would crash if asked.
    """
    if array.is_deleted():
        raise RuntimeError("its array has been deleted")
    return bool(array.is_ready())


class Fetch:
    """Arrays on their way to the host. Made on the thread that launched them; read on any.

    Args:
        arrays: arrays on one device each, which nobody donates or deletes.
    """

    __slots__ = ("_arrays",)

    def __init__(self, *arrays: Any) -> None:
        self._arrays = arrays
        for array in arrays:
            if not is_on_host(array):
                start_copy(array)

    def ready(self) -> bool:
        """Whether all have been computed; does not wait. Raises if one has been deleted."""
        return all(is_there(array) for array in self._arrays)

    def read(self) -> list[npt.NDArray[Any]]:
        """Their values; waits for what is not ready. Raises what the computation raised."""
        return [read(array) for array in self._arrays]


# --- programs ----------------------------------------------------------------------------------------------


_NO_MESH = Mesh(np.empty((), object), ())
_get_mesh = jax.sharding.get_abstract_mesh


def _run(program: Callable[..., jax.Array], arrays: Sequence[jax.Array]) -> jax.Array:
    """The program's output. ``jax.set_mesh`` of the caller, of all processes' devices, is not in force here.

    Raises:
        RecordError: inside a function that is being traced, where nothing must be launched.
    """
    if _get_mesh().empty:
        output = program(*arrays)
        if hasattr(output, "is_ready"):
            return output
    else:
        try:
            outside: Any = jax.set_mesh(_NO_MESH)
        except ValueError:  # while JAX traces
            outside = None
        if outside is not None:
            with outside:
                return program(*arrays)
    raise _traced_error()


def _traced_error() -> RecordError:
    return RecordError(
        "a jax.Array is recorded inside a function that JAX traces: that would be once, not in each step. "
        "Put sl.collect directly on the function that is given to the transformation"
    )


def _signatures(arrays: Sequence[Any]) -> tuple[Any, ...]:
    """What XLA compiles for, of some arrays on their devices: three things of each, in a row."""
    return tuple([each for a in arrays for each in (a.aval, a.committed, a.sharding)])


def launch(
    program: Callable[..., jax.Array], arrays: Sequence[Sequence[jax.Array]], local: NamedSharding | None
) -> list[jax.Array] | None:
    """Runs a jitted program on each shard of some arrays that are placed alike.

    Args:
        program: jitted; takes one shard of each array, gives one vector.
        arrays: for each array its owned shards.
        local: of :class:`Placement`, for several shards.

    Returns:
        The output of each shard; None if that would need one program too many, or the program cannot take
        such arrays.

    Raises:
        RecordError: inside a function that is being traced.
    """
    first = [shards[0] for shards in arrays]
    key = (program, local, *_signatures(first))
    if _are_too_wide(first) or not PROGRAMS.may_run(key):
        return None
    try:
        return _launch(program, arrays, local)
    except RecordError:
        raise
    except Exception as error:  # noqa: BLE001 - memory of another kind, layouts, a device without memory
        log.debug("sightline: a reduction cannot be launched, and copies are made instead: %s", error)
        PROGRAMS.refuse(key)
        return None


def _are_too_wide(arrays: Sequence[Any]) -> bool:
    """Whether some have 64 bits in a part of the code that has them switched off; NumPy has them always."""
    return any(array.dtype.itemsize == 8 for array in arrays) and jnp.result_type(float).itemsize < 8


def _launch(
    program: Callable[..., jax.Array], arrays: Sequence[Sequence[jax.Array]], local: NamedSharding | None
) -> list[jax.Array]:
    if local is None:
        return [_run(program, [shards[0] for shards in arrays])]
    joined = [
        jax.make_array_from_single_device_arrays(
            (len(shards) * shards[0].shape[0], *shards[0].shape[1:]), local, list(shards)
        )
        for shards in arrays
    ]
    outputs = _run(_spread(program, local, len(arrays)), joined)
    return [shard.data for shard in outputs.addressable_shards]


@functools.lru_cache(maxsize=1024)
def _spread(program: Callable[..., jax.Array], local: NamedSharding, n: int) -> Callable[..., jax.Array]:
    """A program for one shard as one for all shards of a process, each on its device."""

    def sightline_spread(*shards: jax.Array) -> jax.Array:
        return program(*shards)

    mapped = jax.shard_map(
        sightline_spread, mesh=local.mesh, in_specs=(_SPEC,) * n, out_specs=_SPEC, check_vma=False
    )
    return jax.jit(mapped)


class Known:
    """The arrays that a program has been launched for after all about them had been looked at.

    Each whole and on one device. Looking takes longer than launching.

    Args:
        program: jitted.
    """

    def __init__(self, program: Callable[..., jax.Array]) -> None:
        self.program = program
        self._on_host: dict[Any, bool] = {}  # by the signatures of the arrays

    def learn(self, arrays: Sequence[Any]) -> None:
        """The program has been launched for these arrays."""
        # What becomes of 64 bits depends on where JAX has them enabled: always the long way.
        if all(
            isinstance(array, jax.Array) and array.dtype.itemsize < 8 and placement(array).is_whole
            for array in arrays
        ):
            if len(self._on_host) >= _REMEMBERED:
                self._on_host.clear()
            self._on_host[_signatures(arrays)] = all(is_on_host(array) for array in arrays)

    def is_on_host(self, signatures: tuple[Any, ...]) -> bool | None:
        """Whether arrays with these signatures lie in the host's memory; None if they are not known."""
        return self._on_host.get(signatures)


class Repeated:
    """The short way of a recording call that is made again and again, with arrays that are known.

    They are usually like those of the last time, and JAX keeps one object for what the outputs of a program
    have in common. Comparing is then cheaper than looking up, which takes the hash of each.

    Args:
        known: the arrays that the call's program may be launched for.
    """

    __slots__ = ("_known", "_last", "_program")

    def __init__(self, known: Known) -> None:
        self._known = known
        self._program = known.program
        self._last: tuple[Any, bool | None] = (None, None)

    def launch(self, arrays: Sequence[Any]) -> Any:
        """The program's output, on its way to the host, if the arrays are known; else None."""
        try:
            if len(arrays) == 2:  # values and a mask: the usual case, without a loop
                a, b = arrays
                now: Any = (a.aval, a.committed, a.sharding, b.aval, b.committed, b.sharding)
            else:
                now = _signatures(arrays)
            last, on_host = self._last
            if now != last:
                on_host = self._known.is_on_host(now)
                self._last = now, on_host
            if on_host is None:
                return None
            output = self._program(*arrays) if _get_mesh().empty else _run(self._program, arrays)
            if output.__class__ is not arrays[0].__class__:  # while JAX traces: the long way says so
                return None
            if not on_host:
                start_copy(output)
        except RecordError:
            raise
        except Exception:  # noqa: BLE001 - a host value, a deleted array, …: the long way says what it is
            return None
        return output


def copies(shards: Sequence[jax.Array]) -> list[jax.Array]:
    """The same arrays in buffers of their own, without compiling anything and without waiting.

    Raises:
        RecordError: inside a function that is being traced.
    """
    made = [jax.device_put(shard, shard.sharding, may_alias=False) for shard in shards]
    if any(isinstance(copy, jax.core.Tracer) for copy in made):
        raise _traced_error()
    return made
