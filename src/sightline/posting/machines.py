"""Which hosts and devices a run has: each process says its own, the root puts them together.

No collective, and no back end is started for it: devices are said once one runs, with the first commit after.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sightline.jax.distributed import device_kinds
from sightline.support.foreign_numbers import position


class Introduction:
    """What this process says of itself, each thing once. Called by the training thread."""

    def __init__(self) -> None:
        self._is_host_said = False
        self._are_devices_said = False

    def news(self) -> dict[str, Any]:
        """What has not been said before: ``host``, ``devices`` {kind: how many this process has}.

        Example:
            >>> introduction = Introduction()
            >>> introduction.news()["host"] == os.uname().nodename, "host" in introduction.news()
            (True, False)
        """
        if self._are_devices_said:
            return {}
        news: dict[str, Any] = {} if self._is_host_said else {"host": os.uname().nodename}
        self._is_host_said = True
        if (kinds := device_kinds()) is not None:
            self._are_devices_said = True
            news["devices"] = kinds
        return news


class Machines:
    """What the processes have said, put together.

    Example:
        >>> machines = Machines()
        >>> machines.take(0, {"host": "a", "devices": {"TPU v4": 4}}), machines.take(1, {"host": "b"})
        (True, True)
        >>> machines.take(1, {"devices": {"TPU v4": 4}}), machines.take(1, {"host": 7})
        (True, False)
        >>> machines.plain()["devices"]
        {'TPU v4': 8}
        >>> machines.plain()["hosts"]["b"]
        {'processes': [1], 'devices': {'TPU v4': 4}}
    """

    def __init__(self) -> None:
        self._hosts: dict[int, str] = {}
        self._devices: dict[int, dict[str, int]] = {}

    def take(self, process: int, news: Mapping[str, Any]) -> bool:
        """What a process says of itself; returns whether it is anything new."""
        before = self._hosts.get(process), self._devices.get(process)
        host, devices = news.get("host"), news.get("devices")
        if isinstance(host, str):
            self._hosts[process] = host
        if isinstance(devices, Mapping):
            self._devices[process] = {
                str(kind): count for kind, count in devices.items() if position(count) is not None
            }
        return before != (self._hosts.get(process), self._devices.get(process))

    def plain(self) -> dict[str, Any]:
        """``hosts`` {name: its ``processes`` [..], its ``devices``} and ``devices`` {kind: how many on all
        hosts}; devices only where they are known."""
        processes: dict[str, list[int]] = {}
        devices: dict[str, Counter[str]] = {}
        for process in sorted(self._hosts):
            host = self._hosts[process]
            processes.setdefault(host, []).append(process)
            if process in self._devices:
                devices.setdefault(host, Counter()).update(self._devices[process])
        all_devices = sum(map(Counter, self._devices.values()), Counter[str]())
        return {
            "hosts": {
                host: {"processes": of, **({"devices": dict(devices[host])} if host in devices else {})}
                for host, of in processes.items()
            },
            **({"devices": dict(all_devices)} if self._devices else {}),
        }
