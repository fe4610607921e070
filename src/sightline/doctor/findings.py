"""What a check has found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sightline.doctor.bounded import Late, within
from sightline.support.redaction import redacted

Level = Literal["ok", "note", "wrong", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One line of what was found.

    Attributes:
        check: which check, in a word or two.
        level: ``"ok"``; ``"note"``: works, and is worth knowing; ``"wrong"``: does not work, or something is
            lost; ``"skipped"``: could not be looked at.
        what: was found, in a line.
        why: it matters, or where it comes from.
        fix: the command or the change that mends it.
        data: the same for programs, plain data.
    """

    check: str
    level: Level
    what: str
    why: str = ""
    fix: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain data, without what is empty."""
        return {name: value for name, value in vars(self).items() if value}


def ok(check: str, what: str, **given: Any) -> Finding:
    """All is well."""
    return Finding(check, "ok", what, **given)


def note(
    check: str, what: str, why: str = "", fix: str = "", data: Mapping[str, Any] | None = None
) -> Finding:
    """It works, and is worth knowing."""
    return Finding(check, "note", what, why, fix, data or {})


def wrong(
    check: str, what: str, why: str = "", fix: str = "", data: Mapping[str, Any] | None = None
) -> Finding:
    """It does not work, or something is lost."""
    return Finding(check, "wrong", what, why, fix, data or {})


def skipped(check: str, what: str, fix: str = "") -> Finding:
    """It could not be looked at, or is not there."""
    return Finding(check, "skipped", what, fix=fix)


Check = tuple[str, Callable[[], Sequence[Finding]]]

_AFTER_ONE_S = 2.0


def findings_of(checks: Sequence[Check], timeout: float) -> list[Finding]:
    """Makes checks, one after the other; one that fails or hangs is a finding itself.

    Args:
        checks: a name and a function each.
        timeout: seconds that each may take; once one has not answered, the others have 2.

    Example:
        >>> findings_of([("numbers", lambda: [Finding("numbers", "ok", "1 and 1 is 2")])], 5.0)[0].what
        '1 and 1 is 2'
        >>> findings_of([("none", lambda: 1 / 0)], 5.0)[0].what
        'this check failed: ZeroDivisionError: division by zero'
    """
    found: list[Finding] = []
    for name, check in checks:
        try:
            found += within(timeout, check)
        except Late:
            given, timeout = timeout, min(timeout, _AFTER_ONE_S)
            found.append(
                Finding(
                    name,
                    "wrong",
                    f"no answer within {given:g} s",
                    "a disk or a program that it asks does not answer",
                    "look at the disk (df, dmesg), or move the files to a local one",
                )
            )
        except Exception as error:  # noqa: BLE001 - the other checks go on
            what = redacted(f"{type(error).__name__}: {error}")
            found.append(Finding(name, "skipped", f"this check failed: {what}"))
    return found
