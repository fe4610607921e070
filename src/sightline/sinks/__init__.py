"""Sinks: each reads the journal and shows or stores what it says."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.errors import ConfigurationError
from sightline.sinks.base import Sink, SinkRun, StoringSink
from sightline.sinks.console import ConsoleConfig, ConsoleSink
from sightline.sinks.cursor import Cursor
from sightline.sinks.reader import SinkReader

__all__ = [
    "ConsoleConfig",
    "ConsoleSink",
    "Cursor",
    "Sink",
    "SinkReader",
    "SinkRun",
    "StoringSink",
    "make_sinks",
]


def make_sinks(wanted: Sequence[str | Sink], console: ConsoleConfig) -> list[Sink]:
    """The sinks of these names, and the sinks among them as they are.

    Raises:
        ConfigurationError: a name that is none, an object that is no sink, or two sinks of one name.
    """
    sinks: list[Sink] = []
    for sink in wanted:
        if sink == "console":
            sinks.append(ConsoleSink(console))
        elif isinstance(sink, str):
            raise ConfigurationError(
                f"unknown sink {sink!r}; expected 'console', or an object with name, write and close. "
                f"The journal metrics.jsonl is written with any sinks, and with none"
            )
        elif isinstance(sink, Sink):
            sinks.append(sink)
        else:
            raise ConfigurationError(
                f"sink {sink!r} is no sink: expected an object with name, write and close"
            )
    names = [sink.name for sink in sinks]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two sinks of one name in {names}: each is counted under its own name")
    return sinks
