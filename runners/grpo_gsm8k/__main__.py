"""`python -m runners.grpo_gsm8k --config FILE [--set a.b=c ...] [--print-config]`, on every process."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import sightline.jax
from runners.common.config import ConfigError, load, to_yaml
from runners.common.errors import CheckpointError, DataError
from runners.grpo_gsm8k.config import Config


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m runners.grpo_gsm8k", description="GRPO on word problems."
    )
    parser.add_argument("--config", metavar="FILE", help="YAML; what it leaves out has its default")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="e.g. grpo.steps=50; may be repeated"
    )
    parser.add_argument(
        "--train-file", metavar="JSONL", help="GSM8K format; short for --set data.train_file=…"
    )
    parser.add_argument("--test-file", metavar="JSONL", help="GSM8K format; short for --set data.test_file=…")
    parser.add_argument("--print-config", action="store_true", help="print the whole config and stop")
    args = parser.parse_args(argv)
    overrides = list(args.set)
    files = {"data.train_file": args.train_file, "data.test_file": args.test_file}
    overrides += [f"{key}={json.dumps(file)}" for key, file in files.items() if file]
    try:
        config = load(Config, args.config, overrides)
        if args.print_config:
            print(to_yaml(config), end="")
            return 0
        sightline.jax.initialize()
        # Imported here: --print-config and config errors need no JAX backend.
        from runners.grpo_gsm8k.train import train

        train(config)
    except (ConfigError, DataError, CheckpointError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
