"""What a sink is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sightline.sinks.lineage import Rewind, suffix_of

Record = Mapping[str, Any]


@runtime_checkable
class Sink(Protocol):
    """Shows or stores what the journal says. Called from one thread of its own, with NumPy-free plain data.

    ``write`` may raise, or take its time: neither training nor other sinks notice, and the same records come
    again, a little later, until it has taken them.
    """

    name: str

    def write(self, records: Sequence[Record]) -> None:
        """Takes the next records of the journal, in order (see :mod:`sightline.runs.journal`).

        All that belongs to one commit comes in one call. When it returns, the records count as stored.
        """

    def close(self) -> None:
        """Nothing more will come."""


class ApartError(RuntimeError):
    """What a sink has raised in a process of its own, whose log has the traceback."""


@dataclass(frozen=True)
class SinkRun:
    """The run, as a sink with a back end sees it.

    Attributes:
        run_id: of the run, the same for all attempts.
        name: of the run directory.
        dir: the run directory.
        attempt: this one, from 1 on.
        config: the run's own configuration, as plain data without credentials.
        facts: versions, command, git, host and processes.
        fork: the attempt with which another run began in the back end (see
            :mod:`sightline.sinks.lineage`); 0: it is the first.
        kept: what the sink has kept from its earlier attempts, plain data. It may change it in ``open`` and
            ``write``, and finds it again in the next attempt.
    """

    run_id: str
    name: str
    dir: Path
    attempt: int
    config: Any = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    fork: int = 0
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """What tells the back end's run of a fork from the one before; see
        :func:`sightline.sinks.lineage.suffix_of`."""
        return suffix_of(self.fork)

    def described(self) -> dict[str, Any]:
        """The configuration as it is, at top level, and the facts under one key beside it.

        Example:
            >>> SinkRun("id", "run", Path("runs/run"), 1, config={"lr": 0.1}, facts={"host": "a"}).described()
            {'lr': 0.1, 'sightline': {'host': 'a'}}
        """
        config = dict(self.config) if isinstance(self.config, Mapping) else {}
        if self.config is not None and not isinstance(self.config, Mapping):
            config = {"config": self.config}
        config["sightline_facts" if "sightline" in config else "sightline"] = dict(self.facts)
        return config


@runtime_checkable
class StoringSink(Sink, Protocol):
    """A sink with a back end that keeps what it was given, over crashes of this process.

    It is opened before the first record, and again after each failure. What it gets begins after the last
    commit that the back end has; where the back end cannot be asked, after the last one for which ``write``
    returned.

    It may have two things more. ``place`` is a path on the file system that it writes to, if that need not be
    the run directory's: a full disk is said once, by its path. ``give_up`` is called from another thread when
    the run is over and ``open`` has never returned: what is under way there should raise.

    Attributes:
        rewind: what becomes of steps that a resumed run commits again.
        stores_at_close: what ``write`` has taken is stored for sure only when ``close`` returns. A crash
            before that is made good by what ``open`` answers.
    """

    rewind: Rewind
    stores_at_close: bool

    def open(self, run: SinkRun) -> int | None:
        """Connects, and returns the ``seq`` of the last commit that is stored, 0 for none.

        None: the back end cannot be asked. Raises what keeps it from connecting, and is called again later.
        """
