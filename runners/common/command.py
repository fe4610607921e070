"""The command line that every runner has: `--config FILE`, `--set KEY=VALUE`, `--print-config`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import sightline as sl
import sightline.jax
from runners.common.config import ConfigError, load, to_yaml
from runners.common.errors import CheckpointError, DataError

T = TypeVar("T")

#: What is wrong with what was given: one line, and no traceback.
_WRONG_INPUT = (
    ConfigError,
    DataError,
    CheckpointError,
    sl.ConfigurationError,
    sl.RunDirectoryError,
    sl.JournalError,
)


def run(
    module: str,
    description: str,
    config_type: type[T],
    train: Callable[[T], object],
    argv: Sequence[str] | None = None,
    files: Mapping[str, str] | None = None,
) -> int:
    """Read the config and train on every process; the exit code.

    Args:
        module: as in `python -m runners.sid_sft`.
        train: imports what needs a JAX back end when it is called, and not before.
        argv: the arguments; none: those of the process.
        files: further options that stand for a config key, as `{"--train-file": "data.train_file"}`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--config", metavar="FILE", help="YAML; what it leaves out has its default")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="e.g. seed=1; may be repeated"
    )
    for option, key in (files or {}).items():
        parser.add_argument(option, metavar="FILE", dest=key, help=f"short for --set {key}=…")
    parser.add_argument("--print-config", action="store_true", help="print the whole config and stop")
    args = parser.parse_args(argv)
    given = {key: getattr(args, key) for key in (files or {}).values()}
    overrides = [*args.set, *(f"{key}={json.dumps(file)}" for key, file in given.items() if file)]
    several = False
    try:
        config = load(config_type, args.config, overrides)
        if args.print_config:
            print(to_yaml(config), end="")
            return 0
        several = sightline.jax.initialize()
        train(config)
    except _WRONG_INPUT as e:
        print(f"error: {e}", file=sys.stderr, flush=True)
        if several:  # at once: JAX would hold this process at a barrier for those that wait for it
            sys.stdout.flush()
            os._exit(2)
        return 2
    return 0
