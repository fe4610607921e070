"""How busy NVIDIA's devices are, as the driver says; nothing of CUDA or JAX is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


class NoDevices(Exception):
    """There is nothing to be asked, and why."""


class Gpus:
    """The devices that this process may use (``CUDA_VISIBLE_DEVICES``).

    Raises:
        NoDevices: no driver, no ``nvidia-ml-py``, or no device.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        try:
            import pynvml
        except ImportError:
            raise NoDevices("nvidia-ml-py is not installed (pip install 'sightline[nvidia]')") from None
        self._nvml: ModuleType = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise NoDevices(f"no driver of NVIDIA's answers: {error}") from None
        try:
            self._handles = _visible(pynvml, environment.get("CUDA_VISIBLE_DEVICES"))
        except pynvml.NVMLError as error:
            self.close()
            raise NoDevices(f"the driver does not name the devices: {error}") from None
        if not self._handles:
            self.close()
            raise NoDevices("there is no device of NVIDIA's")
        self._silent: set[str] = set()

    def read(self) -> dict[str, list[float]]:
        """By key a number for each device; what a device does not tell is left out."""
        nvml = self._nvml
        asked: dict[str, Callable[[Any], float]] = {
            "host/gpu/busy_fraction": lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
            "host/gpu/memory_used_bytes": lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
            "host/gpu/power_w": lambda gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
            "host/gpu/temperature_c": lambda gpu: nvml.nvmlDeviceGetTemperature(gpu, 0),
        }
        found: dict[str, list[float]] = {}
        for key, ask in asked.items():
            if key in self._silent:
                continue
            try:
                found[key] = [float(ask(gpu)) for gpu in self._handles]
            except nvml.NVMLError:  # as parts of a device (MIG) do not tell how busy they are
                self._silent.add(key)
        return found

    def close(self) -> None:
        """Lets the driver's library go."""
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            pass


def _visible(nvml: Any, visible: str | None) -> list[Any]:
    """Handles of the devices that CUDA would show. Where they differ, the numbers are the driver's."""
    if visible is None:
        return [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    handles = []
    for name in (part.strip() for part in visible.split(",")):
        if name.isdigit() and int(name) < nvml.nvmlDeviceGetCount():
            handles.append(nvml.nvmlDeviceGetHandleByIndex(int(name)))
        elif name.startswith(("GPU-", "MIG-")):
            handles.append(nvml.nvmlDeviceGetHandleByUUID(name))
        else:
            break  # as CUDA does: what follows a name that is none is not visible
    return handles
