"""`python -m runners.recommendation DIRECTORY`: write a generated data set in MiniOneRec's file shapes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence

from runners.common.config import ConfigError
from runners.common.errors import DataError
from runners.recommendation import files
from runners.recommendation.config import DataConfig, load_dataset


def main(argv: Sequence[str] | None = None) -> int:
    default = DataConfig()
    parser = argparse.ArgumentParser(
        prog="python -m runners.recommendation",
        description="Write generated items and users as MiniOneRec's files.",
    )
    parser.add_argument("directory", metavar="DIRECTORY", help="where to; files that exist are left alone")
    parser.add_argument("--name", default="shop", help="of the files (default: shop)")
    parser.add_argument("--seed", type=int, default=0)
    sizes = ("items", "codes", "train_users", "valid_users", "test_users")
    for size in sizes:
        option = f"--{size.replace('_', '-')}"
        parser.add_argument(option, type=int, default=getattr(default, size), metavar="N")
    args = parser.parse_args(argv)
    try:
        config = DataConfig(**{size: getattr(args, size) for size in sizes})
        paths = files.write(args.directory, args.name, load_dataset(config, args.seed))
    except (ConfigError, DataError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except OSError as e:
        print(f"error: {e.filename or args.directory}: cannot be written: {e.strerror}", file=sys.stderr)
        return 2
    written = dataclasses.asdict(paths)
    print("Written:")
    print("\n".join(f"  {path}" for path in written.values()))
    print("\nNext:\n  python -m runners.sid_sft --config runners/sid_sft/configs/demo.yaml \\")
    keys = {"items": "item"}
    print(" \\\n".join(f"    --set data.{keys.get(key, key)}_file={path}" for key, path in written.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
