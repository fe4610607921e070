"""The checkpoints of a run over its life: where it goes on, what it writes, at most one a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sightline as sl
from runners.common.checkpoint import Checkpoints
from runners.common.errors import CheckpointError
from runners.common.mesh import to_host
from runners.common.sections import CheckpointConfig, OutputConfig


class Saves:
    """Every process has its own, and all do the same with them.

    Attributes:
        step: of the checkpoint that was found or written last; None before.
    """

    def __init__(self, output: OutputConfig, settings: CheckpointConfig) -> None:
        self._output, self._settings = output, settings
        self._checkpoints: Checkpoints | None = None
        self.step: int | None = None

    def find(self) -> int | None:
        """The step to go on from: the newest that all processes have. None to begin anew.

        Raises:
            CheckpointError: the run must go on, and there is nothing to go on from.
        """
        if self._output.resume == "never":
            return None
        self._checkpoints = Checkpoints(self.run_dir, self._settings.keep)
        self.step = self._checkpoints.newest_common_step()
        if self.step is None and self._output.resume == "must":
            raise CheckpointError(f"resume='must', but there is no checkpoint under {self._checkpoints.dir}")
        return self.step

    @property
    def run_dir(self) -> Path:
        """The directory of the run to go on with."""
        return Path(self._output.dir) / str(self._output.name)

    @property
    def found(self) -> Path:
        """The directory of the checkpoint that was found."""
        checkpoints, step = self._found()
        return checkpoints.dir / str(step)

    def meta(self) -> dict[str, Any]:
        """The metadata of the checkpoint that was found."""
        checkpoints, step = self._found()
        return checkpoints.meta(step)

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """Its arrays in the structure of `like`, and its metadata; `meta["sightline"]` is for `sl.start`."""
        checkpoints, step = self._found()
        return checkpoints.restore(step, like)

    def save(self, run: sl.Run, step: int, arrays: Any, meta: Mapping[str, Any]) -> bool:
        """Write a checkpoint of this step; False if there is one, or there are to be none.

        Args:
            run: whose `state_dict` is kept beside `meta`, as `sightline`.
            step: the last one that is done.
            arrays: what the run goes on with, replicated over the mesh.
            meta: as JSON has it.
        """
        if not self._settings.enabled or step == self.step:
            return False
        if self._checkpoints is None:
            self._checkpoints = Checkpoints(run.wait_dir(), self._settings.keep)
        self._checkpoints.save(step, to_host(arrays), {**meta, "sightline": run.state_dict()})
        self.step = step
        return True

    def close(self) -> None:
        if self._checkpoints:
            self._checkpoints.close()

    def _found(self) -> tuple[Checkpoints, int]:
        assert self._checkpoints is not None
        assert self.step is not None
        return self._checkpoints, self.step
