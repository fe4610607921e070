"""`python -m runners.sid_sft --config FILE [--set a.b=c ...] [--print-config]`, on every process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from runners.common.command import run
from runners.sid_sft.config import Config


def main(argv: Sequence[str] | None = None) -> int:
    def train(config: Config) -> None:
        from runners.sid_sft.train import train

        train(config)

    return run("runners.sid_sft", "Supervised fine-tuning on semantic ids.", Config, train, argv)


if __name__ == "__main__":
    sys.exit(main())
