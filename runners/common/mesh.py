"""One data-parallel mesh over all devices of all processes, and the way in and out of global arrays.

Rows are split over the mesh in process order; parameters are replicated. A process puts in its own rows and
takes out its own rows: nothing here waits for another process, and for its devices what takes rows out.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "data"


def make_mesh() -> Mesh:
    """A mesh with the one axis `data` over every device; devices of one process are neighbours."""
    devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(devices), (AXIS,))


def make_local_mesh() -> Mesh:
    """A mesh over this process's own devices: what runs on it waits for nobody."""
    return Mesh(np.array(sorted(jax.local_devices(), key=lambda d: d.id)), (AXIS,))


def put_rows(mesh: Mesh, tree: Any) -> Any:
    """Process-local NumPy arrays (rows_local, ...) into global arrays (rows_global, ...) split by rows."""
    sharding = NamedSharding(mesh, P(AXIS))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)


def put_replicated(mesh: Mesh, tree: Any) -> Any:
    """Host arrays that are equal on every process into replicated global arrays."""
    sharding = NamedSharding(mesh, P())
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)


def copy_to_local(mesh: Mesh, tree: Any) -> Any:
    """Replicated global arrays on a mesh of this process's own devices; no communication, and no waiting."""
    sharding = NamedSharding(mesh, P())
    return jax.tree.map(lambda x: jax.device_put(x.addressable_data(0), sharding), tree)


def local_rows(array: jax.Array) -> np.ndarray:
    """This process's rows of a global array split by rows, in order, each exactly once."""
    shards = [s for s in array.addressable_shards if s.replica_id == 0]
    shards.sort(key=lambda s: s.index[0].start or 0)
    return np.concatenate(jax.device_get([s.data for s in shards]))


def to_host(tree: Any) -> Any:
    """Replicated (or process-local) arrays as NumPy arrays."""
    return jax.device_get(tree)


def my_slice(rows: int) -> slice:
    """Which of `rows` global rows this process owns; `rows` must divide by the number of processes."""
    share = rows // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)
