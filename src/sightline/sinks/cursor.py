"""How far a sink has stored the journal: a small file, so that the next attempt goes on there."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import orjson

from sightline.files import full_disks
from sightline.support.foreign_numbers import position

log = logging.getLogger("sightline")

SAVED_WITHIN_S = 1.0


def highest_seq(directory: Path, run_id: str) -> int:
    """Of a run directory: the highest ``seq`` in the cursors of its sinks, 0 if there are none."""
    return max((Cursor(path, run_id).seq for path in (directory / "cursors").glob("*.json")), default=0)


class Cursor:
    """A place in the journal, kept in a file of its own: ``cursors/<sink>.json``.

    Written whole and put in place at once, so a crash leaves the old one or the new one. An old one costs no
    more than records that come twice.

    Args:
        path: the file.
        run_id: of the run; the cursor of another run counts for nothing.

    Attributes:
        offset: bytes of the journal before the place.
        seq: of the last commit before it.
        kept: what the sink keeps for itself, plain data.
        is_saved: whether the file has the place.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self._run_id = run_id
        self._saved_at = -SAVED_WITHIN_S
        self._failed = False
        self.is_saved = True
        self.offset = 0
        self.seq = 0
        self.kept: dict[str, Any] = {}
        try:
            found = orjson.loads(path.read_bytes())
            if found["run_id"] == run_id:
                offset, seq, kept = position(found["offset"]), position(found["seq"]), dict(found["kept"])
                if offset is None or seq is None:
                    raise ValueError("offset or seq is no place in a journal")
                self.offset, self.seq, self.kept = offset, seq, kept
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, LookupError) as error:
            log.warning("sightline: %s cannot be read, and counts as new: %s", path, error)

    def move(self, offset: int, seq: int, *, now: bool = False) -> None:
        """Everything before is stored. Saved at once if that was not done for a second, or if wanted."""
        self.offset, self.seq = offset, seq
        self.is_saved = False
        if now or time.monotonic() - self._saved_at >= SAVED_WITHIN_S:
            self.save()

    def save(self) -> None:
        """Writes the file; a disk that refuses costs a warning."""
        self._saved_at = time.monotonic()
        self.is_saved = True  # or will not be, and there is nothing to be done about it
        data = {"run_id": self._run_id, "offset": self.offset, "seq": self.seq, "kept": self.kept}
        part = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(orjson.dumps(data, default=str, option=orjson.OPT_APPEND_NEWLINE))
            os.replace(part, self.path)
        except (OSError, TypeError) as error:
            if not full_disks.is_said(error, self.path) and not self._failed:
                log.warning("sightline: %s cannot be written: %s (said once)", self.path, error)
            self._failed = True
