"""Connecting the processes of a self-test: as a training job does it, but saying who does not come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from sightline.selftest.rendezvous import Place, meet
from sightline.selftest.result import Failed
from sightline.transports import LocalTransport, Transport, several_processes


class Connection(NamedTuple):
    """Of this process with the others.

    Attributes:
        transport: between them.
        hosts: by process, on process 0.
        address: of the coordinator; empty in a job of one process.
    """

    transport: Transport
    hosts: Mapping[int, str]
    address: str

    def said(self, seconds: float) -> tuple[str, str]:
        """Status and figure of the check."""
        if self.transport.processes == 1:
            return "PASS", f"one process; {seconds:.1f} s"
        hosts = len(set(self.hosts.values()))
        return "PASS", (
            f"{self.transport.processes} processes on {hosts} host{'s' if hosts > 1 else ''} through "
            f"{self.address}; {seconds:.1f} s"
        )


def connect(options: Mapping[str, Any], deadline: float, placed: Callable[[int, int], object]) -> Connection:
    """Finds this process's place, waits for the others, and starts JAX's distributed runtime.

    Args:
        options: ``coordinator``, ``num_processes``, ``process_id``; None: by the environment, or by what JAX
            detects.
        deadline: on ``time.monotonic``, for the others to come.
        placed: told which process this is, and of how many, as soon as that is known.

    Raises:
        Failed: some do not come, or cannot be reached, or it is not known which process this is.
    """
    place = _place(options, deadline)
    placed(*((place.process, place.processes) if place is not None else (0, 1)))
    if place is None:
        return Connection(LocalTransport(), {}, "")
    hosts = meet(place, deadline)
    import jax

    from sightline.jax.distributed import distributed
    from sightline.transports.jax_store import JaxStoreTransport

    jax.distributed.initialize(
        place.address, place.processes, place.process,
        initialization_timeout=max(10, int(deadline - time.monotonic())),
    )  # fmt: skip
    found = distributed()
    assert found is not None, "jax.distributed says that it is not initialised"
    return Connection(JaxStoreTransport(found.client, found.process, found.processes), hosts, place.address)


def _place(options: Mapping[str, Any], deadline: float) -> Place | None:
    """Where this process belongs; None in a job of one."""
    env = os.environ
    address = options["coordinator"] or env.get("JAX_COORDINATOR_ADDRESS") or None
    processes, process = (
        given if given is not None else _number(name)
        for given, name in (
            (options["num_processes"], "JAX_NUM_PROCESSES"),
            (options["process_id"], "JAX_PROCESS_ID"),
        )
    )
    if processes == 1:
        return None
    sign = several_processes()
    if find_spec("jax") is None:
        if sign or processes:
            raise Failed(
                f"{sign or f'{processes} processes'}, and JAX is not installed here",
                "its coordination service is the way between processes", "pip install 'sightline[jax]'",
            )  # fmt: skip
        return None
    try:
        from sightline.jax.distributed import detected

        address, processes, process = detected(
            address, processes, process, max(1, int(deadline - time.monotonic()))
        )
    except Exception as error:
        raise Failed(
            f"JAX's detection of the cluster failed: {type(error).__name__}: {error}"[:500], "",
            "give --coordinator HOST:PORT --num-processes N --process-id I",
        ) from error  # fmt: skip
    if processes == 1 or (processes is None and process is None and address is None and not sign):
        return None
    if address is None or processes is None or process is None:
        known = {"coordinator": address, "num-processes": processes, "process-id": process}
        missing = [name for name, value in known.items() if value is None]
        raise Failed(
            f"this process's place is not known: without {', '.join(missing)}"
            f"{f', though {sign}' if sign else ''}",
            "the launcher does not say it, and JAX does not detect it",
            f"give {' '.join(f'--{name} …' for name in missing)}, or set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID",
        )
    if not 0 <= process < processes:
        raise Failed(
            f"process {process} of {processes}: expected 0 to {processes - 1}", "", "see the launcher"
        )
    return Place(address, process, processes)


def _number(name: str) -> int | None:
    value = os.environ.get(name)
    if not value:
        return None
    if not value.isdecimal():
        raise Failed(f"{name}={value!r} is no number", "", "sightline launch sets it")
    return int(value)
