"""`python -m runners.grpo_gsm8k --config FILE [--set a.b=c ...] [--print-config]`, on every process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from runners.common.command import run
from runners.grpo_gsm8k.config import Config


def main(argv: Sequence[str] | None = None) -> int:
    def train(config: Config) -> None:
        from runners.grpo_gsm8k.train import train

        train(config)

    files = {"--train-file": "data.train_file", "--test-file": "data.test_file"}  # GSM8K's JSONL
    return run("runners.grpo_gsm8k", "GRPO on word problems.", Config, train, argv, files)


if __name__ == "__main__":
    sys.exit(main())
