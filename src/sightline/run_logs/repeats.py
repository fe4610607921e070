"""Events of the journal that a line of a process's log tells already."""

from __future__ import annotations

import re
from typing import Any

_LATER_NS = 30_000_000_000  # in which an event comes behind its line
_NONFINITE = re.compile(r"(?P<key>['\"].+['\"]) has non-finite values ")
_TOLD = (
    (_NONFINITE, "nonfinite"),
    (re.compile(r"the run ends by "), "failed"),
    (re.compile(r"no step has been complete for "), "stall"),
    (re.compile(r"open spans: "), "stacks"),
    (re.compile(r"process(es)? .+ cannot say where"), "silent"),
    (re.compile(r"going on after "), "resumed"),
)


class Repeats:
    """Sees lines in their order, and knows those that say what was said.

    Example:
        >>> repeats, line = Repeats(), {"logger": "sightline", "message": "no step has been complete for 9 s"}
        >>> repeats.sees(1, 0, 10, line), repeats.sees(1, 0, 11, {"event": "stall"})
        (False, True)
    """

    def __init__(self) -> None:
        self._told: dict[tuple[int, int, str, str], int] = {}  # with the key, of what is of one

    def sees(self, attempt: int, process: int, time_ns: int, record: dict[str, Any]) -> bool:
        """Whether a line of a log, or an event of a process, is a repetition.

        Args:
            attempt, process: whose.
            time_ns: corrected.
            record: of it.
        """
        if record.get("logger") == "sightline":
            message = str(record.get("message"))
            for pattern, event in _TOLD:
                if match := pattern.match(message):
                    self._told[attempt, process, event, match.groupdict().get("key", "")] = time_ns
            return False
        event = str(record.get("event"))
        key = repr(record.get("key")) if event == "nonfinite" else ""
        told = self._told.pop((attempt, process, event, key), None)
        return told is not None and time_ns - told <= _LATER_NS
