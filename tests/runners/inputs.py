"""Bad input for the recommendation runners, and what their commands say of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from runners.recommendation.files import Paths

#: The generated data of both smoke configs.
SIZES = {"items": 80, "codes": 8, "train_users": 40, "valid_users": 10, "test_users": 12}


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def one_line(
    capsys: pytest.CaptureFixture[str],
    main: Callable[[Sequence[str]], int],
    config: Path,
    settings: Sequence[str],
) -> str:
    """What a runner's command says before it exits with 2."""
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["--config", str(config), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def file_settings(directory: Path) -> list[str]:
    """The data set of a directory, as settings."""
    paths = Paths.under(directory, "shop")
    names = {"train": "train", "valid": "valid", "test": "test", "index": "index", "items": "item"}
    return [f"data.{key}_file={getattr(paths, name)}" for name, key in names.items()]


def cut_in_half(file: Path) -> None:
    """As when a disk was full, or a copy was interrupted."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


def change_metadata(checkpoint: Path, changes: Mapping[str, object]) -> None:
    """Sets fields of a checkpoint's metadata, which stays valid JSON."""
    file = checkpoint / "meta" / "metadata"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
