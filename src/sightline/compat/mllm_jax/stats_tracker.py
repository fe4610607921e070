"""MLLM-JAX's ``StatsTracker``: records on every process, and one dict of all of them, over sightline's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sightline.compat.mllm_jax.saying import say_once
from sightline.errors import RecordError
from sightline.tracking import stats_tracker
from sightline.values.naming import join
from sightline.values.snapshot import Value


class StatsTracker:
    """Records numbers under scopes, and exports them under the names that MLLM-JAX gives them.

    A key has one reduction: what does not fit is left out with a warning, said once for the key.

    Args:
        name: the outermost scope.

    Example:
        >>> tracker = StatsTracker("train")
        >>> tracker.scalar(loss=0.5)
        >>> tracker.summary("reward", [0.0, 1.0])
        >>> sorted(tracker.export(reduce=False))
        ['train/loss', 'train/loss__count', 'train/reward/max', 'train/reward/mean', 'train/reward/min', \
'train/reward/std', 'train/reward__count']
    """

    def __init__(self, name: str = "") -> None:
        self._tracker = stats_tracker.StatsTracker("mllm_jax")
        outermost = name.strip("/")
        self._scope: ContextVar[str] = ContextVar("mllm_jax_scope", default=outermost)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Puts ``name/`` before the keys recorded inside."""
        part = str(name).strip("/")
        with self._scoped(join(self._scope.get(), part) if part else self._scope.get()):
            yield

    @contextmanager
    def disable_scope(self) -> Iterator[None]:
        """Keys recorded inside stand alone."""
        with self._scoped(""):
            yield

    def scalar(self, **kvs: Any) -> None:
        """Records numbers; exported as their mean over all records of all processes."""
        for key, value in kvs.items():
            self._record("scalar", key, value)

    def summary(self, key: str, values: Any) -> None:
        """Records arrays; exported as ``/mean``, ``/std``, ``/min`` and ``/max`` over all their elements."""
        self._record("summary", key, values)

    @contextmanager
    def record_timing(self, key: str) -> Iterator[None]:
        """Times the block; exported as ``timeperf/<key>`` whatever the scope, the mean over all records."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            with self.disable_scope():
                self._record("scalar", f"timeperf/{str(key).strip('/')}", seconds)

    def export(self, *, reduce: bool = True, reset: bool = True) -> dict[str, Value | str]:
        """What was recorded since the last export, as names and numbers.

        Args:
            reduce: over all processes, each of which must call it, with whatever keys. The first gets the
                result, and waits for the others, 60 s at most; they get an empty dict at once. False: this
                process alone.
            reset: False leaves the records in place.
        """
        return self._tracker.export(reduce="process" if reduce else "local", reset=reset)

    def _record(self, call: str, key: str, value: Any) -> None:
        full = join(self._scope.get(), str(key).strip("/"))
        try:
            getattr(self._tracker, call)(full, value)
        except RecordError as error:
            say_once(f"record {full}", "%r is not recorded: %s (said once)", full, error)

    @contextmanager
    def _scoped(self, path: str) -> Iterator[None]:
        token = self._scope.set(path)
        try:
            yield
        finally:
            self._scope.reset(token)
