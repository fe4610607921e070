"""What is known of other libraries, by the dotted names of their functions. Nothing of them is imported.

A call in a name is written ``()``: ``wandb.init().log`` is the method of what ``wandb.init(...)`` returns.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from sightline.lint.words import named

CLOCKS = frozenset(
    {f"time.{name}" for name in ("time", "perf_counter", "monotonic", "process_time", "thread_time")}
    | {f"time.{name}_ns" for name in ("time", "perf_counter", "monotonic", "process_time", "thread_time")}
    | {"timeit.default_timer", "datetime.datetime.now", "datetime.datetime.utcnow"}
)

#: What makes a compiled function of a function.
COMPILERS = frozenset(
    {
        "jax.jit",
        "jax.pmap",
        "jax.pjit",
        "jax.api.jit",
        "jax.experimental.pjit.pjit",
        "flax.nnx.jit",
        "flax.nnx.pmap",
        "flax.experimental.nnx.jit",
        "flax.linen.jit",
        "equinox.filter_jit",
        "equinox.filter_pmap",
        "equinox.internal.filter_jit",
        "haliax.named_jit",
        "penzai.jit",
    }
)
#: What makes a function that gives gradients: its outputs are device arrays too.
GRADIENTS = frozenset(
    {
        "jax.grad",
        "jax.value_and_grad",
        "flax.nnx.grad",
        "flax.nnx.value_and_grad",
        "equinox.filter_grad",
        "equinox.filter_value_and_grad",
        "flax.training.dynamic_scale.DynamicScale().value_and_grad",
    }
)
#: What makes a traced function of a function, or calls it traced.
TRACERS = frozenset(
    {
        "jax.vmap",
        "jax.checkpoint",
        "jax.remat",
        "jax.shard_map",
        "jax.experimental.shard_map.shard_map",
        "jax.linearize",
        "jax.jvp",
        "jax.vjp",
        "jax.hessian",
        "jax.jacfwd",
        "jax.jacrev",
        "jax.make_jaxpr",
        "jax.eval_shape",
        "jax.lax.scan",
        "jax.lax.cond",
        "jax.lax.switch",
        "jax.lax.while_loop",
        "jax.lax.fori_loop",
        "jax.lax.map",
        "flax.linen.scan",
        "flax.linen.remat",
        "flax.nnx.scan",
        "flax.nnx.vmap",
        "flax.nnx.remat",
        "flax.nnx.shard_map",
        "equinox.filter_vmap",
        "equinox.filter_checkpoint",
        "sightline.collect",
        "sightline.jax.collecting.collect",
    }
)
#: Classes of arrays that lie on a device.
ARRAYS = frozenset({"jax.Array", "jax.numpy.ndarray", "chex.Array", "jaxlib.xla_extension.ArrayImpl"})
TREE_MAPS = frozenset(
    {
        "jax.tree.map",
        "jax.tree_map",
        "jax.tree_util.tree_map",
        "jax.tree_util.tree_map_with_path",
        "jax.tree.map_with_path",
        "optree.tree_map",
        "tree.map_structure",
        "map",
    }
)

#: Collectives over processes that return what they gather.
GATHERS = frozenset(
    {
        "jax.experimental.multihost_utils.process_allgather",
        "accelerate.utils.gather",
        "accelerate.utils.gather_object",
        "accelerate.utils.reduce",
        "accelerate.Accelerator().gather",
        "accelerate.Accelerator().gather_for_metrics",
        "accelerate.Accelerator().reduce",
    }
)
#: Collectives of mpi4py: those of objects return what they gather, those of buffers write into the second.
_MPI = re.compile(
    r"mpi4py\.MPI(?:\.COMM_WORLD|\.(?:Comm|Intracomm)\(\))"
    r"(?:\.(?:Clone|Dup|Split|Split_type|Create|Create_group)\(\))*\.(?:all)?(gather|reduce)(v?)",
    re.IGNORECASE,
)
_MPI_METHODS = named("allgather allreduce gather reduce")
_MPI_NAMES = named("comm mpi_comm")
#: Collectives of torch that write into an argument: its position and its name.
INTO = {
    "all_reduce": (0, "tensor"),
    "reduce": (0, "tensor"),
    "all_gather": (0, "tensor_list"),
    "all_gather_object": (0, "object_list"),
    "all_gather_into_tensor": (0, "output_tensor"),
    "gather": (1, "gather_list"),
    "gather_object": (1, "object_gather_list"),
    "reduce_scatter_tensor": (0, "output"),
}
_TORCH_DISTRIBUTED = re.compile(r"torch\.distributed(?:\.distributed_c10d)?\.(\w+)")
#: Collectives inside traced functions.
TRACED_GATHERS = frozenset({"jax.lax.all_gather"})
TRACED_SUMS = frozenset({f"jax.lax.{name}" for name in ("psum", "pmean", "pmax", "pmin", "all_gather")})


@functools.cache
def written_argument(path: str) -> tuple[int, str] | None:
    """Which argument a collective of torch or MPI writes what it gathers to; None for any other function."""
    if _MPI.fullmatch(path) and path.rpartition(".")[2][0].isupper():
        return 1, "recvbuf"
    found = _TORCH_DISTRIBUTED.fullmatch(path)
    return INTO.get(found[1]) if found else None


_ACCELERATORS = frozenset({"gather", "gather_for_metrics", "reduce"})


def is_accelerator_gather(receiver: str, method: str) -> bool:
    """Whether ``self.accelerator.gather`` and the like are meant, going by the names."""
    return receiver.lstrip("_") == "accelerator" and method in _ACCELERATORS


def is_mpi(paths: Iterable[str], receiver: str, method: str) -> bool:
    """Whether mpi4py's ``comm.allreduce`` and the like are meant; by the names, if nothing else is known."""
    if method not in _MPI_METHODS:
        return False
    return any(map(_MPI.fullmatch, paths)) or (not paths and receiver.lstrip("_") in _MPI_NAMES)


#: Functions that read one number from a device.
NUMBER_READS = frozenset({"float", "numpy.float16", "numpy.float32", "numpy.float64"})
#: Functions that read a whole array, or a tree of arrays.
ARRAY_READS = frozenset(
    {
        "int",
        "jax.device_get",
        "jax.experimental.multihost_utils.global_array_to_host_local_array",
        "flax.training.common_utils.get_metrics",
        "flax.jax_utils.device_get",
        "numpy.asarray",
        "numpy.array",
        "numpy.asanyarray",
    }
)
NUMBER_METHODS = frozenset({"item"})
ARRAY_METHODS = frozenset({"tolist", "numpy", "__array__"})
#: Attributes that are known on the host.
ON_HOST = named(
    "shape ndim size dtype sharding nbytes itemsize aval weak_type devices device is_fully_addressable "
    "is_fully_replicated global_shards committed"
)

#: Reductions: their usual names as functions and as methods.
MEANS = named(
    "mean average nanmean std nanstd var nanvar median nanmedian percentile nanpercentile quantile "
    "nanquantile"
)
SUMS = named("sum nansum fsum")
EXTREMES = named("max min amax amin nanmax nanmin")
VOTES = named("any all count_nonzero")
REDUCTIONS = MEANS | SUMS | EXTREMES | VOTES
#: Functions that are told a size.
SHAPERS = named(
    "pad zeros ones full empty arange linspace reshape broadcast_to range resize tile repeat eye islice "
    "dynamic_slice_in_dim dynamic_slice iota ShapeDtypeStruct"
)
MUTATORS = named("append extend add insert appendleft setdefault update put put_nowait")

#: Functions that make an array of a list.
ARRAY_MAKERS = named("array asarray stack tensor as_tensor")
#: Functions whose result is made of their arguments, and those that keep nothing of them.
PASSING = named(
    "abs dict enumerate filter getattr iter list max min next pow reversed round set sorted sum tuple zip "
    "vars any all copy.copy copy.deepcopy dataclasses.asdict itertools.chain"
)
DROPPING = named(
    "bool callable hasattr hash id input isinstance issubclass len open repr str type time.sleep"
)
#: Methods and functions that call what they are given, and where that stands.
CALLERS = {"submit": 0, "callback": 0, "io_callback": 0, "to_thread": 0, "run_in_executor": 1}

_TIMER = re.compile(r"(?:[\w.]+\.)?(?:Timer|Stop[wW]atch)\(\)")
_NO_TIMER = re.compile(r"(?:threading|timeit|sightline|torch\.utils\.benchmark)\b.*")
_TIMER_READINGS = named(
    "last elapsed elapsed_time elapsed_s elapsed_sec elapsed_secs elapsed_seconds duration seconds"
)


@functools.cache
def is_timer_reading(path: str) -> bool:
    """Whether an attribute of a timer is the time that it took, as ``Timer().last`` of codetiming.

    Example:
        >>> is_timer_reading("codetiming.Timer().last"), is_timer_reading("threading.Timer().last")
        (True, False)
    """
    made, _, attr = path.rpartition(".")
    if attr not in _TIMER_READINGS or _NO_TIMER.fullmatch(made):
        return False
    return _TIMER.fullmatch(made) is not None


@functools.cache
def is_timer_stop(path: str) -> bool:
    """Whether a method gives the time that was taken: codetiming's ``stop``, and sums of its ``timers``."""
    return re.fullmatch(r"codetiming(?:\._timer)?\.Timer(?:\(\))?\.(?:stop|timers\.\w+)", path) is not None


_EXPERIMENT = re.compile(
    r"(?:lightning|pytorch_lightning|lightning_fabric)(?:\.\w+)*\.(\w+)Logger\(\)\.experiment"
)
_EXPERIMENTS = {
    "Wandb": "wandb.run",
    "TensorBoard": "torch.utils.tensorboard.SummaryWriter()",
    "MLFlow": "mlflow.MlflowClient()",
}


@functools.cache
def known_as(path: str) -> str:
    """A path, or that of what it stands for: the tracker behind ``experiment`` of a logger of Lightning.

    Example:
        >>> known_as("lightning.pytorch.loggers.WandbLogger().experiment"), known_as("numpy.mean")
        ('wandb.run', 'numpy.mean')
    """
    found = _EXPERIMENT.fullmatch(path)
    return _EXPERIMENTS.get(found[1], path) if found else path


_PRINTS = frozenset(
    {
        "print",
        "pprint.pprint",
        "pprint.pformat",
        "tabulate.tabulate",
        "rich.print",
        "click.echo",
        "click.secho",
        "tqdm.tqdm.write",
        "tqdm.auto.tqdm.write",
        "sys.stdout.write",
        "sys.stderr.write",
        "jax.debug.print",
        "warnings.warn",
    }
)
_LEVELS = named("debug info warning warn error exception critical fatal success trace")
_SHOWN = named("set_description set_postfix set_postfix_str set_description_str")


@functools.cache
def is_print(path: str) -> bool:
    """Whether a function puts text where people read it."""
    root, _, name = path.rpartition(".")
    if path in _PRINTS or name in _SHOWN:
        return True
    return name in _LEVELS | {"log"} and root.split(".")[0].rstrip("()") in ("logging", "absl", "loguru")


def is_print_method(receiver: str, method: str) -> bool:
    """The same for a method, going by the names: ``logger.info``, ``pbar.set_postfix``."""
    return method in _SHOWN or (method in _LEVELS and ("log" in receiver.lower() or receiver == "console"))


#: Modules whose functions take device arrays and give device arrays.
_DEVICE = re.compile(r"(jax|optax|flax|equinox|einops|haliax|distrax|rlax|chex|torch)\.")


@functools.cache
def stays_on_device(path: str) -> bool:
    """Whether what a function gives lies where its arguments lie."""
    return _DEVICE.match(path) is not None


@functools.cache
def is_numpy(path: str) -> bool:
    """Whether a function, and not a method, computes on the host."""
    return path.startswith(("numpy.", "math.", "statistics.", "scipy.")) and "()" not in path


@functools.cache
def is_function(path: str) -> bool:
    """Whether a path is that of a function of these libraries, and not of a method."""
    return (is_numpy(path) or stays_on_device(path)) and "()" not in path


def is_computing(path: str) -> bool:
    """Whether a path is of a library that computes, on a device or on the host."""
    return stays_on_device(path) or is_numpy(path)


_RECORDING = re.compile(
    r"sightline(?:\.stats_tracker|\.trackers)?(?:\.tracker\(\)|\.StatsTracker\(\))?"
    r"\.(scalar|total|last|ratio|rate|summary|masked|histogram|text|record_timing|ingest)"
)
_SCOPE = re.compile(
    r"sightline(?:\.stats_tracker|\.trackers)?(?:\.tracker\(\)|\.StatsTracker\(\))?\.scope\(\)"
)


@functools.cache
def recording(path: str) -> str | None:
    """Which recording call of sightline a path is; None if it is none."""
    found = _RECORDING.fullmatch(path)
    return found[1] if found else None


def is_scope(paths: frozenset[str]) -> bool:
    """Whether a value is what ``sl.scope(…)`` gives."""
    return any(_SCOPE.fullmatch(path) for path in paths)


def is_commit(path: str) -> bool:
    """Whether a method commits: of a run, or of a logger."""
    return re.fullmatch(r"sightline\.(run\.)?start\(\)(\.logger)?\.commit", path) is not None


def is_start(paths: Iterable[str]) -> bool:
    """Whether a function is ``sl.start``."""
    return any(path in ("sightline.start", "sightline.run.start") for path in paths)
