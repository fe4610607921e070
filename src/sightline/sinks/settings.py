"""Types of sinks' settings, checked where they are made: in Python as from a file."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

from sightline.errors import ConfigurationError

_NAMES = {str: "text", Path: "a path", int: "an integer", float: "a number", bool: "true or false"}


def check_types(sink: str, settings: Any) -> None:
    """Raises ConfigurationError for a setting of another type than its field says.

    Looks at text, paths, numbers, switches, and None; a number is no switch, nor the other way round.

    Args:
        sink: its name.
        settings: a dataclass.

    Example:
        >>> from sightline.sinks.prometheus import PrometheusConfig
        >>> PrometheusConfig(port="9464")
        Traceback (most recent call last):
        ...
        sightline.errors.ConfigurationError: prometheus port='9464': expected an integer
    """
    for name, kind in typing.get_type_hints(type(settings)).items():
        is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
        options = set(typing.get_args(kind) if is_union else (kind,))
        if not options <= {*_NAMES, type(None)}:
            continue
        value = getattr(settings, name)
        wanted: tuple[type, ...] = (*options, int) if float in options else tuple(options)
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in options):
            expected = [said for option, said in _NAMES.items() if option in options]
            raise ConfigurationError(f"{sink} {name}={value!r}: expected {' or '.join(expected)}")
