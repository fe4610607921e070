"""`python -m runners.minionerec_rl --config FILE [--set a.b=c ...] [--print-config]`, on every process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from runners.common.command import run
from runners.minionerec_rl.config import Config


def main(argv: Sequence[str] | None = None) -> int:
    def train(config: Config) -> None:
        from runners.minionerec_rl.train import train

        train(config)

    return run("runners.minionerec_rl", "GRPO for generative recommendation.", Config, train, argv)


if __name__ == "__main__":
    sys.exit(main())
