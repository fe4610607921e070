"""How a run stands: running, finished, crashed or stalled."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sightline.history import History

_STALLED = 10.0  # times the usual time of a step
_STALLED_S = 60.0  # at least


class Standing(NamedTuple):
    """How a run stands.

    Attributes:
        state: ``running``, ``finished``, ``crashed`` or ``stalled``.
        reason: how that is known.
    """

    state: str
    reason: str

    @property
    def is_live(self) -> bool:
        """Whether more may come."""
        return self.state in ("running", "stalled")


def standing(run_dir: Path, history: History) -> Standing:
    """By the run's lock and the last lines of its journal."""
    attempt = history.runs[-1].get("attempt") if history.runs else None
    own = [each for each in history.events if each.get("attempt") == attempt]
    failed = next((each for each in own if each.get("event") == "failed"), None)
    if any(each.get("event") == "finish" for each in own):
        return Standing("finished", "" if failed is None else f"by an exception: {failed.get('error')}")
    if not _is_held(run_dir / ".lock"):
        return Standing("crashed", "its journal has no end, and no process holds it")
    times = history.rows()[1]
    if len(times) > 2:
        usual = float(np.median(np.diff(times[-100:])))
        silent = time.time() - times[-1]
        if silent > max(_STALLED * usual, _STALLED_S):
            return Standing("stalled", f"no commit for {silent:.0f} s; usually one comes every {usual:.3g} s")
    return Standing("running", "")


def _is_held(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
