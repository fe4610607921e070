"""Sections that every runner's config has, and the check that they are written with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runners.common.config import ConfigError


def at_least(section: object, minimum: float, *names: str) -> None:
    """Whether these fields are at least `minimum`; a `ConfigError` names the first that is not."""
    for name in names:
        if getattr(section, name) < minimum:
            raise ConfigError(f"{name}: expected at least {minimum}, found {getattr(section, name)}")


@dataclass(frozen=True)
class ModelConfig:
    width: int = 128
    layers: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        at_least(self, 1, "width", "layers", "heads")
        if self.width % (2 * self.heads):
            raise ConfigError(f"width: must divide by 2 * heads = {2 * self.heads}, found {self.width}")


@dataclass(frozen=True)
class CheckpointConfig:
    every: int = 0  # steps; 0: only at the end
    keep: int = 2
    enabled: bool = True

    def __post_init__(self) -> None:
        at_least(self, 0, "every")
        at_least(self, 1, "keep")


@dataclass(frozen=True)
class OutputConfig:
    dir: str = "runs"
    name: str | None = None  # none: sightline chooses one; resuming needs it
    resume: Literal["never", "allow", "must"] = "never"
    sinks: tuple[str, ...] = ("console",)
    console_format: str | None = None

    def __post_init__(self) -> None:
        if self.resume != "never" and self.name is None:
            raise ConfigError(f"name: resume={self.resume!r} needs the name of the run to go on with")
