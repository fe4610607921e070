"""Text logs that say which process wrote a line, over the standard library's ``logging``.

All of it hangs on the logger ``plugins``, which MLLM-JAX's modules are under; no other handlers are touched.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from sightline.jax.distributed import distributed

ROOT = "plugins"


def get_logger(name: str = ROOT) -> logging.Logger:
    """The logger of a module: ``get_logger(__name__)``. A name outside of ``plugins`` is put under it.

    Example:
        >>> get_logger("plugins.training").name, get_logger("train").name
        ('plugins.training', 'plugins.train')
    """
    under = name == ROOT or name.startswith(f"{ROOT}.")
    return logging.getLogger(name if under else f"{ROOT}.{name}")


def setup_logging(level: int | str = logging.INFO, *, process_index: int | None = None) -> logging.Logger:
    """Lets ``plugins`` write to stderr from a level on; again and again if you like.

    Args:
        level: ``"DEBUG"``, ``logging.INFO``, …
        process_index: which is shown in each line; None: that of JAX's distributed runtime, else 0.
    """
    return _add(logging.StreamHandler(sys.stderr), "stderr", level, process_index)


def setup_file_logging(
    directory: str | os.PathLike[str],
    level: int | str = logging.INFO,
    *,
    process_index: int | None = None,
) -> Path:
    """Lets ``plugins`` write to ``directory/p00003.log`` too, on process 3; returns that path."""
    path = Path(directory) / f"p{_process(process_index):05d}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    _add(logging.FileHandler(path, encoding="utf-8"), f"file {path.resolve()}", level, process_index)
    return path


def _add(handler: logging.Handler, name: str, level: int | str, process_index: int | None) -> logging.Logger:
    logger = logging.getLogger(ROOT)
    for other in list(logger.handlers):
        if other.name == name:  # of an earlier call
            logger.removeHandler(other)
            other.close()
    handler.name = name
    handler.setLevel(level)
    form = f"%(asctime)s [p{_process(process_index)}] %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(form))
    logger.addHandler(handler)
    logger.setLevel(min(each.level for each in logger.handlers))
    return logger


def _process(process_index: int | None) -> int:
    if process_index is not None:
        return int(process_index)
    found = distributed()
    return 0 if found is None else found.process
