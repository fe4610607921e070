"""What `import sightline` gives: these names, documented, and nothing loaded that was not asked for."""

import ast
import dataclasses
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sightline as sl

SURFACE = [
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

HEAVY = [
    "jax",
    "jaxlib",
    "torch",
    "tensorflow",
    "wandb",
    "tensorboard",
    "tensorboardX",
    "swanlab",
    "trackio",
    "mlflow",
    "prometheus_client",
    "psutil",
    "pynvml",
]
HEAVY += ["rich", "yaml", "click", "pydantic", "pandas", "matplotlib", "ml_dtypes", "hypothesis"]

# What `import sightline` loads of itself: recording, and nothing of runs, transports, sinks or tools.
ROOMS = [
    "errors",
    "recording",
    "recording.disabled",
    "recording.drained",
    "recording.key_registry",
    "recording.records",
    "recording.scoping",
    "recording.step",
    "support",
    "support.async_with",
    "support.decorating",
    "support.given_numbers",
    "tracing",
    "tracing.event_values",
    "tracing.perf_tracer",
    "tracing.session_tracer",
    "tracing.session_values",
    "tracing.sessions",
    "tracing.spans",
    "tracking",
    "tracking.routing",
    "tracking.stats_tracker",
    "tracking.timing",
    "tracking.trackers",
    "values",
    "values.aggregates",
    "values.columns",
    "values.host_values",
    "values.key_specs",
    "values.naming",
    "values.samples",
    "values.snapshot",
]
# Mostly of the standard library, each a millisecond or more; some versions of NumPy load some of them.
SLOW = [
    "orjson",
    "argparse",
    "asyncio",
    "concurrent.futures",
    "ctypes",
    "email",
    "hashlib",
    "http",
    "importlib.metadata",
    "multiprocessing",
    "pathlib",
    "random",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "unittest",
    "urllib.parse",
    "xml",
]


def run_python(code: str, cwd: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, cwd=cwd, env={**kept, **environment}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_surface_is_these_names() -> None:
    """Adding or removing one is a decision, made here too."""
    assert sl.__all__ == SURFACE
    assert sorted(sl.__all__, key=lambda name: (name[0].islower(), name)) == SURFACE
    assert all(hasattr(sl, name) for name in SURFACE)


def test_every_public_name_says_what_it_is() -> None:
    """Classes, their public methods and properties, and functions: each with a docstring of its own."""
    for name in SURFACE:
        each = getattr(sl, name)
        assert inspect.getdoc(each), name
        if not inspect.isclass(each):
            continue
        for member, value in vars(each).items():
            if member.startswith("_") or not (inspect.isroutine(value) or isinstance(value, property)):
                continue
            assert inspect.getdoc(getattr(each, member)), f"{name}.{member}"


def test_tracers_show_what_a_user_calls_and_nothing_of_how_they_are_written() -> None:
    perf, sessions = sl.PerfTracer(enabled=False), sl.SessionTracer(enabled=False)
    assert [name for name in dir(perf) if not name.startswith("_")] == [
        "add_span", "counter", "current_span", "enabled", "instant", "trace_scope",
    ]  # fmt: skip
    assert [name for name in dir(sessions) if not name.startswith("_")] == [
        "current_session", "enabled", "resume_session", "session", "session_phase",
    ]  # fmt: skip


def test_every_setting_is_described() -> None:
    """Each field of the public configs stands in its class's docstring."""
    configs = [getattr(sl, name) for name in SURFACE if name.endswith("Config")]
    assert sl.StatsLoggerConfig in configs
    for config in configs:
        for field in dataclasses.fields(config):
            assert f"        {field.name}: " in (config.__doc__ or ""), f"{config.__name__}.{field.name}"


def test_errors_have_one_root() -> None:
    """So that `except sl.SightlineError` catches what sightline raises on purpose."""
    errors = [getattr(sl, name) for name in SURFACE if name.endswith("Error")]
    assert all(issubclass(error, sl.SightlineError) for error in errors)


@pytest.mark.parametrize(
    "use",
    [
        "",
        "sl.scalar(a=1.0); sl.summary('b', [1.0], quantiles=(.5,)); sl.export(reduce='local')",
        "sl.Snapshot.from_bytes(sl.snapshot().to_bytes())",
        "sl.StatsLoggerConfig.from_dict({'console': {'style': 'line'}})",
        "run = sl.start('runs'); sl.scalar(a=1.0); run.commit(1); run.finish()",
    ],
    ids=["import", "record", "snapshot", "config", "commit"],
)
def test_nothing_is_loaded_that_is_not_used(tmp_path: Path, use: str) -> None:
    """Neither JAX nor torch nor an SDK nor a terminal library: adapters load when they are used."""
    code = f"import sys; import sightline as sl; {use}\n"
    code += f"assert not set({HEAVY!r}) & set(sys.modules), sorted(set({HEAVY!r}) & set(sys.modules))"
    run_python(code, tmp_path)


def test_importing_loads_what_recording_needs(tmp_path: Path) -> None:
    """No run, transport or sink, and nothing slow of the standard library: it costs little beside NumPy."""
    code = f"""
import sys, numpy
before = set(sys.modules)
import sightline
added = set(sys.modules) - before
rooms = sorted(name.removeprefix("sightline.") for name in added if name.startswith("sightline."))
assert rooms == {ROOMS!r}, rooms
assert not added & set({SLOW!r}), sorted(added & set({SLOW!r}))
"""
    run_python(code, tmp_path)


def test_what_is_loaded_later_is_there_all_the_same(tmp_path: Path) -> None:
    """Every name by attribute, by `from … import` and in `dir()`; after the first time it is simply there."""
    code = f"""
import sightline as sl
assert set({SURFACE!r}) <= set(dir(sl)), set({SURFACE!r}) - set(dir(sl))
later = set({SURFACE!r}) - set(vars(sl))
assert {{"start", "Run", "jax", "aliases", "collect"}} <= later, later
for name in later:
    first = getattr(sl, name)
    assert vars(sl)[name] is first, name
from sightline import *
assert start is sl.start and jax is sl.jax and step is sl.step
try:
    sl.strat
except AttributeError as error:
    assert "'strat'" in str(error)
else:
    raise AssertionError("a name that is none")
"""
    run_python(code, tmp_path)


def test_type_checkers_see_the_names_that_are_loaded_later() -> None:
    """Under TYPE_CHECKING stand the same names, from the same rooms."""
    tree = ast.parse(Path(sl.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )  # fmt: skip
    seen = {
        (node.module, each.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    later = {(f"sightline.{room}", name) for name, room in sl._ROOM_OF.items()}
    assert seen == later | {("sightline", "aliases"), ("sightline", "jax")}
    for room, name in later:
        assert getattr(importlib.import_module(room), name) is getattr(sl, name)


def test_recording_calls_are_bound_when_sightline_is_imported(tmp_path: Path) -> None:
    """They are the default tracker's own methods: nothing stands between a call and its record."""
    calls = [name for name in SURFACE if hasattr(sl.StatsTracker, name)]
    assert {"scalar", "summary", "scope", "record_timing", "export"} <= set(calls)
    code = f"import sightline as sl; assert all(vars(sl)[n].__self__ is sl.tracker() for n in {calls!r})"
    run_python(code, tmp_path)


def test_no_module_takes_the_place_of_a_public_name(tmp_path: Path) -> None:
    """Importing `sightline.x` sets `sightline.x`; where a function has that name it must win."""
    code = f"""
import importlib, pkgutil, types
import sightline as sl
for room in pkgutil.iter_modules(sl.__path__):
    importlib.import_module(f"sightline.{{room.name}}")
modules = [n for n in {SURFACE!r} if isinstance(getattr(sl, n), types.ModuleType)]
assert modules == ["aliases", "jax"], modules
"""
    run_python(code, tmp_path)


def test_disabled_means_nothing(tmp_path: Path) -> None:
    """No record, no check, no wrapper, no file, no thread."""
    code = """
import os, threading
import sightline as sl
def f(): ...
assert sl.scope("a")(f) is f and sl.record_timing("b")(f) is f
with sl.start("runs", config={"a": 1}) as run:
    for step in run.steps(2):
        with sl.scope("train"), sl.record_timing("x"):
            sl.scalar(loss=object())
            sl.total(x="no")
            sl.last(x=None)
            sl.ratio("r", 1, 0)
            sl.rate("r", 1)
            sl.summary("s", "no")
            sl.masked("s", [1, 2], [1])
            sl.histogram("h", "no", bins=0)
            sl.text(a=3)
        run.commit(step)
    assert sl.export() == {}
    assert len(sl.snapshot()) == 0
assert os.listdir() == [], os.listdir()
assert threading.active_count() == 1
"""
    run_python(code, tmp_path, SIGHTLINE_DISABLED="1")


def test_the_package_is_typed() -> None:
    """Type checkers read its annotations."""
    assert (Path(sl.__file__).parent / "py.typed").exists()
