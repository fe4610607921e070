"""Where this process is: the spans that its main thread has open, the line that it runs, all stacks."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from types import FrameType
from typing import Any, NamedTuple

from sightline.tracing.perf_tracer import TRACER, PerfTracer
from sightline.tracing.spans import OpenSpan

#: In ``extra`` of a log call: the process's files have it, and the console does not.
FOR_FILES = "sightline_for_files"
_OWN = "sightline-"  # how the threads of this package are named
_STEP = "step"  # the span of run.steps, which says less than any other
_MOST_SPANS = 16
_LONGEST_NAME = 200
_LONGEST_STACK = 16_000  # characters of one thread's; the end is what counts
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_LIBRARIES = (os.path.dirname(os.__file__) + os.sep, _PACKAGE, "<frozen")
_INSTALLED = ("site-packages", "dist-packages")


class Whereabouts(NamedTuple):
    """Where a process is, seen from another of its threads.

    Attributes:
        span: the innermost open span of the main thread, or of its tasks; None if there is none.
        span_s: for how many seconds it has been open.
        spans: all of them, outer ones first: names and seconds.
        at: the innermost line of the main thread that is in nobody's library: ``"rollout.py:88 in score"``.
        inside: the innermost line of all, if that is a library's.
        stack: of the main thread.
        stacks: of all threads but sightline's own, the main thread's last.
    """

    span: str | None
    span_s: float
    spans: tuple[tuple[str, float], ...]
    at: str
    inside: str | None
    stack: str
    stacks: str

    def plain(self) -> dict[str, Any]:
        """As it is posted, and stands in the journal; without the stacks."""
        place: dict[str, Any] = {"at": self.at}
        if self.inside is not None:
            place["inside"] = self.inside
        if self.span is not None:
            place |= {"span": self.span, "span_s": round(self.span_s, 3)}
            place["spans"] = [[name, round(seconds, 3)] for name, seconds in self.spans]
        return place


def look(tracer: PerfTracer = TRACER) -> Whereabouts:
    """Looks where this process is. From any thread; waits for nothing.

    Example:
        >>> seen = []
        >>> with TRACER.trace_scope("reward"):
        ...     thread = threading.Thread(target=lambda: seen.append(look()))
        ...     thread.start(), thread.join()
        (None, None)
        >>> seen[0].span
        'reward'
    """
    now = time.perf_counter_ns()
    main = threading.main_thread()
    spans = tracer._open_spans(main.native_id)
    innermost = _innermost(spans)
    threads = _threads()  # once: they go on while this looks
    lines = threads.get(main.ident or 0, [])
    own = next((line for line in lines if not _is_library(line[0].f_code.co_filename)), None)
    top = lines[0] if lines else None
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    texts = {
        ident: f"thread {names.get(ident, ident)}:\n{_formatted(each)}"
        for ident, each in threads.items()
        if not names.get(ident, "").startswith(_OWN)
    }
    return Whereabouts(
        span=None if innermost is None else innermost.name[:_LONGEST_NAME],
        span_s=0.0 if innermost is None else (now - innermost.start) / 1e9,
        spans=tuple((s.name[:_LONGEST_NAME], (now - s.start) / 1e9) for s in spans[-_MOST_SPANS:]),
        at=_named(own or top),
        inside=_named(top) if own is not None and top is not own else None,
        stack=texts.get(main.ident or 0, ""),
        stacks="\n".join(texts[ident] for ident in sorted(texts, key=lambda ident: ident == main.ident)),
    )


def _threads() -> dict[int, list[tuple[FrameType, int]]]:
    """The lines that all threads but this one are at, the innermost first."""
    return {
        ident: list(traceback.walk_stack(frame))
        for ident, frame in sys._current_frames().items()
        if ident != threading.get_ident()
    }


def told(process: int, place: dict[str, Any]) -> str:
    """One sentence for a person, of what :meth:`Whereabouts.plain` gave.

    Example:
        >>> told(2, {"span": "reward", "span_s": 41.2, "at": "rollout.py:88 in score"})
        'process 2 has been in reward for 41 s (rollout.py:88 in score)'
        >>> told(2, {"at": "rollout.py:88 in score", "inside": "queue.py:171 in get"})
        'process 2 is at rollout.py:88 in score, in queue.py:171 in get'
    """
    at, inside = place.get("at") or "an unknown place", place.get("inside")
    where = f"{at}, in {inside}" if inside else str(at)
    if place.get("span"):
        return f"process {process} has been in {place['span']} for {place.get('span_s', 0):.0f} s ({where})"
    return f"process {process} is at {where}"


def _innermost(spans: list[OpenSpan]) -> OpenSpan | None:
    """Of blocks on the thread the last one; where there is none, of its tasks the one open longest."""
    on_thread = [span for span in spans if span.lane is None]
    if on_thread and on_thread[-1].name != _STEP:
        return on_thread[-1]
    of_lanes: dict[int, OpenSpan] = {}
    for span in spans:
        if span.lane is not None and (span.lane not in of_lanes or span.start > of_lanes[span.lane].start):
            of_lanes[span.lane] = span
    return min(of_lanes.values(), key=lambda span: span.start, default=on_thread[-1] if on_thread else None)


def _is_library(name: str) -> bool:
    return name.startswith(_LIBRARIES) or any(part in name for part in _INSTALLED)


def _named(line: tuple[FrameType, int] | None) -> str:
    if line is None:
        return "an unknown place"
    frame, number = line
    name = frame.f_code.co_filename
    for folder in (_working_directory(), *sys.path):
        if folder and name.startswith(folder.rstrip(os.sep) + os.sep):
            name = name[len(folder.rstrip(os.sep)) + 1 :]
            break
    return f"{name[-_LONGEST_NAME:]}:{number} in {frame.f_code.co_name[:_LONGEST_NAME]}"


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it has been deleted
        return ""


def _formatted(lines: list[tuple[FrameType, int]]) -> str:
    text = "".join(traceback.StackSummary.extract(iter(lines[::-1])).format())
    return text if len(text) <= _LONGEST_STACK else f"  …\n{text[-_LONGEST_STACK:]}"
