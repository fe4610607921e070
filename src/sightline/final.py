"""A commit that needs no gathering: the user's own values, or an export's."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sightline.naming import COUNT_SUFFIX
from sightline.snapshot import Value

if TYPE_CHECKING:
    from sightline.jax.recording import Numbers

log = logging.getLogger("sightline")


@dataclass(slots=True)
class Final:
    """Values of one commit, and those that devices have yet to compute.

    Attributes:
        on_devices: arrays of one element, for :meth:`launch`.
    """

    step: int
    values: dict[str, Value]
    counts: dict[str, int]
    texts: dict[str, str]
    on_devices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    made: float = field(default_factory=time.monotonic)
    obs: Counter[str] = field(default_factory=Counter)
    _numbers: Numbers | None = None

    def launch(self) -> None:
        """Starts the way of the device values to the host; the training thread's call."""
        if self.on_devices:
            from sightline.jax.recording import Numbers

            self._numbers = Numbers("commit", self.on_devices, anywhere=True)
            self.on_devices = {}

    def settle(self) -> bool:
        """Takes in the device values if they have arrived; returns whether there are none left."""
        numbers = self._numbers
        if numbers is None:
            return True
        try:
            if numbers.ready():
                self._numbers = None
                for key, (number,) in numbers.read().items():
                    if key.endswith(COUNT_SUFFIX):
                        self.counts[key] = int(number)
                    else:
                        self.values[key] = number
        except Exception as error:  # noqa: BLE001 - what the computation raised
            log.warning("sightline: %s is left out of step %d: %s", ", ".join(numbers.keys), self.step, error)
            self.obs["failed_device_values"] += len(numbers.keys)
            self._numbers = None
        return self._numbers is None

    def give_up(self) -> None:
        """Goes on without the device values."""
        if self._numbers is not None:
            self.obs["pending_device_values"] += len(self._numbers.keys)
            self._numbers = None
