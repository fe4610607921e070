"""How long a commit waits for its device values."""

from __future__ import annotations

import math
import time
from typing import Protocol

_PAUSE_S = (0.005, 0.1)  # between two looks, at least and at most: each takes the interpreter's lock
_SHARE = 0.1  # of the wait so far
_OF_DEADLINE = 0.8  # so that a process's host values reach the root before it calls the process missing
_LONGEST = 3.0  # times the longest wait so far


class Waiting(Protocol):
    """Something with device values that may not have been computed yet."""

    @property
    def made(self) -> float:
        """When, in monotonic seconds."""
        ...

    def settle(self) -> bool:
        """Takes in what has arrived; returns whether that is all."""
        ...

    def give_up(self) -> None:
        """Goes on without the rest."""
        ...


class Patience:
    """Decides, look by look, whether a commit goes on with the device values that it has.

    A training thread may run far ahead of its devices. So the limit is the commit protocol's deadline, or a
    few times the longest wait that has proved worth it: long steps are waited for, and a device that hangs
    holds up each commit for the limit, and training never.

    Args:
        deadline_s, first_deadline_s: of the protocol; the latter until something has arrived.
    """

    def __init__(self, deadline_s: float, first_deadline_s: float) -> None:
        self._deadline_s = _OF_DEADLINE * deadline_s
        self._first_deadline_s = _OF_DEADLINE * first_deadline_s
        self._longest_s: float | None = None
        self._since: float | None = None  # of the commit that is waited for
        self._gave_up = -math.inf  # the last time; a wait behind that is not worth as much

    def is_over(self, waiting: Waiting, *, hurry: bool = False) -> bool:
        """Whether all values are there, or enough has been waited; the rest is given up then.

        Args:
            hurry: there is no time left.
        """
        settled = waiting.settle()
        waited = time.monotonic() - waiting.made
        if settled and self._since is not None:
            worth = time.monotonic() - max(waiting.made, self._gave_up)
            self._longest_s = max(self._longest_s or 0.0, worth)
        if not settled and (hurry or waited > self.limit_s()):
            waiting.give_up()
            settled = True
            self._gave_up = time.monotonic()
        self._since = None if settled else waiting.made
        return settled

    def limit_s(self) -> float:
        """Seconds from the making of a commit to giving up its device values."""
        if self._longest_s is None:
            return max(self._deadline_s, self._first_deadline_s)
        return max(self._deadline_s, _LONGEST * self._longest_s)

    def pause_s(self) -> float:
        """Seconds to the next look."""
        waited = time.monotonic() - (self._since or 0.0)
        return min(max(_SHARE * waited, _PAUSE_S[0]), _PAUSE_S[1])
