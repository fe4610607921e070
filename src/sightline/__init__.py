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
from sightline.recording.step import step
from sightline.tracing.perf_tracer import TRACER, PerfTracer
from sightline.tracing.session_tracer import SESSIONS, SessionTracer
from sightline.tracing.sessions import Session
from sightline.tracking.stats_tracker import StatsTracker
from sightline.tracking.trackers import tracker
from sightline.values.snapshot import Snapshot

if TYPE_CHECKING:
    from sightline import aliases, jax
    from sightline.committing.stats_logger import StatsLogger
    from sightline.config import PerfTracerConfig, SessionTracerConfig, StatsLoggerConfig
    from sightline.hosts.monitoring import monitor_hosts
    from sightline.jax.collecting import add, collect
    from sightline.run import Run, start
    from sightline.runs.journal import read_journal
    from sightline.sinks import ConsoleConfig, Sink, SinkRun, StoringSink
    from sightline.sinks.jsonl import JSONLConfig
    from sightline.sinks.mlflow import MLflowConfig
    from sightline.sinks.prometheus import PrometheusConfig
    from sightline.sinks.swanlab import SwanLabConfig
    from sightline.sinks.tensorboard import TensorBoardConfig
    from sightline.sinks.trackio import TrackioConfig
    from sightline.sinks.wandb import WandbConfig
    from sightline.text_logging.config import TextLoggingConfig
    from sightline.text_logging.loggers import get_logger, getLogger
    from sightline.text_logging.process_logging import setup_file_logging
    from sightline.tracing.session_files import read_sessions
    from sightline.transports import Transport
    from sightline.values.exported_stats import merge_stats
    from sightline.values.worker_stats import export_stats

    __version__: str

# Recording is ready at once. All else is loaded when it is asked for: a library that records may be imported
# by programs that never start a run.
_LATER = {
    "config": ("PerfTracerConfig", "SessionTracerConfig", "StatsLoggerConfig"),
    "values.exported_stats": ("merge_stats",),
    "hosts.monitoring": ("monitor_hosts",),
    "jax.collecting": ("add", "collect"),
    "runs.journal": ("read_journal",),
    "run": ("Run", "start"),
    "tracing.session_files": ("read_sessions",),
    "sinks": ("ConsoleConfig", "Sink", "SinkRun", "StoringSink"),
    "sinks.jsonl": ("JSONLConfig",),
    "sinks.mlflow": ("MLflowConfig",),
    "sinks.prometheus": ("PrometheusConfig",),
    "sinks.swanlab": ("SwanLabConfig",),
    "sinks.tensorboard": ("TensorBoardConfig",),
    "sinks.trackio": ("TrackioConfig",),
    "sinks.wandb": ("WandbConfig",),
    "committing.stats_logger": ("StatsLogger",),
    "text_logging.config": ("TextLoggingConfig",),
    "text_logging.loggers": ("getLogger", "get_logger"),
    "text_logging.process_logging": ("setup_file_logging",),
    "transports": ("Transport",),
    "values.worker_stats": ("export_stats",),
}
_ROOM_OF = {name: room for room, names in _LATER.items() for name in names}

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
    "TextLoggingConfig",
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
    "getLogger",
    "get_logger",
    "histogram",
    "ingest",
    "instant",
    "jax",
    "last",
    "masked",
    "merge_stats",
    "monitor_hosts",
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
    "setup_file_logging",
    "snapshot",
    "start",
    "step",
    "summary",
    "text",
    "total",
    "trace_scope",
    "tracker",
]


if not TYPE_CHECKING:  # which would take every name for one of these

    def __getattr__(name: str) -> Any:
        if name in _ROOM_OF:
            found = getattr(import_module(f"sightline.{_ROOM_OF[name]}"), name)
        elif name in ("aliases", "jax"):
            found = import_module(f"sightline.{name}")
        elif name == "__version__":
            from importlib.metadata import version  # as long to import as NumPy

            found = version("sightline")
        else:
            raise AttributeError(f"module 'sightline' has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
