"""sightline: observability for multi-process training. Record anywhere, merge everywhere, commit once.

Every recorded value is a mergeable aggregate, and its reduction is declared where it is recorded::

    import sightline as sl

    with sl.start("runs", config=config) as run:
        for step in run.steps(1000):
            with sl.scope("train"):
                with sl.record_timing("rollout"):            # time/train/rollout_s
                    batch = rollout(policy)
                sl.summary("reward/total", batch.rewards)    # train/reward/total/{mean,std,min,max}
                sl.masked("advantage", batch.advantages, batch.mask)
                sl.scalar(loss=loss, kl=kl)                  # the mean over all records of all processes
            run.commit(step)                                 # returns at once, on every process

The functions below act on the default tracker of the process; ``tracker("name")`` gives others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sightline import aliases, jax
from sightline.config import PerfTracerConfig, SessionTracerConfig, StatsLoggerConfig
from sightline.errors import (
    ConfigurationError,
    JournalError,
    RecordError,
    RunDirectoryError,
    SightlineError,
    SnapshotError,
    StepError,
    TransportError,
)
from sightline.exported_stats import merge_stats
from sightline.journal import read_journal
from sightline.perf_tracer import TRACER, PerfTracer
from sightline.run import Run, start
from sightline.session_files import read_sessions
from sightline.session_tracer import SESSIONS, Session, SessionTracer
from sightline.sinks import ConsoleConfig, Sink, SinkRun, StoringSink
from sightline.sinks.jsonl import JSONLConfig
from sightline.sinks.mlflow import MLflowConfig
from sightline.sinks.prometheus import PrometheusConfig
from sightline.sinks.swanlab import SwanLabConfig
from sightline.sinks.tensorboard import TensorBoardConfig
from sightline.sinks.trackio import TrackioConfig
from sightline.sinks.wandb import WandbConfig
from sightline.snapshot import Snapshot
from sightline.stats_logger import StatsLogger
from sightline.stats_tracker import StatsTracker, tracker
from sightline.step import step
from sightline.transports import Transport
from sightline.worker_stats import export_stats

if TYPE_CHECKING:
    from sightline.jax.collecting import add, collect

_default = tracker()
export = _default.export
histogram = _default.histogram
ingest = _default.ingest
last = _default.last
masked = _default.masked
rate = _default.rate
ratio = _default.ratio
record_timing = _default.record_timing
sample = _default.sample
scalar = _default.scalar
scope = _default.scope
snapshot = _default.snapshot
summary = _default.summary
text = _default.text
total = _default.total

counter = TRACER.counter
instant = TRACER.instant
trace_scope = TRACER.trace_scope

current_session = SESSIONS.current_session
resume_session = SESSIONS.resume_session
session = SESSIONS.session
session_phase = SESSIONS.session_phase

__all__ = [
    "ConfigurationError",
    "ConsoleConfig",
    "JSONLConfig",
    "JournalError",
    "MLflowConfig",
    "PerfTracer",
    "PerfTracerConfig",
    "PrometheusConfig",
    "RecordError",
    "Run",
    "RunDirectoryError",
    "Session",
    "SessionTracer",
    "SessionTracerConfig",
    "SightlineError",
    "Sink",
    "SinkRun",
    "Snapshot",
    "SnapshotError",
    "StatsLogger",
    "StatsLoggerConfig",
    "StatsTracker",
    "StepError",
    "StoringSink",
    "SwanLabConfig",
    "TensorBoardConfig",
    "TrackioConfig",
    "Transport",
    "TransportError",
    "WandbConfig",
    "add",
    "aliases",
    "collect",
    "counter",
    "current_session",
    "export",
    "export_stats",
    "histogram",
    "ingest",
    "instant",
    "jax",
    "last",
    "masked",
    "merge_stats",
    "rate",
    "ratio",
    "read_journal",
    "read_sessions",
    "record_timing",
    "resume_session",
    "sample",
    "scalar",
    "scope",
    "session",
    "session_phase",
    "snapshot",
    "start",
    "step",
    "summary",
    "text",
    "total",
    "trace_scope",
    "tracker",
]


# What needs JAX, or takes long to find out, is loaded when it is asked for.
_LATER = {"add": "sightline.jax.collecting", "collect": "sightline.jax.collecting"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    if name == "__version__":  # reading it takes as long as importing NumPy
        from importlib.metadata import version

        return version("sightline")
    raise AttributeError(f"module 'sightline' has no attribute {name!r}")
