"""What sightline counts under ``obs/*``: what each count means, and what mends it."""

from __future__ import annotations

import re
from typing import NamedTuple

from sightline.doctor.findings import Level


class Meaning(NamedTuple):
    """Of one count.

    Attributes:
        level: ``"wrong"`` where something is lost or left out, else ``"note"``.
        what: happened so many times.
        why: it happens, and what became of the values.
        fix: what to do.
    """

    level: Level
    what: str
    why: str
    fix: str

    def said(self, count: int) -> str:
        """What happened so many times.

        Example:
            >>> MEANINGS["nonfinite"].said(2), MEANINGS["nonfinite"].said(1)
            ('2 records were NaN or infinite', '1 record was NaN or infinite')
        """
        return f"{count:,} {self.what if count != 1 else _once(self.what)}"


_ONE = {"processes": "process", "statuses": "status", "were": "was", "are": "is", "and count ": "and counts "}


def _once(what: str) -> str:
    """The same of one thing."""
    for pattern in (r"\w+s\b", r"\b(were|are)\b", "and count "):
        what = re.sub(pattern, lambda found: _ONE.get(found[0], found[0][:-1]), what, count=1)
    return what


MEANINGS = {
    "clamped_commits": Meaning(
        "note",
        "commits had a lower step than the one before, and count as that one's",
        "the loop went back without a new attempt",
        "resume with state_dict=…, or set on_lower_step='error'",
    ),
    "conflicts": Meaning(
        "wrong",
        "values were left out, since processes recorded one key in two ways",
        "the lowest process's way counts; the log names both places in the code",
        "grep -h conflict {run}/logs/*.log, then record the key in one way",
    ),
    "dropped_commits": Meaning(
        "wrong",
        "commits had a lower step than the one before, and were left out",
        "on_lower_step='drop' has it so",
        "resume with state_dict=…, or set on_lower_step='clamp'",
    ),
    "dropped_samples": Meaning(
        "wrong",
        "rows of sample tables were lost before they were written",
        "more were recorded than a process keeps between two commits",
        "commit more often, or record fewer rows",
    ),
    "dropped_sessions": Meaning(
        "wrong",
        "rollout sessions were not written",
        "more ended than could be written, or the disk refused them",
        "sightline doctor --log-dir {run}",
    ),
    "failed_device_values": Meaning(
        "wrong",
        "device values were left out, since their computation raised",
        "what JAX raised stands in the log",
        "grep -h 'left out' {run}/logs/*.log",
    ),
    "internal_errors": Meaning(
        "wrong",
        "commits failed inside sightline",
        "a defect of sightline, or of an object that was recorded",
        "grep -h -A30 'failed inside' {run}/logs/*.log, and report it",
    ),
    "journal_errors": Meaning(
        "note",
        "times the disk refused the journal",
        "the lines waited in memory, up to 64 MiB",
        "df -h {run}; make room",
    ),
    "journal_lost_lines": Meaning(
        "wrong",
        "lines of the journal are lost",
        "the disk refused them for longer than memory holds them",
        "df -h {run}; make room; sinks may have what is lost",
    ),
    "late_snapshots": Meaning(
        "note",
        "snapshots came after their step was closed",
        "they are in the journal as `late`, and in no sink",
        "a longer deadline_s, or look at why the process is slow: sightline trace summary {run}",
    ),
    "merged_commits": Meaning(
        "note",
        "commits were folded into the next one of their process",
        "the root did not take them in time, and a process keeps 64",
        "look at the root's disk and load",
    ),
    "missing_exports": Meaning(
        "wrong",
        "workers did not answer an export",
        "they were gone or busy; their values are in no step",
        "look at the workers' logs",
    ),
    "missing_processes": Meaning(
        "wrong",
        "processes did not answer an export in time",
        "their values are not in it",
        "export(timeout=…), or look at the processes' logs",
    ),
    "nonfinite": Meaning(
        "wrong",
        "records were NaN or infinite",
        "mean and std of their keys are so too; min and max are finite",
        "look where they are recorded; nonfinite='drop' leaves them out",
    ),
    "partial_keys": Meaning(
        "wrong",
        "times a key held some shards of its global array only",
        "processes that own shards of it did not record it",
        "record global arrays on every process",
    ),
    "pending_device_values": Meaning(
        "wrong",
        "device values were left out, since they were not computed in time",
        "a device was busy for longer than the deadline",
        "a longer deadline_s, or look at what holds the device",
    ),
    "session_conflicts": Meaning(
        "note",
        "statuses of sessions came after another one, and were not taken",
        "two places decide about one rollout",
        "decide each session in one place",
    ),
    "transport_down": Meaning(
        "wrong",
        "commits were made while the other processes could not be heard",
        "the coordination service did not answer; the root went on alone",
        "look at the log of process 0's host",
    ),
    "unreadable_snapshots": Meaning(
        "wrong",
        "posts of processes could not be read",
        "another version of sightline, or a foreign key",
        "pip show sightline on every host: one version for all",
    ),
    "unweighted": Meaning(
        "note",
        "keys could be averaged without weights only",
        "what the workers sent has no counts",
        "send snapshots: sl.snapshot()",
    ),
    "unwritten_samples": Meaning(
        "wrong",
        "rows of sample tables are not in the files",
        "the disk of their process refused them, or they could not be made into text",
        "see that process's log; df -h {run} on its host",
    ),
}

OTHER = Meaning(
    "note", "are counted", "this version of sightline does not know it", "pip install -U sightline"
)
