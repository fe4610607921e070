"""What is recorded to be compared, and the same figures by plain NumPy over everything, gathered by JAX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

HOST_TOLERANCE = 1e-9  # of the value
DEVICE_TOLERANCE = 1e-5  # of the larger of |mean| and std, where devices reduce in float32
_MOST = 512  # scalars of a process
_SHAPE = (32, 64)
_ROWS, _COLUMNS = 64, 16


class HostData(NamedTuple):
    """What one process records from the host.

    Attributes:
        scalars: near 1e8 with a standard deviation of 1, where float32 has no digits left.
        values, mask: an array, and which of its elements count.
        tokens: an int that float64 does not hold.
    """

    scalars: np.ndarray[Any, np.dtype[np.float64]]
    values: np.ndarray[Any, np.dtype[np.float64]]
    mask: np.ndarray[Any, np.dtype[np.bool_]]
    tokens: int

    @classmethod
    def of(cls, process: int) -> HostData:
        """That of a process, another on each."""
        rng = np.random.default_rng([20, process])
        count = 100 + 37 * process % (_MOST - 100)
        return cls(
            1e8 + rng.standard_normal(count),
            3.0 * rng.standard_normal(_SHAPE) + 5.0,
            rng.random(_SHAPE) < 0.6,
            2**60 + 2 * process + 1,
        )

    def packed(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """As bytes of one length on all processes: JAX sends float64 as float32."""
        scalars = np.full(_MOST, np.nan)
        scalars[: len(self.scalars)] = self.scalars
        parts = (scalars, self.values, self.mask, np.array([self.tokens], np.int64))
        return np.concatenate([np.frombuffer(each.tobytes(), np.uint8) for each in parts])

    @classmethod
    def unpacked(cls, data: bytes) -> HostData:
        """The inverse of :meth:`packed`."""
        count = math.prod(_SHAPE)
        scalars = np.frombuffer(data, np.float64, _MOST)
        at = scalars.nbytes
        values = np.frombuffer(data, np.float64, count, at).reshape(_SHAPE)
        at += values.nbytes
        mask = np.frombuffer(data, np.bool_, count, at).reshape(_SHAPE)
        tokens = np.frombuffer(data, np.int64, 1, at + mask.nbytes)
        return cls(scalars[~np.isnan(scalars)], values, mask, int(tokens[0]))


def gathered(own: HostData, processes: int) -> list[HostData]:
    """The data of all processes, by ``process_allgather``: a collective, which all must call."""
    if processes == 1:
        return [own]
    from jax.experimental import multihost_utils

    rows = np.asarray(multihost_utils.process_allgather(own.packed())).reshape(processes, -1)
    return [HostData.unpacked(row.tobytes()) for row in rows]


def full_array() -> np.ndarray[Any, np.dtype[np.float32]]:
    """What the global array holds, for one device; each further one has the same and its number more."""
    rng = np.random.default_rng(7)
    return (40.0 + 2.0 * rng.standard_normal((_ROWS, _COLUMNS))).astype(np.float32)


def global_array() -> tuple[Any, np.ndarray[Any, np.dtype[np.float32]]]:
    """An array divided over all devices of all processes, and what it holds; starts JAX's back end."""
    import jax

    devices = np.array(jax.devices())
    block = full_array()
    whole = np.concatenate([block + np.float32(number) for number in range(len(devices))])
    mesh = jax.sharding.Mesh(devices, ("all",))
    spec = jax.sharding.PartitionSpec("all")  # type: ignore[no-untyped-call]
    sharding = jax.sharding.NamedSharding(mesh, spec)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index]), whole


def statistics(values: np.ndarray[Any, Any]) -> dict[str, float]:
    """Mean, std, min and max in float64, by two passes."""
    exact = values.astype(np.float64).ravel()
    mean = math.fsum(exact) / exact.size
    std = math.sqrt(math.fsum((exact - mean) ** 2) / exact.size)
    return {"mean": mean, "std": std, "min": float(exact.min()), "max": float(exact.max())}


class Compared(NamedTuple):
    """How far sightline's figures are from the reference.

    Attributes:
        wrong: what is not as it must be, in words.
        host, device: the largest deviation, in units of what is allowed.
    """

    wrong: list[str]
    host: float
    device: float


def compare(
    values: Mapping[str, Any],
    counts: Mapping[str, int],
    host: Sequence[HostData],
    device: np.ndarray[Any, Any] | None,
) -> Compared:
    """Compares one commit with the reference.

    Args:
        values, counts: as the commit's line has them.
        host: what the processes recorded from the host.
        device: what the global array holds; None: none was recorded.
    """
    wrong: list[str] = []
    scalars = np.concatenate([each.scalars for each in host])
    masked = np.concatenate([each.values[each.mask] for each in host])
    expected = {"selftest/scalar__count": scalars.size, "selftest/masked__count": masked.size}
    if device is not None:
        expected["selftest/device__count"] = device.size
    for key, count in expected.items():
        if counts.get(key) != count:
            wrong.append(f"{key} is {counts.get(key)}, and must be {count}")
    tokens = sum(each.tokens for each in host)
    if values.get("selftest/tokens") != tokens:
        wrong.append(f"selftest/tokens is {values.get('selftest/tokens')}, and must be {tokens}")
    worst = {"host": 0.0, "device": 0.0}

    def check(key: str, reference: float, allowed: float, where: str) -> None:
        value = values.get(key)
        off = abs(value - reference) / allowed if isinstance(value, (int, float)) else math.inf
        worst[where] = max(worst[where], off)
        if not off <= 1:
            wrong.append(f"{key} is {value!r}, and must be {reference!r}")

    mean = statistics(scalars)["mean"]
    check("selftest/scalar", mean, HOST_TOLERANCE * abs(mean), "host")
    for name, reference in statistics(masked).items():
        check(f"selftest/masked/{name}", reference, HOST_TOLERANCE * max(1.0, abs(reference)), "host")
    if device is not None:
        found = statistics(device)
        allowed = DEVICE_TOLERANCE * max(abs(found["mean"]), found["std"])
        for name, reference in found.items():
            check(f"selftest/device/{name}", reference, allowed, "device")
    return Compared(wrong, worst["host"], worst["device"])
