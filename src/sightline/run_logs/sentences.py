"""Events of a journal in sentences, as the log of the root has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sightline.support.foreign_numbers import seconds, whole
from sightline.support.wording import ended_silently, processes

_Record = dict[str, Any]


def sentence(record: _Record, attempt: int, time: float) -> tuple[str, frozenset[str]]:
    """What an event says, and the fields that it says it with.

    An event whose fields are not as they should be, or that has no sentence, says its name.

    Args:
        record: of the event.
        attempt: whose.
        time: corrected, in s since the epoch.

    Example:
        >>> sentence({"event": "stall", "step": 3, "k": 0, "seconds": 11.2, "waiting_for": [1]}, 1, 0.0)[0]
        'no step has been complete for 11 s; step 3 waits for process 1'
        >>> sentence({"event": "finish", "missing": []}, 2, 0.0), sentence({"event": "mine"}, 1, 0.0)
        (('attempt 2 ends', frozenset({'missing'})), ('mine', frozenset()))
    """
    name = str(record.get("event"))
    if name == "finish":
        without = _without(record.get("missing"), "the end of ")
        return f"attempt {attempt} ends{without}", frozenset(("missing",))
    if name == "unended":
        return ended_silently(attempt, time), frozenset()
    say, fields = _SAID.get(name, (_nothing, ()))
    said = say(record)
    return (name, frozenset()) if said is None else (said, frozenset(fields))


def numbers(listed: object) -> list[int]:
    """The processes of a list, as far as they are some."""
    return [each for each in listed if type(each) is int] if isinstance(listed, list) else []


def _nothing(record: _Record) -> str | None:
    return None


def _out(record: _Record) -> str:
    return f"step {record.get('step')} is complete without {processes(numbers(record.get('processes')))}"


def _back(record: _Record) -> str:
    who = numbers(record.get("processes"))
    return f"{processes(who)} {'are' if len(who) > 1 else 'is'} back at step {record.get('step')}"


def _failed(record: _Record) -> str | None:
    error = record.get("error")
    return f"the run ends by {error}" if isinstance(error, str) else None


def _sigterm(record: _Record) -> str:
    return "SIGTERM has come"


def _steps(record: _Record) -> str | None:
    first, total = whole(record.get("start")), whole(record.get("total"))
    if first is None or total is None:
        return None
    return f"the loop goes from step {first} to {total - 1}" if first < total else "the loop has no steps"


def _rewound(record: _Record) -> str | None:
    step = whole(record.get("step"))
    return None if step is None else f"the run goes back to step {step}"


def _stall(record: _Record) -> str | None:
    took, who = seconds(record.get("seconds")), numbers(record.get("waiting_for"))
    if took is None or not who:
        return None
    what = "the next one" if record.get("step") is None else f"step {record['step']}"
    return f"no step has been complete for {took:.0f} s; {what} waits for {processes(who)}"


def _silent(record: _Record) -> str | None:
    who = numbers(record.get("processes"))
    return f"{processes(who)} cannot say where: dead, stopped, cut off, or in C code" if who else None


def _resumed(record: _Record) -> str | None:
    took, step = seconds(record.get("seconds")), whole(record.get("step"))
    if took is None or step is None:
        return None
    return f"going on after {took:.0f} s: step {step} is complete{_without(record.get('missing'))}"


def _nonfinite(record: _Record) -> str | None:
    key, step, who, site = (record.get(name) for name in ("key", "step", "processes", "site"))
    if not isinstance(key, str):
        return None
    where = f" on {processes(numbers(who))}" if numbers(who) else ""
    return f"{key!r} has non-finite values at step {step}{where}" + (f", recorded at {site}" if site else "")


def _without(missing: object, of: str = "") -> str:
    who = numbers(missing)
    return f", without {of}{processes(who)}" if who else ""


_SAID: dict[str, tuple[Callable[[_Record], str | None], tuple[str, ...]]] = {
    "out": (_out, ("step", "processes")),
    "back": (_back, ("step", "processes")),
    "failed": (_failed, ("error",)),
    "sigterm": (_sigterm, ()),
    "steps": (_steps, ("start", "total")),
    "rewound": (_rewound, ("step", "starts")),
    "stall": (_stall, ("step", "k", "seconds", "waiting_for")),
    "silent": (_silent, ("step", "processes")),
    "resumed": (_resumed, ("step", "k", "seconds", "missing")),
    "nonfinite": (_nonfinite, ("key", "step", "processes", "site", "count")),
}
