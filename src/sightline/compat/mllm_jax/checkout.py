"""A checkout of MLLM-JAX: the files that it adopts, and what in it still goes past them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sightline.compat.adoption import Adoption
from sightline.errors import ConfigurationError

_FROM = "sightline.compat.mllm_jax"
_WRITTEN = "Written by `sightline adopt mllm-jax`."
_LOOKED_AT = ("plugins", "projects", "scripts", "MLLM_JAX")


def _thin(what: str, source: str, *names: str) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f'"""{what} {_WRITTEN}"""\n\nfrom {source} import {", ".join(names)}\n\n__all__ = [{listed}]\n'


_HERE = "plugins/common/observability"
FILES = {
    "plugins/common/wandb_utils.py": _thin(
        "The wandb module's calls, kept in the journal of a sightline run.", _FROM, "maybe_init_wandb"
    ),
    f"{_HERE}/__init__.py": (
        f'"""Metrics, text logs and timings over sightline. {_WRITTEN}"""\n\n'
        "from plugins.common.observability.stats_logger import StatsLogger, WandbRunSpec\n"
        "from plugins.common.observability.stats_tracker import StatsTracker\n\n"
        '__all__ = ["StatsLogger", "StatsTracker", "WandbRunSpec"]\n'
    ),
    f"{_HERE}/stats_tracker.py": _thin("Records on every process.", _FROM, "StatsTracker"),
    f"{_HERE}/stats_logger.py": _thin("The one writer of metrics.", _FROM, "StatsLogger", "WandbRunSpec"),
    f"{_HERE}/text_logging.py": _thin(
        "Text logs that name the process.", _FROM, "get_logger", "setup_file_logging", "setup_logging"
    ),
    f"{_HERE}/perf_tracer.py": _thin(
        "How long parts of a step take.", _FROM, "PerfTracer", "trace_perf", "trace_scope"
    ),
}


def adoption(root: str | Path) -> Adoption:
    """What a checkout would get.

    Raises:
        ConfigurationError: it is none.
    """
    root = Path(root)
    if not (root / "plugins").is_dir():
        raise ConfigurationError(
            f"{root} is no checkout of MLLM-JAX: expected the folder {root / 'plugins'} in it"
        )
    return Adoption(root, FILES)


def imports_of_wandb(root: Path) -> Iterator[tuple[str, int]]:
    """Files and lines that take the ``wandb`` package itself, so that their calls go past the journal."""
    for name, module, line in _imports(root):
        if module.partition(".")[0] == "wandb":
            yield name, line


def uses_what_is_written(root: Path) -> bool:
    """Whether a file of the checkout's own imports what it adopts."""
    ours = tuple(name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in FILES)
    return any(f"{module}.".startswith(tuple(f"{each}." for each in ours)) for _, module, _ in _imports(root))


def _imports(root: Path) -> Iterator[tuple[str, str, int]]:
    """Files, what they import, and in which line; what cannot be read, or is no Python, is passed over."""
    for path in _sources(root):
        name = str(path.relative_to(root))
        if name in FILES or not path.is_file():  # a folder, a link to nowhere, a pipe
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and (module := _module(name, node)):
                yield name, module, node.lineno
                yield from ((name, f"{module}.{alias.name}", node.lineno) for alias in node.names)


def _sources(root: Path) -> Iterator[Path]:
    """The checkout's own files: those in its root, and all in the folders that have runners."""
    yield from sorted(root.glob("*.py"))
    for folder in _LOOKED_AT:
        yield from sorted((root / folder).rglob("*.py"))


def _module(name: str, node: ast.ImportFrom) -> str:
    """What is imported from, also where a file says it by dots; empty: what is outside of the checkout."""
    if not node.level:
        return node.module or ""
    above = Path(name).parts[: -node.level]
    return ".".join([*above, node.module] if above and node.module else above)


def first_runner(root: Path) -> str | None:
    """A script of the checkout that starts a training."""
    found = sorted(path for path in (root / "scripts").glob("run_*.py") if path.is_file())
    return str(found[0].relative_to(root)) if found else None
