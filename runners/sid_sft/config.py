"""The runner's config: frozen dataclasses, each key with its meaning. YAML and `--set` lay over these."""

from __future__ import annotations

from dataclasses import dataclass, field

from runners.common import sections
from runners.common.config import ConfigError
from runners.common.optimising import Shape
from runners.common.sections import CheckpointConfig, ModelConfig, at_least
from runners.recommendation.config import DataConfig


@dataclass(frozen=True)
class TasksConfig:
    """How often an epoch goes through each task's examples: 2 is twice, 0.25 a quarter of them, 0 none."""

    next_item: float = 1.0  # history of semantic ids → semantic id
    sid_to_title: float = 2.0
    title_to_sid: float = 2.0
    history_to_title: float = 0.25  # history of semantic ids → title
    titles_to_item: float = 0.25  # history of titles → semantic id

    def __post_init__(self) -> None:
        at_least(self, 0, "next_item", "sid_to_title", "title_to_sid", "history_to_title", "titles_to_item")
        if self.next_item <= 0:
            raise ConfigError(f"next_item: expected more than 0, found {self.next_item}")


@dataclass(frozen=True)
class SftConfig:
    """Next-token training on the answers (AdamW)."""

    steps: int = 1000
    batch_size: int = 64  # examples of an optimiser step, over all processes and micro-batches
    grad_accumulation: int = 1  # micro-batches of an optimiser step
    learning_rate: float = 3e-3
    schedule: Shape = "cosine"
    lr_warmup_steps: int = 50
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, 0, "steps", "learning_rate", "lr_warmup_steps", "weight_decay", "max_grad_norm")
        at_least(self, 1, "batch_size", "grad_accumulation")


@dataclass(frozen=True)
class EvalConfig:
    every: int = 250  # steps; 0: only the full evaluation
    users: int = 256  # of the validation split, its first ones
    beams: int = 20
    batch_size: int = 64  # users at once, on the root
    full: bool = True  # the whole test split at the end

    def __post_init__(self) -> None:
        at_least(self, 0, "every")
        at_least(self, 1, "users", "batch_size")
        at_least(self, 20, "beams")  # the largest cut-off of the metrics


@dataclass(frozen=True)
class OutputConfig(sections.OutputConfig):
    dir: str = "runs/sid_sft"


@dataclass(frozen=True)
class Config:
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tasks: TasksConfig = field(default_factory=TasksConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        at_least(self, 0, "seed")


def check_divisible(config: Config, devices: int) -> None:
    """A micro-batch must split evenly over the devices; if it does not, the error has the numbers."""
    parts = config.sft.grad_accumulation * devices
    if config.sft.batch_size % parts:
        raise ConfigError(
            f"sft.batch_size: {config.sft.batch_size} examples do not split evenly into {parts} "
            f"(sft.grad_accumulation = {config.sft.grad_accumulation} micro-batches on {devices} devices)"
        )
