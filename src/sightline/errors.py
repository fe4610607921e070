"""What sightline raises.

    SightlineError
    ├── RecordError(ValueError)         a recording call that cannot be right: type, shape, key, reduction
    ├── StepError(ValueError)           a commit below the last step, where the policy is "error"
    ├── SnapshotError(ValueError)       bytes that are not a whole snapshot of a known format
    ├── JournalError                    a journal that cannot be opened or continued
    ├── RunDirectoryError               a run directory that is missing, taken, or held by another run
    ├── ConfigurationError(ValueError)  a setting, sink, extra or transport that cannot work; at start-up
    └── TransportError                  the store between the processes does not answer

Programming errors raise where the mistake is. Trouble at run time (a sink down, a full disk, a peer gone)
never raises into training; it is counted under ``obs/*`` and logged once.
"""

from __future__ import annotations


class SightlineError(Exception):
    """The root of everything that sightline raises on purpose."""


class RecordError(SightlineError, ValueError):
    """A recording call that cannot be right; the message has the value, what was expected, and the fix."""


class StepError(SightlineError, ValueError):
    """A commit with a step below the last one, under ``on_lower_step="error"``."""


class SnapshotError(SightlineError, ValueError):
    """Bytes that are not one whole snapshot in a format that this version reads."""


class JournalError(SightlineError):
    """A journal that cannot be opened, or must not be continued."""


class RunDirectoryError(SightlineError):
    """A run directory that is missing, taken by an earlier run, or held by a live one."""


class ConfigurationError(SightlineError, ValueError):
    """A setting, sink, extra or transport that cannot work; the message has the line to add or change."""


class TransportError(SightlineError):
    """The store between the processes does not answer."""
