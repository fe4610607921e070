"""Small things that every training loop needs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import jax


def due(every: int, step: int) -> bool:
    """Whether something that happens `every` steps (0: never) happens at this one.

    Example:
        >>> [step for step in range(1, 7) if due(2, step)], due(0, 5)
        ([2, 4, 6], False)
    """
    return every > 0 and step % every == 0


def this_command() -> list[str]:
    """The words of the command that runs now, its launcher included, with paths from here on."""
    python = Path(sys.executable)
    words = [str(python), *sys.orig_argv[1:]]
    if (n := jax.process_count()) > 1:
        words = [str(python.with_name("sightline")), "launch", "-n", str(n), "--", *words]
    here = f"{Path.cwd()}/"
    return [word.removeprefix(here) for word in words]


def resume_command(run_dir: Path, *settings: str) -> str:
    """This command again, to go on with the run in `run_dir`, with further `--set` settings."""
    more = (f"output.name={run_dir.name}", "output.resume=must", *settings)
    return shlex.join([*this_command(), *(word for setting in more for word in ("--set", setting))])


@jax.jit
def fold_in(key_data: jax.Array, n: int) -> jax.Array:
    """The data of the n-th key that follows from a key's data; both (2,) uint32."""
    return jax.random.key_data(jax.random.fold_in(jax.random.wrap_key_data(key_data), n))
