"""Sinks: each reads the journal and shows or stores what it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from sightline.errors import ConfigurationError
from sightline.sinks.base import Sink, SinkRun, StoringSink
from sightline.sinks.console import ConsoleConfig
from sightline.sinks.lineage import check_rewind
from sightline.sinks.reader import SinkReader, storing_reader

__all__ = ["ConsoleConfig", "Sink", "SinkReader", "SinkRun", "StoringSink", "make_sinks", "storing_reader"]

#: Where others' sinks are found: ``[project.entry-points."sightline.sinks"] name = "package:factory"``.
ENTRY_POINTS = "sightline.sinks"

#: Ours by name: the module, and what in it makes the sink of its settings.
_OURS = {
    "console": ("sightline.sinks.console", "ConsoleSink"),
    "jsonl": ("sightline.sinks.jsonl", "JSONLSink"),
    "mlflow": ("sightline.sinks.mlflow", "MLflowSink"),
    "prometheus": ("sightline.sinks.prometheus", "PrometheusSink"),
    "swanlab": ("sightline.sinks.swanlab", "SwanLabSink"),
    "tensorboard": ("sightline.sinks.tensorboard", "TensorBoardSink"),
    "trackio": ("sightline.sinks.trackio", "TrackioSink"),
    "wandb": ("sightline.sinks.wandb", "make"),
}


def make_sinks(wanted: Sequence[str | Sink], settings: Mapping[str, Any]) -> list[Sink]:
    """The sinks of these names, and the sinks among them as they are.

    Args:
        wanted: names of ours, names that an installed package gives under :data:`ENTRY_POINTS`, and sinks.
        settings: of ours, by name.

    Raises:
        ConfigurationError: a name that is none, a missing extra, an object that is no sink or only some of
            one that stores, or two sinks of one name.
    """
    sinks: list[Sink] = []
    for sink in wanted:
        made: Any = _maker(sink, settings)() if isinstance(sink, str) else sink
        if not isinstance(made, Sink):
            raise ConfigurationError(
                f"sink {sink!r} is no sink: expected an object with name, write and close, got {made!r}"
            )
        _check(made)
        sinks.append(made)
    names = [sink.name for sink in sinks]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two sinks of one name in {names}: each is counted under its own name")
    return sinks


def _check(sink: Any) -> None:
    if not isinstance(sink.name, str) or not re.fullmatch(r"\w[\w.-]*", sink.name):
        raise ConfigurationError(
            f"sink name {sink.name!r}: expected letters, digits, '_', '-', '.': files and keys have it"
        )
    parts = {part: hasattr(sink, part) for part in ("open", "rewind", "stores_at_close")}
    if not any(parts.values()):
        return
    if not all(parts.values()):
        had = " and ".join(part for part, is_there in parts.items() if is_there)
        lacks = " and ".join(part for part, is_there in parts.items() if not is_there)
        raise ConfigurationError(
            f"sink {sink.name!r} has {had} and lacks {lacks}: one that stores has all three "
            f"(sl.StoringSink), any other none"
        )
    check_rewind(sink.name, sink.rewind)
    if not callable(sink.open) or not isinstance(sink.stores_at_close, bool):
        raise ConfigurationError(
            f"sink {sink.name!r}: expected a method open and a bool stores_at_close, got "
            f"{sink.open!r} and {sink.stores_at_close!r}"
        )


def _maker(name: str, settings: Mapping[str, Any]) -> Callable[[], Any]:
    if name in _OURS:
        module, maker = _OURS[name]
        return lambda: getattr(import_module(module), maker)(settings[name])
    from importlib.metadata import entry_points  # takes as long to import as NumPy

    others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in others:
        try:
            return others[name].load()  # type: ignore[no-any-return]
        except Exception as error:
            raise ConfigurationError(
                f"sink {name!r} ({others[name].value}) cannot be loaded: {error}"
            ) from error
    raise ConfigurationError(
        f"unknown sink {name!r}; expected one of {', '.join(sorted([*_OURS, *others]))}, or an object with "
        f"name, write and close. The journal metrics.jsonl is written with any sinks, and with none"
    )
