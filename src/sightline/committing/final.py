"""A commit that needs no gathering: the user's own values, or an export's."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sightline.errors import RecordError
from sightline.values.host_values import to_number, to_string, where_are
from sightline.values.naming import COUNT_SUFFIX, check_key, folders_among
from sightline.values.snapshot import Value

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

    @classmethod
    def of(cls, stats: Any) -> Final:
        """What a user commits, divided by kind; its step is yet to be given.

        Raises:
            RecordError: no mapping of keys to numbers and strings, or a key that is a folder of another.

        Example:
            >>> final = Final.of({"train/loss": 0.5, "train/loss__count": 4, "split": "test"})
            >>> final.values, final.counts, final.texts
            ({'train/loss': 0.5}, {'train/loss__count': 4}, {'split': 'test'})
        """
        if not isinstance(stats, Mapping):
            raise RecordError(
                f"commit(stats=…): expected a dict or a sequence of dicts, got {type(stats).__name__}"
            )
        final = cls(0, {}, {}, {})
        for key, value in stats.items():
            final._add(key, value)
        for folder, inside in folders_among((*final.values, *final.on_devices, *final.texts)).items():
            raise RecordError(
                f"commit: {folder!r} cannot stand beside {inside!r}: no key may be a folder of another. "
                f"Rename one of them"
            )
        return final

    def _add(self, key: Any, value: Any) -> None:
        try:
            check_key(key.removesuffix(COUNT_SUFFIX) if isinstance(key, str) else key)
        except ValueError as error:
            raise RecordError(f"commit: {error}") from None
        if isinstance(value, str):
            self.texts[key] = to_string("commit", key, value)
        elif where_are([[value]]) == "device":
            self.on_devices[key] = (value,)
        else:
            number = to_number("commit", key, value)
            if not key.endswith(COUNT_SUFFIX):
                self.values[key] = number
            elif isinstance(number, int) or number.is_integer():
                self.counts[key] = int(number)
            else:
                raise RecordError(
                    f"commit: {key!r} is {value!r}; expected a whole number, since it is a count"
                )

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
