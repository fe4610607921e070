"""JAX's distributed runtime: its ranks and its key-value store.

The only file that imports a private part of JAX: the client of the coordination service is not public. Ranks
come from the same place and never from ``jax.process_index()``, which would start a back end: called before
``jax.distributed.initialize`` it makes every host believe that it is the root.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections import Counter
from typing import Any, NamedTuple, Protocol, cast

from sightline.errors import ConfigurationError


class Client(Protocol):
    """The part of JAX's coordination client that sightline uses."""

    def key_value_set_bytes(self, key: str, value: bytes) -> None: ...
    def blocking_key_value_get_bytes(self, key: str, timeout_in_ms: int) -> bytes: ...
    def key_value_dir_get_bytes(self, prefix: str) -> list[tuple[str, bytes]]: ...
    def key_value_delete(self, key: str) -> None: ...


_NEEDED = (
    "key_value_set_bytes",
    "blocking_key_value_get_bytes",
    "key_value_dir_get_bytes",
    "key_value_delete",
)


class Distributed(NamedTuple):
    """A running distributed client and this process's place."""

    client: Client
    process: int
    processes: int


def distributed() -> Distributed | None:
    """The distributed runtime of this process, or None if ``jax.distributed`` is not initialised.

    Does not import JAX: what has not been imported has not been initialised.

    Raises:
        ConfigurationError: this JAX keeps its client elsewhere.
    """
    if "jax" not in sys.modules:
        return None
    import jax

    if not jax.distributed.is_initialized():
        return None
    try:
        from jax._src.distributed import global_state

        client, process, processes = global_state.client, global_state.process_id, global_state.num_processes
        missing = [name for name in _NEEDED if not hasattr(client, name)]
    except (ImportError, AttributeError) as error:
        missing = [str(error)]
    if missing:
        raise ConfigurationError(
            f"JAX {jax.__version__} keeps its coordination client elsewhere than sightline knows "
            f'({", ".join(missing)}). Use transport="process_allgather", or a version of sightline that '
            f"knows this JAX (the file to change is sightline/jax/distributed.py)"
        )
    return Distributed(cast(Client, client), int(process), int(processes))


def backend_is_running() -> bool:
    """Whether a JAX back end has been started, so that asking for its devices starts none."""
    if "jax" not in sys.modules:
        return False
    try:
        from jax._src import xla_bridge

        return bool(xla_bridge.backends_are_initialized())
    except (ImportError, AttributeError):
        return False


def device_kinds() -> dict[str, int] | None:
    """How many devices of each kind this process has, as in ``{"NVIDIA H100 80GB HBM3": 8}``.

    None while no back end runs. Starts none; for the training thread.
    """
    if not backend_is_running():
        return None
    import jax

    try:
        return dict(Counter(str(device.device_kind) for device in jax.local_devices()))
    except (RuntimeError, AttributeError):
        return None


def moved() -> list[str]:
    """Which of the private parts that sightline uses this JAX does not have. Imports JAX, starts nothing."""
    import jax

    missing = []
    try:
        from jax._src.distributed import global_state

        missing += [
            name for name in ("client", "process_id", "num_processes") if not hasattr(global_state, name)
        ]
        if jax.distributed.is_initialized():
            missing += [name for name in _NEEDED if not hasattr(global_state.client, name)]
    except (ImportError, AttributeError) as error:
        missing.append(str(error))
    try:
        from jax._src import xla_bridge

        xla_bridge.backends_are_initialized()
    except (ImportError, AttributeError) as error:
        missing.append(str(error))
    return missing


def backend_processes() -> int:
    """How many processes an already running JAX back end spans; 1 if none runs. Starts nothing."""
    if not backend_is_running():
        return 1
    import jax

    return int(jax.process_count())


def detected(
    address: str | None, processes: int | None, process: int | None, timeout: int
) -> tuple[str | None, int | None, int | None]:
    """What JAX's own detection of clusters (Slurm, Open MPI, TPU pods, Kubernetes) adds to what is given.

    Args:
        address: of the coordinator; None: not known.
        processes, process: how many, and which; None: not known.
        timeout: seconds that it may wait for the coordinator's name.

    Returns:
        The three, None what it does not know either.

    Raises:
        Exception: whatever the detection raises.
    """
    if None not in (address, processes, process):
        return address, processes, process
    try:
        from jax._src.clusters import ClusterEnv

        detect = ClusterEnv.auto_detect_unset_distributed_params
    except (ImportError, AttributeError):
        return address, processes, process
    return tuple(detect(address, processes, process, None, None, timeout)[:3])  # type: ignore[return-value]


def initialize(**options: Any) -> bool:
    """Starts ``jax.distributed`` for a process of ``sightline launch``; does nothing for a job of one.

    Reads ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``. Where they are not set
    but a cluster is (Slurm, Open MPI, TPU pods, Kubernetes), call ``jax.distributed.initialize()`` yourself.
    A process that ends by an unhandled exception ends at once (code 1), without JAX's barrier, so that the
    launcher can stop the others.

    Args:
        options: passed on to ``jax.distributed.initialize``.

    Returns:
        Whether the job has several processes.

    Raises:
        ConfigurationError: a number of processes or of this one is set without the others, or to what
            cannot be one.
    """
    names = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    given = {name: os.environ.get(name) for name in names}
    if not any(given.values()):
        return False
    try:
        processes, process = (int(given[name] or "") for name in names)
    except ValueError:
        shown = ", ".join(f"{name}={value}" for name, value in given.items())
        raise ConfigurationError(
            f"{shown}: expected two integers. `sightline launch -n 2 -- python …` sets them, with "
            f"JAX_COORDINATOR_ADDRESS"
        ) from None
    if not 0 <= process < processes:
        raise ConfigurationError(
            f"JAX_PROCESS_ID={process} with JAX_NUM_PROCESSES={processes}: expected the processes to be "
            f"numbered from 0, each below their number"
        )
    if processes == 1:
        return False
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if not address:
        raise ConfigurationError(
            f"JAX_NUM_PROCESSES={processes} without JAX_COORDINATOR_ADDRESS: set it to host:port of process 0"
        )
    import jax

    jax.distributed.initialize(address, processes, process, **options)
    # After JAX's own hook, and so run before it.
    atexit.register(_end_at_once_if_failed)
    return True


def _end_at_once_if_failed() -> None:
    """After an unhandled exception JAX would wait minutes at its barrier for those who wait for this one.

    The launcher sees the end only when it comes, and stops the others then.
    """
    if getattr(sys, "last_value", None) is not None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(1)
