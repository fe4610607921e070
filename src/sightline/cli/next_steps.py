"""What is useful next for a run, by how it stands and what is in its directory: commands that will answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sightline.errors import SightlineError
from sightline.support.foreign_text import quoted, quoted_all
from sightline.support.wording import processes

_MOST = 2
_UPGRADE = "pip install --upgrade sightline"
_STEP = b'"cat":"step"'
_LOOK_BYTES = 4 << 20  # of a trace file, in which a step is looked for
_LOOK_FILES = 16


def next_steps(*run_dirs: Path, but: str = "") -> list[str]:
    """Commands for :func:`sightline.cli.frame.say_next`.

    Args:
        run_dirs: of one run, the first one with its journal, as they were given.
        but: the command that has just been used.

    Returns:
        two at most, the most useful one first.
    """
    from sightline.runs.run_state import state_of

    run_dir = run_dirs[0]
    runs = f"sightline ls {quoted(run_dir.parent)}  # the runs that are here"
    try:
        state = state_of(run_dir)
    except (SightlineError, OSError):
        return [runs]
    if state.newer:
        return [_UPGRADE]
    one, every = quoted(run_dir), quoted_all(run_dirs)
    found = []
    if state.state in ("crashed", "failed", "stalled", "unknown"):
        found.append(f"sightline doctor {one}  # what is wrong with it")
        found.append(f"sightline logs {every} --level warning")
    if state.is_live:
        found.append(f"sightline watch {one}")
    if state.last_step is not None:
        found.append(f"sightline report {every}  # all of it as a page")
    found.append(f"sightline trace summary {every}  # where its time went")
    found.append(f"sightline trace view {every}")
    found.append(f"sightline logs {every}")
    found = [each for each in found if not but or not each.startswith(f"sightline {but} ")]
    return possible(found, run_dirs, most=_MOST) or [runs]


def possible(commands: Iterable[str], run_dirs: Sequence[Path], *, most: int) -> list[str]:
    """The first of some commands that have something to read in the directories of a run."""
    found: list[str] = []
    for each in commands:
        if each.startswith("sightline logs "):
            is_possible = bool(_logs(run_dirs))
        elif each.startswith(("sightline trace summary ", "sightline trace diff ")):
            is_possible = has_steps(*run_dirs)
        elif each.startswith("sightline trace "):
            is_possible = _traced_attempt(run_dirs) is not None
        elif each.startswith("sightline compare "):
            is_possible = all(map(_has_journal, run_dirs))
        else:
            is_possible = True
        if is_possible:
            found.append(each)
        if len(found) == most:
            break
    return found


def bringing(run_dir: Path, missing: object, which: Iterable[int] = ()) -> list[str]:
    """The command that brings the files of other hosts, if any are missing.

    Args:
        run_dir: where to.
        missing: whether any are.
        which: processes have none here, if that is known.
    """
    if not missing or _never_began(run_dir):
        return []
    of = f"those of {processes(sorted(which))}" if which else "the files of other hosts"
    return [
        f"sightline collect {quoted(run_dir)} FROM…  # FROM: the run's directory on their host; brings {of}"
    ]


def _never_began(run_dir: Path) -> bool:
    """Whether a run ended before its first commit: then those that are missing wrote nothing elsewhere."""
    from sightline.runs.run_state import state_of

    try:
        state = state_of(run_dir)
    except (SightlineError, OSError):
        return False
    return state.state in ("crashed", "failed") and state.last_step is None


def _has_journal(run_dir: Path) -> bool:
    """Whether there is one that this version reads."""
    from sightline.runs.run_state import state_of

    try:
        return state_of(run_dir).state != "unknown"
    except (SightlineError, OSError):
        return False


def has_steps(*run_dirs: Path) -> bool:
    """Whether the traces of a run's last attempt can be read, and have steps."""
    files = _traced_attempt(run_dirs)
    return files is not None and any(map(_has_step, files[:_LOOK_FILES]))


def _has_step(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _STEP in file.read(_LOOK_BYTES)
    except OSError:
        return False


def _traced_attempt(run_dirs: Sequence[Path]) -> list[Path] | None:
    """The trace files of the last attempt; None if there are none, or others that are not of this version."""
    from sightline.timeline.finding import find

    try:
        found = find(run_dirs)
    except (SightlineError, OSError):
        return None
    last = max((each.attempt for each in found.traces), default=0)
    files = [path for each in found.traces if each.attempt == last for path in each.files]
    return files if files and not found.foreign else None


def _logs(run_dirs: Sequence[Path]) -> int | None:
    """How many files of logs this version reads; None if nothing tells."""
    from sightline.run_logs.files import Damage, RunFiles

    try:
        return len(RunFiles(run_dirs, Damage()).segments())
    except (SightlineError, OSError):
        return None
