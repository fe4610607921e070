"""Small things that every training loop needs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import jax


def due(every: int, step: int) -> bool:
    """Whether something that happens `every` steps (0: never) happens at this one.

    Example:
        >>> [step for step in range(1, 7) if due(2, step)], due(0, 5)
        ([2, 4, 6], False)
    """
    return every > 0 and step % every == 0


def command(*words: str) -> list[str]:
    """Python with these words, on as many processes as now, with paths from here on."""
    words = (sys.executable, *words)
    if (n := jax.process_count()) > 1:
        return sightline("launch", "-n", str(n), "--", *words)
    return _from_here(words)


def sightline(*words: str) -> list[str]:
    """The `sightline` command of this Python, with paths from here on."""
    return _from_here([str(Path(sys.executable).with_name("sightline")), *words])


def _from_here(words: Sequence[str]) -> list[str]:
    here = f"{Path.cwd()}/"
    return [word.removeprefix(here) for word in words]


def resume_command(run_dir: Path, *settings: str) -> str:
    """This command again, to go on with the run in `run_dir`, with further `--set` settings."""
    more = (f"output.name={run_dir.name}", "output.resume=must", *settings)
    words = without_settings(sys.orig_argv[1:], [setting.partition("=")[0] for setting in more])
    return shlex.join([*command(*words), *set_options(more)])


def set_options(settings: Sequence[str]) -> list[str]:
    """`--set` before each."""
    return [word for setting in settings for word in ("--set", setting)]


def without_settings(words: Sequence[str], keys: Collection[str]) -> list[str]:
    """The words of a command without its `--set` of these keys.

    Example:
        >>> without_settings(["-m", "x", "--set", "a.b=1", "--set=a.c=2", "--set", "d=3"], ["a.b", "a.c"])
        ['-m', 'x', '--set', 'd=3']
    """
    kept: list[str] = []
    for word in words:
        in_two = kept[-1:] == ["--set"]
        setting = word if in_two else word.removeprefix("--set=")
        if (in_two or setting != word) and setting.partition("=")[0] in keys:
            if in_two:
                kept.pop()
        else:
            kept.append(word)
    return kept


@jax.jit
def fold_in(key_data: jax.Array, n: int) -> jax.Array:
    """The data of the n-th key that follows from a key's data; both (2,) uint32."""
    return jax.random.key_data(jax.random.fold_in(jax.random.wrap_key_data(key_data), n))
