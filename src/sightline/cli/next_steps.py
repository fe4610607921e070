"""What is useful next for a run, by how it stands and what is in its directory."""

from __future__ import annotations

import os
from pathlib import Path

from sightline.foreign_text import quoted, quoted_all

_MOST = 2


def next_steps(*run_dirs: Path, but: str = "") -> list[str]:
    """Commands for :func:`sightline.cli.frame.say_next`.

    Args:
        run_dirs: of one run, the first one with its journal, as they were given.
        but: the command that has just been used.

    Returns:
        two at most, the most useful one first.
    """
    from sightline.errors import SightlineError
    from sightline.run_state import state_of

    run_dir = run_dirs[0]
    try:
        state = state_of(run_dir)
    except (SightlineError, OSError):
        return ["sightline ls  # the runs that are here"]
    one, every = quoted(run_dir), quoted_all(run_dirs)
    found = []
    if state.state in ("crashed", "failed", "stalled", "unknown"):
        found.append(f"sightline doctor {one}  # what is wrong with it")
        if _has(run_dir, "logs"):
            found.append(f"sightline logs {every} --level warning")
    if state.is_live:
        found.append(f"sightline watch {one}")
    if state.last_step is not None:
        found.append(f"sightline report {every}  # all of it as a page")
    if _has(run_dir, "traces"):
        found.append(f"sightline trace summary {every}  # where its time went")
        found.append(f"sightline trace view {every}")
    if _has(run_dir, "logs"):
        found.append(f"sightline logs {every}")
    found = [each for each in found if not but or not each.startswith(f"sightline {but} ")]
    return found[:_MOST] or ["sightline ls  # the runs that are here"]


def bringing(run_dir: Path, missing: object) -> list[str]:
    """The command that brings the files of other hosts, if any are missing."""
    return (
        [f"sightline collect {quoted(run_dir)} FROM…  # brings the files of other hosts here"]
        if missing
        else []
    )


def _has(run_dir: Path, folder: str) -> bool:
    try:
        return any(not each.startswith(".") for each in os.listdir(run_dir / folder))
    except OSError:
        return False
