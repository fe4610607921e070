"""SwanLab: an experiment in files that ``swanlab sync`` uploads, or in the cloud; by the SDK in a process of
its own.

What is stored is read from SwanLab's run files, so nothing is lost; a step of a key is shown once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightline.errors import ConfigurationError
from sightline.sinks.apart import ApartSink
from sightline.sinks.lineage import Rewind
from sightline.sinks.settings import check_types

_PROJECT = re.compile(r"[0-9a-zA-Z_\-+.]{1,100}")


@dataclass(frozen=True)
class SwanLabConfig:
    """Settings of the SwanLab sink.

    Attributes:
        mode: ``"offline"`` writes files for ``swanlab sync``; ``"online"`` uploads too, with the key that
            SwanLab finds (``SWANLAB_API_KEY``, ``swanlab login``), and goes offline without one.
        project: where the experiment belongs.
        workspace: whose project; None: that of the key.
        name: of the experiment; None: that of the run directory.
        group: of the experiment, if it belongs to one.
        tags: of the experiment.
        dir: of the files; None: ``swanlab`` in the run directory.
        rewind: steps that a resumed run commits again: ``"fork"`` begins another experiment, ``"skip"``
            leaves them out. SwanLab takes no step of a key twice, so ``"continue"`` cannot be.
        finish_timeout_s: how long the last uploads may take at the end.
    """

    mode: Literal["offline", "online"] = "offline"
    project: str = "sightline"
    workspace: str | None = None
    name: str | None = None
    group: str | None = None
    tags: Sequence[str] = ()
    dir: str | Path | None = None
    rewind: Rewind = "fork"
    finish_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        check_types("swanlab", self)
        if self.mode not in ("offline", "online"):
            raise ConfigurationError(f"swanlab mode={self.mode!r}: expected 'offline' or 'online'")
        if self.rewind not in ("fork", "skip"):
            raise ConfigurationError(
                f"swanlab rewind={self.rewind!r}: expected 'fork' or 'skip', since SwanLab takes no step of "
                f"a key twice"
            )
        if not _PROJECT.fullmatch(self.project):
            raise ConfigurationError(
                f"swanlab project={self.project!r}: expected letters, digits and any of _-+. (100 at most)"
            )
        if isinstance(self.tags, str):
            raise ConfigurationError(f"swanlab tags={self.tags!r}: expected a list, as in [{self.tags!r}]")
        if not self.finish_timeout_s > 0:
            raise ConfigurationError(
                f"swanlab finish_timeout_s={self.finish_timeout_s!r}: expected a positive number"
            )


class SwanLabSink(ApartSink):
    """Logs to one SwanLab experiment, which has the run's id in all attempts; the SDK is loaded in a child
    process only, where :mod:`sightline.sinks.swanlab_run` uses it.

    Args:
        config: where to, and how.

    Raises:
        ConfigurationError: without ``pip install 'sightline[swanlab]'``.
    """

    name = "swanlab"
    stores_at_close = True

    def __init__(self, config: SwanLabConfig | None = None) -> None:
        config = config or SwanLabConfig()
        self.rewind: Rewind = config.rewind
        super().__init__(
            "sightline.sinks.swanlab_run:make", config, open_s=60.0, close_s=config.finish_timeout_s
        )
        self.need("swanlab", "sightline[swanlab]")
