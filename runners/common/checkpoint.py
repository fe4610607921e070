"""Checkpoints with Orbax: what the run needs to go on, written by every process for itself.

The state is replicated, and no shared disk is assumed; so each process keeps its own complete copy under
`<run>/checkpoints/p00000/<step>/` and needs nobody to read it back. On resuming, all go on from the newest
step that every process has. Another run may begin from such a copy: `read_only`.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from runners.common.errors import CheckpointError


class _ArraysHandler(ocp.CheckpointHandler):  # type: ignore[misc]  # Orbax is untyped
    """A tree of host arrays as one `arrays.npz`, whichever process this is.

    Orbax's own handlers write NumPy arrays on process 0 only and refuse process-local device arrays in a
    job of several processes; the rest of Orbax (steps, atomic writes, what to keep) is used as it is.
    """

    def save(self, directory: Path, args: _SaveArrays) -> None:
        leaves = jax.tree_util.tree_leaves_with_path(args.item)
        arrays: dict[str, Any] = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
        with open(str(directory / "arrays.npz"), "wb") as file:
            np.savez(file, **arrays)

    def restore(self, directory: Path, args: _RestoreArrays) -> Any:
        file = str(directory / "arrays.npz")
        with _readable(file), open(file, "rb") as opened, np.load(opened) as arrays:
            return jax.tree_util.tree_map_with_path(
                lambda path, leaf: self._checked(file, arrays, jax.tree_util.keystr(path), np.shape(leaf)),
                args.like,
            )

    def _checked(
        self, file: str, arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]
    ) -> np.ndarray:
        found = arrays.get(name)
        if found is None or found.shape != shape:
            has = "nothing" if found is None else f"shape {found.shape}"
            raise CheckpointError(
                f"{file}: the checkpoint has {has} for {name}, this config needs shape {shape}: "
                f"it was written with another config (model, data, optimiser) or by another runner"
            )
        return found


@ocp.args.register_with_handler(_ArraysHandler, for_save=True)
@dataclass
class _SaveArrays(ocp.args.CheckpointArgs):  # type: ignore[misc]
    item: Any


@ocp.args.register_with_handler(_ArraysHandler, for_restore=True)
@dataclass
class _RestoreArrays(ocp.args.CheckpointArgs):  # type: ignore[misc]
    like: Any


class Checkpoints:
    """This process's checkpoints under one run directory. Arrays go in and come out as NumPy."""

    def __init__(self, run_dir: Path, keep: int) -> None:
        self.dir = (run_dir / "checkpoints" / f"p{jax.process_index():05d}").absolute()
        self._keep = keep
        self._manager = self._open() if self.dir.is_dir() else None

    @classmethod
    def read_only(cls, run_dir: Path) -> Checkpoints:
        """A finished run's checkpoints, to begin another from: this process's copy, or else any.

        Raises:
            CheckpointError: there are none.
        """
        found = sorted(p for p in (run_dir / "checkpoints").glob("p*") if p.is_dir() and any(p.iterdir()))
        if not found:
            raise CheckpointError(f"{run_dir}: no checkpoints in it; expected {run_dir}/checkpoints/p00000/…")
        mine = run_dir / "checkpoints" / f"p{jax.process_index():05d}"
        self = cls.__new__(cls)
        self.dir = (mine if mine in found else found[0]).absolute()
        with _no_warnings():  # Orbax warns that what is opened to be read can only be read
            self._manager = self._open(read_only=True)
        return self

    def _open(self, *, read_only: bool = False) -> Any:
        me = jax.process_index()
        alone = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"p{me}"
        )
        return ocp.CheckpointManager(
            self.dir,
            item_handlers={
                "state": _ArraysHandler(),
                "meta": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
            },
            options=ocp.CheckpointManagerOptions(
                max_to_keep=None if read_only else self._keep,
                create=False,
                read_only=read_only,
                enable_async_checkpointing=False,
                multiprocessing_options=alone,
            ),
        )

    def save(self, step: int, arrays: Any, meta: Mapping[str, Any]) -> None:
        """Write one checkpoint; it appears whole or not at all. `meta` is JSON."""
        if self._manager is None:
            self.dir.mkdir(parents=True, exist_ok=True)
            self._manager = self._open()
        self._manager.save(
            step,
            args=ocp.args.Composite(state=_SaveArrays(arrays), meta=ocp.args.JsonSave(dict(meta))),
            force=True,
        )

    def steps(self) -> list[int]:
        """The steps in this directory, rising."""
        return sorted(self._manager.all_steps()) if self._manager else []

    def newest_common_step(self) -> int | None:
        """The newest step that every process has on its disk; None when nobody has any.

        Waits for all processes: called once, before training.
        """
        mine = self.steps()[-64:]
        if jax.process_count() == 1:
            return mine[-1] if mine else None
        padded = np.array(mine + [-1] * (64 - len(mine)), np.int32)
        everyone = np.asarray(multihost_utils.process_allgather(padded))
        lacking = [p for p, steps in enumerate(everyone) if steps.max() < 0]
        if len(lacking) == len(everyone):
            return None
        common = set.intersection(*({int(s) for s in steps if s >= 0} for steps in everyone))
        if not common:
            raise CheckpointError(
                "the processes have no checkpoint step in common: "
                + "; ".join(
                    f"process {p} has {[int(s) for s in row if s >= 0]}" for p, row in enumerate(everyone)
                )
                + f" (process {jax.process_index()} looked in {self.dir})"
            )
        return max(common)

    def meta(self, step: int) -> dict[str, Any]:
        """The metadata of one step.

        Raises:
            CheckpointError: it cannot be read.
        """
        with _readable(self.dir / str(step) / "meta"):
            restored = self._of(step).restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
            return dict(restored["meta"])

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """Arrays in the structure of `like` (arrays or shapes; a part will do), and the metadata of a step.

        Raises:
            CheckpointError: a file cannot be read; an array is missing or has another shape. It is named.
        """
        meta = self.meta(step)
        restored = self._of(step).restore(step, args=ocp.args.Composite(state=_RestoreArrays(like)))
        return restored["state"], meta

    def _of(self, step: int) -> Any:
        if self._manager is None:
            raise CheckpointError(f"{self.dir}: no checkpoint of step {step}")
        return self._manager

    def close(self) -> None:
        if self._manager:
            self._manager.close()


@contextmanager
def _readable(file: object) -> Iterator[None]:
    """Turns what goes wrong with a damaged file into an error that names it."""
    try:
        yield
    except (
        *(OSError, ValueError, TypeError, KeyError, EOFError),
        *(RecursionError, zipfile.BadZipFile, zlib.error),
    ) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise CheckpointError(f"{file}: cannot be read, it may be damaged: {reason}") from e


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Of Orbax, which logs as `absl`."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
