"""Metrics of the journal as curves above the spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sightline.journal import read_journal
from sightline.run_directory import JOURNAL
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


def counters(run_dir: Path, keys: Sequence[str] = USUAL) -> Iterator[Counter]:
    """The values of some keys, each at the time of its commit; none where the journal is not."""
    if not (run_dir / JOURNAL).exists():
        return
    for record in read_journal(run_dir):
        if record.get("type") != "commit" or not isinstance(record.get("values"), dict):
            continue
        at = round(record["time"] * 1e9)
        for key in keys:
            value = record["values"].get(key)
            if isinstance(value, (int, float)):
                yield Counter(key, at, {"value": value})
