"""What a checkpoint keeps of a run, so that the run can go on anywhere: its ``state_dict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.errors import ConfigurationError
from sightline.posting.slots import Slot
from sightline.support.foreign_numbers import position


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run, as one of its processes leaves it in a checkpoint.

    Attributes:
        run_id, name: of the run; None: there has been none.
        attempt: how often it had been started; None as above.
        last_slot: step and k of the process's last commit; None: it had made none.
        seq: of the latest commit in the journal; None off the root.
        starts: how the attempts began, as the journal's ``run`` line has them; None off the root.

    Example:
        >>> Checkpoint.of({"run_id": "f00d", "attempt": 2, "last_slot": [9, 0]}).next_step
        10
    """

    run_id: str | None = None
    name: str | None = None
    attempt: int | None = None
    last_slot: Slot | None = None
    seq: int | None = None
    starts: Sequence[Any] | None = None

    @classmethod
    def of(cls, state: Mapping[str, Any] | None) -> Checkpoint:
        """From a ``state_dict``; None: that of no run.

        Raises:
            ConfigurationError: it is none.
        """
        try:
            given = dict(state or {})
            attempt, slot, seq, starts = map(given.get, ("attempt", "last_slot", "seq", "starts"))
            return cls(
                run_id=given.get("run_id"),
                name=given.get("name"),
                attempt=None if attempt is None else int(attempt),
                last_slot=None if slot is None else (int(slot[0]), int(slot[1])),
                seq=None if seq is None else _checked_seq(seq),
                starts=None if starts is None else list(starts),
            )
        except (TypeError, ValueError, LookupError, OverflowError):
            raise ConfigurationError(f"state_dict={state!r}: expected what state_dict() gave") from None

    @property
    def next_step(self) -> int:
        """The step after the last one committed; 0 where none was."""
        return 0 if self.last_slot is None else self.last_slot[0] + 1

    def state_dict(self) -> dict[str, Any]:
        """As plain data, for :meth:`of`."""
        last = self.last_slot
        return {
            "run_id": self.run_id,
            "name": self.name,
            "attempt": self.attempt,
            "last_slot": None if last is None else [last[0], max(0, last[1])],
            **({} if self.seq is None else {"seq": self.seq}),
            **({} if self.starts is None else {"starts": list(self.starts)}),
        }


def _checked_seq(seq: Any) -> int:
    number = position(int(seq))
    if number is None:
        raise ValueError(seq)
    return number
