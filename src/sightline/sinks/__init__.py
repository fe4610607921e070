"""Sinks: each reads the journal and shows or stores what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import ConfigurationError
from sightline.sinks.base import Sink, SinkReader
from sightline.sinks.console import ConsoleConfig, ConsoleSink

if TYPE_CHECKING:
    from sightline.config import StatsLoggerConfig

__all__ = ["ConsoleConfig", "ConsoleSink", "Sink", "SinkReader", "make_sinks"]

_KNOWN = ("console",)


def make_sinks(config: StatsLoggerConfig) -> list[Sink]:
    """The sinks that a configuration names.

    Raises:
        ConfigurationError: a name that is none, or a setting that the sink refuses.
    """
    sinks: list[Sink] = []
    for sink in config.sinks:
        if isinstance(sink, str):
            if sink not in _KNOWN:
                raise ConfigurationError(
                    f"unknown sink {sink!r}; expected {', '.join(map(repr, _KNOWN))}, or an object with name, "
                    f"write and close. The journal metrics.jsonl is written with any sinks, and with none"
                )
            try:
                sinks.append(ConsoleSink(config.console))
            except ValueError as error:
                raise ConfigurationError(f"console: {error}") from None
        elif isinstance(sink, Sink):
            sinks.append(sink)
        else:
            raise ConfigurationError(f"sink {sink!r} is no sink: expected an object with name, write and close")
    names = [sink.name for sink in sinks]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two sinks of one name in {names}; each has a place of its own in the journal")
    return sinks
