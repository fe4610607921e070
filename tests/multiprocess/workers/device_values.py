"""What the processes of the tests of device values do.

What is recorded is made by functions of NumPy alone, so that the tests know it without a word of the workers.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

import sightline as sl
from tests.jax.several_devices import Busy, Callback, Hung, compilations
from tests.multiprocess.workers.common import LONG_S, RANK, connect, main, note, settings, wait_for

Array = np.ndarray[Any, Any]

PROCESSES = int(os.environ.get("JAX_NUM_PROCESSES", "1"))
QUANTILES = (0.1, 0.5, 0.9)
SHARD = (4, 6)  # of one device, however the array lies, so that few programs are compiled

#: Data by name: a dtype, with the usual numbers or with a mean of 1e8 and a small spread.
DTYPES = (
    "float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "int8", "int32", "uint32", "bool",
)  # fmt: skip
DATA = (*DTYPES, "float32 at 1e8", "int32 at 1e8")


def key_of(name: str) -> str:
    return name.replace(" ", "_")


def numbers(name: str, shape: tuple[int, ...], *seed: int) -> Array:
    """Numbers of some dtype: floats about 0.7 with a spread of 2, or ints over the whole range."""
    random = np.random.default_rng([DATA.index(name), *seed])
    dtype = np.dtype(getattr(ml_dtypes, name.split()[0], name.split()[0]))
    if name == "bool":
        return random.random(shape) < 0.3
    if name == "int32 at 1e8":
        return (100_000_000 + np.rint(random.normal(0, 1, shape))).astype(dtype)
    if name == "float32 at 1e8":
        return random.normal(1e8, 30, shape).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.asarray(random.integers(info.min, info.max, shape, dtype, endpoint=True))
    return np.asarray(0.7 + 2 * random.standard_normal(shape)).astype(dtype)


def mask_of(name: str, shape: tuple[int, ...], *seed: int) -> Array:
    """Bools, or for ints numbers that are 0 or 1."""
    chosen = np.random.default_rng([99, DATA.index(name), *seed]).random(shape) < 0.6
    return chosen.astype(np.int8) if name.startswith(("int", "uint")) else chosen


class Place(NamedTuple):
    """How an array lies.

    Attributes:
        shape: of the array.
        is_own: each process has an array of its own, with data of its own.
    """

    shape: tuple[int, ...]
    is_own: bool = False

    def data(self, make: Callable[..., Array], name: str, shape: tuple[int, ...], processes: int) -> Array:
        """What all processes together record of a kind of data."""
        if not self.is_own:
            return make(name, shape)
        return np.stack([make(name, shape, process) for process in range(processes)])


def places(processes: int) -> dict[str, Place]:
    """All ways to lie, on the devices of some processes: four of one, else two each."""
    own = 4 if processes == 1 else 2
    n = own * processes
    a, b = SHARD
    return {
        "sharded": Place((n * a, b)),
        "replicated": Place((a, b)),
        "rows": Place((2 * a, b)),  # on a mesh of 2 × n/2, each half on a row
        "columns": Place((n // 2 * a, b)),  # the same mesh, each part on a column
        "both": Place((2 * a, n // 2 * b)),
        "some": Place((len(some_devices(list(range(n)), processes)) * a, b)),  # on some processes' devices
        "own": Place((a, b), is_own=True),
        "own_sharded": Place((own * a, b), is_own=True),
    }


def by_programs(processes: int, place: str, data: str) -> bool:
    """Whether data in a place is reduced by programs too. Compiling all of them would take minutes, and what
    a program does with a dtype does not depend on the place."""
    if processes == 2 and (place == "sharded" or data.startswith("int32")):
        return True
    return data.startswith("float32")


def some_devices(devices: list[Any], processes: int) -> list[Any]:
    """The devices of every second process, not the root's; of one process alone the second device."""
    own = len(devices) // processes
    return devices[1:2] if processes == 1 else [d for i, d in enumerate(devices) if i // own % 2]


def placed(place: str, values: Array) -> Any:
    """An array on the devices, made without a program."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

    P: Any = PartitionSpec
    devices = np.array(jax.devices())
    grid = Mesh(devices.reshape(2, -1), ("a", "b")) if devices.size > 1 else None
    every = Mesh(devices, ("d",))
    sharding: Any = {
        "sharded": lambda: NamedSharding(every, P("d")),
        "replicated": lambda: NamedSharding(every, P()),
        "rows": lambda: NamedSharding(grid, P("a")),
        "columns": lambda: NamedSharding(grid, P("b")),
        "both": lambda: NamedSharding(grid, P("a", "b")),
        "some": lambda: NamedSharding(
            Mesh(np.array(some_devices(jax.devices(), PROCESSES)), ("d",)), P("d") if values.ndim else P()
        ),
        "own": lambda: SingleDeviceSharding(jax.local_devices()[0]),
        "own_sharded": lambda: NamedSharding(Mesh(np.array(jax.local_devices()), ("d",)), P("d")),
    }[place]()
    return jax.make_array_from_callback(values.shape, sharding, lambda i: values[i], dtype=values.dtype)


# --- the same numbers as NumPy -----------------------------------------------------------------------------


def records_everything(*, all_by_programs: bool) -> None:
    """All data in all places with every reduction, beyond the cap of programs; then below it, twice, some or
    all of it."""
    from sightline.jax.budget import PROGRAMS

    _join()
    run = sl.start(logger=settings(max_programs=0))
    for step in range(3):
        if step:
            PROGRAMS.max_programs = 10_000
        for name, place in places(PROCESSES).items():
            with sl.scope(name):
                _record(
                    name,
                    place,
                    [d for d in DATA if all_by_programs or not step or by_programs(PROCESSES, name, d)],
                )
        run.commit(step)
    run.finish()


def _record(name: str, place: Place, kinds: list[str]) -> None:
    own = (RANK,) if place.is_own else ()
    for data in kinds:
        values, mask = numbers(data, place.shape, *own), mask_of(data, place.shape, *own)
        array = placed(name, values)
        key = key_of(data)
        sl.summary(f"{key}/summary", array)
        sl.masked(f"{key}/masked", array, placed(name, mask), quantiles=QUANTILES)
        sl.masked(f"{key}/host_mask", array, mask, quantiles=QUANTILES)
        if data == "float32" and name in ("sharded", "own"):
            sl.summary(f"{key}/quantiles", array, quantiles=QUANTILES)
            sl.masked(f"{key}/host_values", values, placed(name, mask))
            sl.histogram(f"{key}/histogram", array, mask=mask, bins=8)
    if name in ("replicated", "own", "some"):
        scalars = {key_of(data): placed(name, numbers(data, (), *own)) for data in DATA}
        for kind in (sl.scalar, sl.total, sl.last):
            with sl.scope(kind.__name__):
                kind(**scalars)
        whole = placed(name, numbers("int32", ()))  # the same on every process
        sl.total("once", whole, replicated=True)
        sl.ratio("ratio", scalars["int32"], scalars["uint32"])
        sl.ratio("ratio_once", whole, 1000, replicated=True)


def computes_globally(*, steps: int) -> None:
    """A loss and a gradient norm as a data-parallel step makes them: reduced over processes, by gloo."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    _join()
    mesh = Mesh(np.array(jax.devices()), ("d",))
    whole = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]

    @jax.jit
    def train_step(x: Any) -> Any:
        return jax.lax.with_sharding_constraint(((x * x).sum(), x.max(axis=0)), (whole, whole))

    run = sl.start(logger=settings())
    for step in range(steps):
        batch = placed("sharded", batch_of(step))
        loss, most = train_step(batch)
        sl.scalar(loss=loss)
        sl.total(sequences=jnp.int32(3), replicated=True)
        sl.summary("most", most)
        sl.summary("batch", batch)
        run.commit(step)
    run.finish()


def batch_of(step: int) -> Array:
    """Small whole numbers, whose squares any order adds up to the same."""
    return np.random.default_rng(step).integers(-9, 9, (16, 3)).astype(np.float32)


def big_totals(*, records: int) -> None:
    """int32 amounts beyond 2^24, which together go beyond 2^31, on every process."""
    _join()
    with sl.start(logger=settings()) as run:
        for i in range(records):
            sl.total(tokens=placed("own", np.array(big_amount(RANK, i))))
            sl.total(tokens_of_all=placed("replicated", np.array(big_amount(9, i))))
        run.commit(0)


def big_amount(process: int, i: int) -> np.int32:
    return np.int32(2**31 - 1 - 7 * i - process if i % 2 else 2**24 + 1 + 2 * i + process)


def some_owners_record() -> None:
    """Of the processes that own shards, some record and some do not; step by step."""
    _join()
    run = sl.start(logger=settings())
    values = numbers("float32", (8, 3))
    sharded, whole = placed("sharded", values), placed("replicated", np.float32(3)[...])
    for step, recording in enumerate(([0, 1], [0], [0], [1], [0, 1])):
        if RANK in recording:
            sl.summary("batch", sharded)
            sl.scalar(loss=whole)
        sl.summary("of_one", placed("some", values))  # whose devices are process 1's alone
        sl.total(everyone=1)
        run.commit(step)
    run.finish()


# --- without waiting ---------------------------------------------------------------------------------------


def records_in_flight(*, steps: int) -> None:
    """Records what is still computed for a second, and notes how long each step held the caller."""
    import jax

    _join()
    busy = Busy(1.0)
    run = sl.start(logger=settings())
    with compilations() as compiled:
        for step in range(steps + 1):  # the first compiles
            rounds = 10 if step == 0 else None
            seen = len(compiled)
            begin = time.perf_counter()
            with jax.transfer_guard("disallow" if step else "allow"):
                with sl.record_timing("update") as timing:
                    inside = time.perf_counter() - begin
                    result = busy(rounds)
                    timing.until(result)
                loss = busy.scalar(result)
                dispatched = time.perf_counter()
                sl.scalar(loss=loss)
                sl.summary("result", result, quantiles=(0.5,))
                run.commit(step)
                if run.is_root:
                    run.commit(step, {"final/loss": loss, "final/step": step})
            held = time.perf_counter() - begin
            early = result.is_ready()
            result.block_until_ready()
            took = time.perf_counter() - begin
            wait_until_known(timing)
            known = time.perf_counter() - begin
            if step:
                recording = begin + held - dispatched
                note("step", {
                    "held": held, "recording": recording, "took": took, "timing": timing.seconds,
                    "early": early, "inside": inside, "known": known, "compiled": compiled[seen:],
                })  # fmt: skip
    note("compiled on", sorted(set(compiled)))
    run.finish()


def wait_until_known(timing: Any) -> None:
    end = time.monotonic() + LONG_S
    while timing.seconds != timing.seconds:
        assert time.monotonic() < end
        time.sleep(0.001)


def donates(*, steps: int, max_programs: int) -> None:
    """A training loop whose state, which it records, is donated to the next step at once."""
    import jax
    import jax.numpy as jnp

    def advance(state: Any) -> Any:
        return {"loss": state["loss"] + 0.5, "weights": state["weights"] + 1, "mask": ~state["mask"]}

    train_step = jax.jit(advance, donate_argnums=0)
    even = np.arange(5000).reshape(50, 100) % 2 == 0
    state = {
        "loss": jnp.float32(0), "weights": jnp.arange(5000, dtype=jnp.float32).reshape(50, 100),
        "mask": jnp.asarray(even),
    }  # fmt: skip
    with sl.start(logger=settings(max_programs=max_programs)) as run:
        for step in range(steps):
            sl.scalar(loss=state["loss"])
            sl.last(latest=state["loss"])
            sl.summary("weights", state["weights"])
            sl.masked("chosen", state["weights"], state["mask"])
            with sl.record_timing("weights") as timing:
                timing.until(state)
            recorded, state = state, train_step(state)
            assert all(array.is_deleted() for array in jax.tree.leaves(recorded))
            run.commit(step)


def forgets(*, max_programs: int) -> None:
    """Deletes what it has recorded, and overwrites its own arrays, while the device has a second to go."""
    busy = Busy(1.0)
    run = sl.start(logger=settings(max_programs=max_programs))
    for rounds in (10, None):  # first it compiles, which would take longer than the work
        result = busy(rounds)
        scalar = busy.scalar(result)
        device_mask = result == result
        mask, values = np.ones((64, 64), bool), np.full((64, 64), 2, np.float32)
        mask[0, :32] = False
        sl.scalar(loss=scalar)
        sl.summary("result", result)
        sl.masked("masked", result, mask)
        sl.masked("values", values, device_mask)
        sl.total(amount=scalar)
        mask[:] = False
        values[:] = np.nan
        assert rounds or not result.is_ready()
        for array in (result, scalar, device_mask):
            array.delete()
        run.commit(0 if rounds else 1)
    run.finish()


# --- devices that fail -------------------------------------------------------------------------------------


def a_device_hangs(*, process: int, deadline_s: float, finish_s: float) -> None:
    """Some values of one process are never computed; it and the others go on, and end."""
    _join()
    import jax

    never = Hung()
    hangs = Callback(never, jax.local_devices()[-1]) if process == RANK else None
    fine = jax.device_put(np.float32(2), jax.local_devices()[0])
    sl.scalar(fine=fine)
    sl.summary("device", fine)
    sl.tracker().drain()  # compiled
    run = sl.start(logger=settings(deadline_s=deadline_s, first_deadline_s=deadline_s))
    for step in range(4):
        sl.scalar(f"host/{RANK}", step)
        if step == 1 and hangs is not None:
            hung = hangs()
            sl.scalar(hung=hung)
            sl.summary("hung_summary", hung)
            with sl.record_timing("hung") as timing:
                timing.until(hung)
        sl.scalar(fine=fine)
        sl.summary("device", fine)
        sl.total(everyone=1)
        if RANK == 0 and PROCESSES > 1 and process:  # it is the first by which the root counts its deadline
            wait_for(f"commit{step}")
        begin = time.perf_counter()
        run.commit(step)
        note("commit_s", time.perf_counter() - begin)
    if RANK == 0 and hangs is not None:
        run.commit(4, {"final/hung": hung, "final/host": 3.0})
    begin = time.perf_counter()
    note("finished", [run.finish(finish_s), time.perf_counter() - begin])
    if PROCESSES > 1:
        wait_for("end")
    never.over.set()
    os._exit(0)  # JAX would wait for a device, or the other processes


def the_roots_devices_never_rest(*, deadline_s: float, steps: int) -> None:
    """The root always has values in flight, the other process commits once, and then nothing more."""
    _join()
    import jax
    import jax.numpy as jnp

    jax.devices()  # of all: the back end starts when everyone's does
    run = sl.start(logger=settings(deadline_s=deadline_s, first_deadline_s=LONG_S))
    sl.scalar(host=1.0)
    run.commit(0)
    if RANK == 0:

        @jax.jit
        def work(x: Any) -> Any:
            return jax.lax.fori_loop(0, 20, lambda _, y: jnp.tanh(y @ y), x)

        flights = [jnp.eye(300)]
        end = time.monotonic() + LONG_S
        last = step = 0
        while last < steps and time.monotonic() < end:
            step += 1
            flights.append(work(flights[-1]))
            sl.summary("device", flights[-1])
            run.commit(step)
            if len(flights) > 3:
                flights.pop(0).block_until_ready()
            lines = sl.read_journal(run.wait_dir())
            last = max((line["step"] for line in lines if line["type"] == "commit"), default=0)
        note("written", [last, step])
    else:
        wait_for("end")
    run.finish(5.0)
    os._exit(0)


def a_computation_raises() -> None:
    """A Python function on the way raises: its values fail, and nothing else."""
    import jax

    def raises(_: Any) -> Any:
        raise ValueError("the reward model is down")

    logging.getLogger("jax").setLevel(logging.CRITICAL)
    fails = Callback(raises, jax.local_devices()[-1])
    fine = jax.device_put(np.float32(2), jax.local_devices()[0])
    run = sl.start(logger=settings())
    for step in range(4):
        if step == 1:
            failing = fails()
            sl.scalar(failing=failing)
            sl.summary("failing_summary", failing)
            sl.masked("failing_masked", failing, np.array(True))
        sl.scalar(fine=fine, host=step)
        sl.total(everyone=1)
        run.commit(step)
        assert run.flush(LONG_S)
    run.commit(4, {"final/failing": failing, "final/host": 3.0})
    note("finished", run.finish())
    os._exit(0)  # JAX would raise it again


def threads_record(*, threads: int, records: int) -> None:
    """Many threads record device values while commits are made."""
    import jax

    arrays = [jax.device_put(np.int32(i), jax.local_devices()[0]) for i in range(records)]
    values = jax.device_put(np.ones(3, np.float32), jax.local_devices()[0])
    running = threading.Event()

    def record(number: int) -> None:
        running.wait()
        for array in arrays:
            sl.total(amount=array)
            sl.scalar(f"of/{number}", array)
            sl.summary("values", values)

    workers = [threading.Thread(target=record, args=[number]) for number in range(threads)]
    with sl.start(logger=settings()) as run:
        for worker in workers:
            worker.start()
        running.set()
        step = 0
        while any(worker.is_alive() for worker in workers):
            run.commit(step)
            step += 1
            time.sleep(0.002)
        run.commit(step)


def _join() -> None:
    if PROCESSES > 1:
        connect()


if __name__ == "__main__":
    main(globals())
