"""Whether what a sink needs is installed: seen without importing it, which may take seconds."""

from __future__ import annotations

from importlib.util import find_spec

from sightline.errors import ConfigurationError


def need(sink: str, module: str, install: str, *, otherwise: str = "") -> None:
    """Raises ConfigurationError unless a top-level module can be imported.

    Args:
        sink: its name.
        module: what it imports.
        install: what ``pip install`` brings it.
        otherwise: what else one may do.

    Example:
        >>> need("numbers", "numpy", "numpy")
        >>> need("numbers", "nunpy", "nunpy")
        Traceback (most recent call last):
        ...
        sightline.errors.ConfigurationError: sink 'numbers' needs nunpy: pip install 'nunpy'
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:  # the latter: a folder of that name where the program was started
        raise ConfigurationError(f"sink {sink!r} needs {module}: pip install {install!r}{otherwise}")
