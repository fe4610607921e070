"""Metrics of the journal as curves above the spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sightline.files.file_lines import JsonLines, Unreadable
from sightline.runs.run_directory import JOURNAL
from sightline.sinks.commits import is_commit
from sightline.sinks.sound_records import SoundRecords
from sightline.timeline.events import Counter

#: What is shown where nothing is chosen, of these what there is.
USUAL = (
    "train/loss",
    "train/reward/total/mean",
    "train/kl",
    "train/entropy",
    "train/completion_length/mean",
    "throughput/train/tokens_per_s",
    "eval/accuracy",
)


def counters(
    run_dir: Path,
    keys: Sequence[str] = USUAL,
    note: Callable[[Path, Unreadable], object] = lambda path, unreadable: None,
) -> Iterator[Counter]:
    """The values of some keys, each at the time of its commit; none where the journal is not.

    Args:
        run_dir: of the run.
        keys: which.
        note: told the journal, and what could not be read of it, when all has been.
    """
    path = run_dir / JOURNAL
    if not path.exists():
        return
    with open(path, "rb", 0) as file:
        lines = JsonLines(file.fileno(), sound=SoundRecords())
        for record in lines:
            if not is_commit(record):
                continue
            at = round(record["time"] * 1e9)
            for key in keys:
                value = record["values"].get(key)
                if value is not None:
                    yield Counter(key, at, {"value": value})
        note(path, lines.unreadable)
