"""Transports, and the choice of the right one."""

from __future__ import annotations

import os
from typing import Literal

from sightline.errors import ConfigurationError
from sightline.jax.distributed import backend_processes, distributed
from sightline.transports.base import Transport
from sightline.transports.local import LocalTransport

__all__ = ["LocalTransport", "Transport", "TransportName", "connect"]

TransportName = Literal["auto", "local", "jax_store", "process_allgather"]

# What launchers set when they start several processes.
_PROCESS_COUNTS = (
    "JAX_NUM_PROCESSES",
    "SLURM_STEP_NUM_TASKS",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "WORLD_SIZE",
    "MEGASCALE_NUM_SLICES",
)
_PROCESS_NUMBERS = (
    "JAX_PROCESS_ID",
    "SLURM_PROCID",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "RANK",
    "TPU_WORKER_ID",
)
_HOST_LISTS = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")


def connect(name: TransportName | Transport = "auto") -> Transport:
    """The transport of this name; ``"auto"`` finds it.

    ``"auto"`` is JAX's coordination service where ``jax.distributed`` is initialised, and ``"local"`` in a
    job of one process. Neither imports JAX nor starts a back end.

    Raises:
        ConfigurationError: an unknown name; or signs of several processes and no store between them, since
            each of them would take itself for the root.
    """
    if isinstance(name, Transport):
        return name
    match name:
        case "local":
            return LocalTransport()
        case "process_allgather":
            from sightline.transports.allgather import AllgatherTransport

            return AllgatherTransport()
        case "auto" | "jax_store":
            found = distributed()
            if found is not None and (found.processes > 1 or name == "jax_store"):
                from sightline.transports.jax_store import JaxStoreTransport

                return JaxStoreTransport(found.client, found.process, found.processes)
            if name == "auto" and (found is not None or not (sign := several_processes())):
                return LocalTransport()
            reason = f"{sign}, but" if name == "auto" else 'transport="jax_store", but'
            raise ConfigurationError(
                f"{reason} no coordination client is up: each process would be a root of its own. "
                f"Before sightline starts, add\n\n"
                f"    jax.distributed.initialize()   # `sightline launch`: sightline.jax.initialize()\n\n"
                f'or choose transport="process_allgather" (a collective at every commit), or '
                f'transport="local" if each process is a run of its own.'
            )
    raise ConfigurationError(
        f"transport={name!r}; expected 'auto', 'local', 'jax_store', 'process_allgather' or a Transport"
    )


def several_processes() -> str:
    """The sign that this job has several processes, or an empty string."""
    for variable in _PROCESS_COUNTS:
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 1:
            return f"{variable}={value}"
    for variable in _HOST_LISTS:
        value = os.environ.get(variable, "")
        if "," in value:
            return f"{variable} names {value.count(',') + 1} hosts"
    processes = backend_processes()
    return f"JAX's back end spans {processes} processes" if processes > 1 else ""


def number_by_launcher() -> int | None:
    """This process's index by what launchers set; None where it is not said."""
    for variable in _PROCESS_NUMBERS:
        value = os.environ.get(variable, "")
        if value.isdigit():
            return int(value)
    return None
