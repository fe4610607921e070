"""What a check of the self-test says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["PASS", "FAIL", "SKIP"]


@dataclass(frozen=True)
class Result:
    """One line of the self-test.

    Attributes:
        check: its name.
        status: ``"PASS"``, ``"FAIL"``, or ``"SKIP"`` where it could not be made.
        what: the figure, or what failed.
        why: where that comes from.
        fix: what mends it.
        process: which process says it.
        data: figures for programs.
    """

    check: str
    status: Status
    what: str
    why: str = ""
    fix: str = ""
    process: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain data, without what is empty."""
        return {name: value for name, value in vars(self).items() if value or name == "process"}


class Failed(Exception):
    """A check fails here.

    Args:
        what: failed.
        why, fix: as in :class:`Result`.
    """

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix
