"""How much memory the devices of this process use, in each commit: recorded once, whoever asks for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from sightline.jax.distributed import backend_is_running
from sightline.recording.sampling import Recorder, add_sampler

_SAID = (
    ("in_use_bytes", "bytes_in_use"),
    ("peak_bytes", "peak_bytes_in_use"),
    ("limit_bytes", "bytes_limit"),
)

_lock = threading.RLock()
_asking: list[tuple[object, Recorder | None]] = []
_remove: Callable[[], None] | None = None


def watch_memory(tracker: Recorder | None = None) -> Callable[[], None]:
    """Has each commit say how full the devices are; returns what ends that.

    ``jax/memory/in_use_bytes``, ``peak_bytes`` and ``limit_bytes`` have ``/mean`` and ``/max`` over devices;
    ``jax/memory/process_…`` are of the fullest device of each process. Asked of JAX on the committing thread.
    Nothing where no back end runs or it does not say, as on CPUs.

    Args:
        tracker: who records; None: the one that is being committed. If several ask, the first one's counts.
    """
    global _remove
    key = object()
    with _lock:
        _asking.append((key, tracker))
        if _remove is None:
            _remove = add_sampler(sample_memory, in_children=True)

    def stop() -> None:
        global _remove
        with _lock:
            _asking[:] = [each for each in _asking if each[0] is not key]
            if not _asking and _remove is not None:
                _remove()
                _remove = None

    return stop


def sample_memory(committed: Recorder) -> None:
    """Records what the devices say now."""
    if not backend_is_running():
        return
    import jax

    said = [stats for stats in (device.memory_stats() for device in jax.local_devices()) if stats]
    if not said:  # CPUs
        return
    tracker = next((own for _, own in _asking if own is not None), None) or committed
    fullest = max(said, key=lambda stats: stats.get("bytes_in_use", 0))
    for key, name in _SAID:
        sizes = [stats[name] for stats in said if name in stats]
        if sizes:
            tracker.summary(f"jax/memory/{key}", sizes, emit=("mean", "max"))
            own = fullest.get(name, 0) if name == "bytes_limit" else max(sizes)
            tracker.scalar(f"jax/memory/process_{key}", own, per_process=True)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
