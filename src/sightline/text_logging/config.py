"""How text is logged: settings, and the little languages of levels and processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sightline.errors import ConfigurationError

#: Loggers of HTTP and file libraries that say every request, which ``quiet=True`` keeps to warnings.
CHATTY = (
    "aiobotocore", "azure", "botocore", "datasets", "filelock", "fsspec", "gcsfs", "google.auth", "httpcore",
    "httpx", "huggingface_hub", "hpack", "openai", "requests", "s3fs", "s3transfer", "urllib3", "websockets",
)  # fmt: skip

ENVIRONMENT = "SIGHTLINE_LOG_LEVEL"
_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, kw_only=True)
class TextLoggingConfig:
    """What is logged as text, and where to.

    Attributes:
        enabled: False: no files, no console; the loggers are the standard library's.
        level: the least level, ``"debug"`` to ``"critical"``, for single components too:
            ``"info,rollout=debug"``. The environment variable ``SIGHTLINE_LOG_LEVEL`` comes before it. None:
            as the logger ``sightline`` has it, else ``"info"``.
        levels: the same by component: ``{"rollout": "debug"}``.
        files: whether each process writes its log into the run directory, under ``logs/``.
        console_processes: which processes print to stderr: ``"root"``, ``"all"``, or as in ``"0,3-5"``.
        loggers: others whose records belong into console and files too, as in ``("asyncio", "absl")``.
        capture_exceptions: whether uncaught exceptions of all threads go into the files.
        capture_warnings: whether Python's warnings go into the files.
        capture_output: whether what is written to stdout and stderr, by libraries in C too, goes into the
            files, and still to where it went. It needs ``tee``.
        quiet: True: loggers of HTTP and file libraries say warnings only; or the names of those that should.
        role: what the process does, as in ``"rollout"``; stands in each line of the files.
        segment_bytes: a file that has become so long is followed by another one.
        keep_bytes: the oldest files of the process are deleted when all of a kind are longer.

    Example:
        >>> TextLoggingConfig(level="info,rollout=debug").by_component()
        {'': 20, 'rollout': 10}
    """

    enabled: bool = True
    level: str | None = None
    levels: Mapping[str, str] = field(default_factory=dict)
    files: bool = True
    console_processes: str = "root"
    loggers: Sequence[str] = ()
    capture_exceptions: bool = True
    capture_warnings: bool = True
    capture_output: bool = False
    quiet: bool | Sequence[str] = False
    role: str = ""
    segment_bytes: int = 64 << 20
    keep_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if not isinstance(self.levels, Mapping):
            raise ConfigurationError(
                f"levels={self.levels!r}; expected a mapping, as in {{'rollout': 'debug'}}"
            )
        self.by_component({})
        self.shows_console(0)
        for name in ("segment_bytes", "keep_bytes"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name}={value!r}; expected a positive int")
        for name in ("loggers", "quiet"):
            value = getattr(self, name)
            is_list = isinstance(value, Sequence) and not isinstance(value, str)
            if not (is_list and all(isinstance(each, str) for each in value)) and not (
                name == "quiet" and isinstance(value, bool)
            ):
                raise ConfigurationError(f"{name}={value!r}; expected names of loggers, as in ('httpx',)")

    def by_component(self, environment: Mapping[str, str] | None = None) -> dict[str, int]:
        """The least levels as numbers: of all under ``""``, where it is said, and of components.

        Args:
            environment: None: that of the process.
        """
        levels = {} if self.level is None else parse_levels(self.level, "level")
        levels |= {component: _number(name, "levels") for component, name in self.levels.items()}
        if said := (os.environ if environment is None else environment).get(ENVIRONMENT):
            levels |= parse_levels(said, ENVIRONMENT)
        return levels

    def shows_console(self, process: int) -> bool:
        """Whether this process prints."""
        if self.console_processes in ("root", "all"):
            return self.console_processes == "all" or process == 0
        try:
            ranges = [part.partition("-") for part in self.console_processes.split(",")]
            return any(int(first) <= process <= int(last or first) for first, _, last in ranges)
        except (ValueError, AttributeError):
            raise ConfigurationError(
                f"console_processes={self.console_processes!r}; expected 'root', 'all', or as in '0,3-5'"
            ) from None

    def quiet_names(self) -> Sequence[str]:
        """The loggers to keep to warnings."""
        if isinstance(self.quiet, bool):
            return CHATTY if self.quiet else ()
        return self.quiet


def parse_levels(text: str, setting: str) -> dict[str, int]:
    """Levels by component, the level of all under ``""``.

    Raises:
        ConfigurationError: a level that is none.

    Example:
        >>> parse_levels("warning, rollout=debug", "level")
        {'': 30, 'rollout': 10}
    """
    if not isinstance(text, str):
        raise ConfigurationError(
            f"{setting}={text!r}; expected a level, as in 'info' or 'info,rollout=debug'"
        )
    levels = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        component, equals, level = part.partition("=")
        levels[component.strip() if equals else ""] = _number(level if equals else part, setting)
    return levels


def _number(name: object, setting: str) -> int:
    level = name.strip().upper() if isinstance(name, str) else ""
    if level.lower() not in _LEVELS:
        raise ConfigurationError(f"{setting}: {name!r} is no level; expected one of {', '.join(_LEVELS)}")
    return int(logging.getLevelName(level))
