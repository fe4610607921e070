"""Settings: typed, frozen, loadable from a dict or a YAML file."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from sightline.aliases import Aliases, combined
from sightline.errors import ConfigurationError
from sightline.runs.run_directory import Resume
from sightline.sinks.base import Sink
from sightline.sinks.console import ConsoleConfig
from sightline.sinks.jsonl import JSONLConfig
from sightline.sinks.mlflow import MLflowConfig
from sightline.sinks.prometheus import PrometheusConfig
from sightline.sinks.swanlab import SwanLabConfig
from sightline.sinks.tensorboard import TensorBoardConfig
from sightline.sinks.trackio import TrackioConfig
from sightline.sinks.wandb import WandbConfig
from sightline.text_logging.config import TextLoggingConfig
from sightline.transports import TransportName
from sightline.values.host_values import check_timing_key
from sightline.values.naming import is_namespace

OnLowerStep = Literal["clamp", "error", "drop"]
NamingMode = Literal["warn", "strict", "off"]


@dataclass(frozen=True, kw_only=True)
class SessionTracerConfig:
    """Whether rollout sessions are recorded, and how long the files are.

    Attributes:
        enabled: False: no sessions are recorded; they have no files and no metrics.
        flush_threshold: when so many have ended, they are written at once; else a few times a second.
        segment_mb: a file of sessions that has become so long is followed by another one, in megabytes.
        keep_mb: of a process's files of sessions so much is kept; the oldest go first.
    """

    enabled: bool = True
    flush_threshold: int = 256
    segment_mb: float = 128.0
    keep_mb: float = 4096.0

    def __post_init__(self) -> None:
        _check_positive(self, "flush_threshold", "segment_mb", "keep_mb")


@dataclass(frozen=True, kw_only=True)
class PerfTracerConfig:
    """What is traced, and how long the files are.

    Attributes:
        enabled: False: no spans are recorded, and no trace is written.
        profile_steps: steps that JAX's profiler records, into ``profiles/`` of the run directory. While a run
            goes on, ``echo 2 > RUN_DIR/profile`` asks for its next two steps.
        profile_processes: on which processes; None: on all.
        profile_host_level: ``host_tracer_level`` of the profiler: 1 is cheaper than 2.
        segment_mb: a trace file that has become so long is followed by another one, in megabytes.
        keep_mb: of a process's trace files so much is kept; the oldest go first.
        session_tracer: the same for rollout sessions, which have a switch of their own.
    """

    enabled: bool = True
    profile_steps: Sequence[int] = ()
    profile_processes: Sequence[int] | None = None
    profile_host_level: int = 2
    segment_mb: float = 256.0
    keep_mb: float = 8192.0
    session_tracer: SessionTracerConfig = field(default_factory=SessionTracerConfig)

    def __post_init__(self) -> None:
        for name in ("profile_steps", "profile_processes"):
            numbers = getattr(self, name)
            if numbers is not None and not (
                isinstance(numbers, Sequence) and all(type(each) is int for each in numbers)
            ):
                raise ConfigurationError(f"{name}={numbers!r}; expected ints, as in [10, 11]")
        _check_positive(self, "segment_mb", "keep_mb")


@dataclass(frozen=True, kw_only=True)
class StatsLoggerConfig:
    """How commits are made, merged and written.

    Attributes:
        log_dir: where run directories lie; each process may have its own disk.
        name: the run's name; None: from date and time (or, to resume, the latest).
        resume: ``"never"`` refuses to append to an earlier run, ``"must"`` wants one, ``"allow"`` takes both.
        sinks: what shows the journal: names, or sinks of your own.
        console: how the console sink looks.
        jsonl: where the JSONL sink writes.
        logging: what is logged as text, and where to; see :class:`TextLoggingConfig`.
        tracing: what is traced; see :class:`PerfTracerConfig`.
        monitor_hosts: whether each commit says what the processes and their machines use, while the run of
            ``sl.start`` lasts; see :func:`sightline.monitor_hosts`.
        mlflow: where the MLflow sink logs.
        prometheus: where the Prometheus sink listens.
        swanlab: where the SwanLab sink logs.
        tensorboard: where the TensorBoard sink writes.
        trackio: where the trackio sink writes.
        wandb: which run the W&B sink writes, and how.
        upload_to: where each process puts its files for other hosts, as ``<upload_to>/<name>/…``: full
            segments while the run goes on, the rest at its end. A folder, or a URL that fsspec knows.
        samples_per_step: rows of a sample table that a commit shows, at most, over all processes.
        aliases: other names for keys: ``{"train/reward/": "train-reward/", "train/loss": ["loss"]}``, the
            name of a ready table (``"verl"``), a :class:`sightline.aliases.AliasTable`, or a list of such.
        naming: what a key outside of the conventions (docs/naming.md) does: it is logged once (``"warn"``),
            makes the next commit raise (``"strict"``), or nothing (``"off"``).
        namespaces: first parts of keys that are welcome besides ``train``, ``eval`` and the other usual ones.
        timing_key: how timings are spelled, as in ``"timeperf/{key}"``; None: as the trackers have it.
        on_lower_step: a commit below the last step counts as the last step with a warning (``"clamp"``),
            raises (``"error"``), or is left out with a warning (``"drop"``).
        transport: ``"auto"``, ``"local"``, ``"jax_store"`` or ``"process_allgather"``.
        deadline_s: how long a slot waits for a process, from the slot's first snapshot on.
        first_deadline_s: the same for the first slot, which waits for compilation and slow starts.
        finish_timeout_s: how long ``finish`` waits for the other processes and the sinks.
        grace_s: on SIGTERM, how long to write what is under way before the signal goes on.
        queue_size: commits that a process holds, while the root does not take them, before it folds them.
        max_programs: how many programs the process may compile to reduce recorded arrays of JAX, one for each
            shape, dtype and sharding. Arrays beyond are copied on their device, fetched whole, and reduced on
            the host.

    Example:
        >>> StatsLoggerConfig.from_dict({"log_dir": "runs", "console": {"style": "line"}}).console.style
        'line'
    """

    log_dir: str | Path = "runs"
    name: str | None = None
    resume: Resume = "never"
    sinks: Sequence[str | Sink] = ("console",)
    console: ConsoleConfig = field(default_factory=ConsoleConfig)
    jsonl: JSONLConfig = field(default_factory=JSONLConfig)
    logging: TextLoggingConfig = field(default_factory=TextLoggingConfig)
    tracing: PerfTracerConfig = field(default_factory=PerfTracerConfig)
    monitor_hosts: bool = False
    mlflow: MLflowConfig = field(default_factory=MLflowConfig)
    prometheus: PrometheusConfig = field(default_factory=PrometheusConfig)
    swanlab: SwanLabConfig = field(default_factory=SwanLabConfig)
    tensorboard: TensorBoardConfig = field(default_factory=TensorBoardConfig)
    trackio: TrackioConfig = field(default_factory=TrackioConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    upload_to: str | None = None
    samples_per_step: int = 8
    aliases: Aliases = ()
    naming: NamingMode = "warn"
    namespaces: Sequence[str] = ()
    timing_key: str | None = None
    on_lower_step: OnLowerStep = "clamp"
    transport: TransportName = "auto"
    deadline_s: float = 60.0
    first_deadline_s: float = 600.0
    finish_timeout_s: float = 120.0
    grace_s: float = 10.0
    queue_size: int = 64
    max_programs: int = 64

    def __post_init__(self) -> None:
        if isinstance(self.sinks, str):
            raise ConfigurationError(f"sinks={self.sinks!r}; expected a list, as in [{self.sinks!r}]")
        if not isinstance(self.monitor_hosts, bool):
            raise ConfigurationError(f"monitor_hosts={self.monitor_hosts!r}; expected True or False")
        if self.on_lower_step not in ("clamp", "error", "drop"):
            raise ConfigurationError(
                f"on_lower_step={self.on_lower_step!r}; expected 'clamp', 'error' or 'drop'"
            )
        for name in ("deadline_s", "first_deadline_s", "finish_timeout_s", "grace_s", "queue_size"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not value > 0:
                raise ConfigurationError(f"{name}={value!r}; expected a positive number")
        for name in ("max_programs", "samples_per_step"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ConfigurationError(f"{name}={value!r}; expected an int, 0 or more")
        if self.naming not in ("warn", "strict", "off"):
            raise ConfigurationError(f"naming={self.naming!r}; expected 'warn', 'strict' or 'off'")
        several = isinstance(self.namespaces, Sequence) and not isinstance(self.namespaces, str)
        if not several or not all(map(is_namespace, self.namespaces)):
            raise ConfigurationError(
                f"namespaces={self.namespaces!r}; expected first parts of keys, as in ('actor', 'critic')"
            )
        try:
            combined(self.aliases)
            if self.timing_key is not None:
                check_timing_key(self.timing_key)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"aliases: {error}") from None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data; nested settings are nested mappings.

        Raises:
            ConfigurationError: an unknown name, or a value that cannot be right.
        """
        settings: Self = _load(cls, data, "")
        return settings

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """From a YAML file; needs ``pip install 'sightline[yaml]'``.

        Raises:
            ConfigurationError: as :meth:`from_dict`, and without the extra.
        """
        try:
            import yaml
        except ImportError:
            raise ConfigurationError(f"reading {path} needs PyYAML: pip install 'sightline[yaml]'") from None
        with open(path, encoding="utf-8") as file:
            try:
                data = yaml.safe_load(file)
            except yaml.YAMLError as error:
                raise ConfigurationError(f"{path} is no YAML: {error}") from error
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"{path}: expected a mapping of settings, got {type(data).__name__}")
        return cls.from_dict(data)


def with_absolute_paths(settings: StatsLoggerConfig) -> dict[str, Any]:
    """The settings by name, those of sinks with absolute paths, for a reader in another directory.

    Example:
        >>> settings = StatsLoggerConfig.from_dict({"jsonl": {"path": "out/rows.jsonl"}})
        >>> with_absolute_paths(settings)["jsonl"].path == str(Path("out/rows.jsonl").absolute())
        True
    """
    return {
        name: _absolute(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        for name, value in vars(settings).items()
    }


def _absolute(section: Any) -> Any:
    changed = {}
    for name, kind in typing.get_type_hints(type(section)).items():
        value = getattr(section, name, None)
        if value and Path in typing.get_args(kind) and not str(value).startswith("~"):
            changed[name] = str(Path(value).absolute())
        elif name == "tracking_uri" and value and value.startswith("sqlite:///"):
            changed[name] = f"sqlite:///{Path(value.removeprefix('sqlite:///')).absolute()}"
    return dataclasses.replace(section, **changed)


def _check_positive(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise ConfigurationError(f"{name}={value!r}; expected a positive number")


def _load(cls: Any, data: Mapping[str, Any], where: str) -> Any:
    types_ = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    values = {}
    for name, value in data.items():
        if name not in names:
            raise ConfigurationError(f"unknown setting {where}{name}; expected one of {', '.join(names)}")
        kind = types_[name]
        if dataclasses.is_dataclass(kind):
            if isinstance(value, Mapping):
                value = _load(kind, value, f"{where}{name}.")
            elif not isinstance(value, typing.cast(type, kind)):
                raise ConfigurationError(f"{where}{name}={value!r}; expected a mapping of its settings")
        elif isinstance(value, list):
            value = tuple(value)
        _check_type(f"{where}{name}", value, kind)
        values[name] = value
    return cls(**values)


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Refuses what a YAML file most often gets wrong: a string for a number, a number for a name."""
    origin = typing.get_origin(kind)
    if origin is Literal:
        if value not in typing.get_args(kind):
            raise ConfigurationError(f"{name}={value!r}; expected {_or(map(repr, typing.get_args(kind)))}")
        return
    options = typing.get_args(kind) if origin in (typing.Union, types.UnionType) else (kind,)
    simple = [option for option in options if option in (int, float, str, bool, Path, type(None))]
    if len(simple) != len(options):
        return
    if isinstance(value, bool) and bool not in simple:
        ok = False
    else:
        ok = any(isinstance(value, (int, float) if option is float else option) for option in simple)
    if not ok:
        expected = _or("null" if option is type(None) else option.__name__ for option in simple)
        raise ConfigurationError(f"{name}={value!r} is a {type(value).__name__}; expected {expected}")


def _or(options: Iterable[str]) -> str:
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last
