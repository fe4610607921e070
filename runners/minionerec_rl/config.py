"""The runner's config: frozen dataclasses, each key with its meaning. YAML and `--set` lay over these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runners.common import sections
from runners.common.config import ConfigError
from runners.common.optimising import Shape
from runners.common.sections import CheckpointConfig, at_least
from runners.recommendation.config import DataConfig


@dataclass(frozen=True)
class StartConfig:
    """The policy to begin with, which is also the reference of the KL term. Its model is this run's."""

    run: str | None = None  # directory of a `sid_sft` run, or of one of these; not needed to resume
    step: int | None = None  # which of its checkpoints; none: the newest


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the rewards in the total."""

    rule: float = 1.0
    ndcg: float = 1.0


@dataclass(frozen=True)
class GrpoConfig:
    seed: int = 0  # of the order of the prompts, and of sampling
    steps: int = 100
    prompts_per_step: int = 64  # over all processes
    group_size: int = 16  # candidates per prompt, K
    candidates: Literal["beam", "sample"] = "beam"  # the K likeliest items, or K draws
    temperature: float = 1.0  # of the draws
    learning_rate: float = 1e-4
    schedule: Shape = "constant"
    lr_warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    ppo_epochs: int = 1  # optimiser steps per rollout
    grad_accumulation: int = 1  # micro-batches per optimiser step
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_beta: float = 0.05  # 0: no KL term, and no reference model is kept
    reward: RewardConfig = field(default_factory=RewardConfig)

    def __post_init__(self) -> None:
        at_least(
            self, 0, "steps", "learning_rate", "lr_warmup_steps", "weight_decay", "max_grad_norm", "kl_beta"
        )
        at_least(self, 0, "seed", "clip_low", "clip_high")
        at_least(self, 1, "prompts_per_step", "ppo_epochs", "grad_accumulation")
        at_least(self, 2, "group_size")
        if self.temperature <= 0:
            raise ConfigError(f"temperature: expected more than 0, found {self.temperature}")


@dataclass(frozen=True)
class EvalConfig:
    every: int = 20  # GRPO steps; 0: only the full evaluations
    users: int = 256  # of the validation split, its first ones
    beams: int = 20
    batch_size: int = 64  # users at once, on the root
    full: bool = True  # the whole test split before and after GRPO

    def __post_init__(self) -> None:
        at_least(self, 0, "every")
        at_least(self, 1, "users", "batch_size")
        at_least(self, 20, "beams")  # the largest cut-off of the metrics


@dataclass(frozen=True)
class OutputConfig(sections.OutputConfig):
    dir: str = "runs/minionerec_rl"


@dataclass(frozen=True)
class Config:
    seed: int = 0  # of generated data: the one that the policy to begin with was trained with
    data: DataConfig = field(default_factory=DataConfig)
    start: StartConfig = field(default_factory=StartConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        at_least(self, 0, "seed")


def check_divisible(config: Config, devices: int) -> None:
    """A micro-batch must split evenly over the devices; if it does not, the error has the numbers."""
    parts = config.grpo.grad_accumulation * devices
    if config.grpo.prompts_per_step % parts:
        raise ConfigError(
            f"grpo.prompts_per_step: {config.grpo.prompts_per_step} prompts do not split evenly into {parts} "
            f"(grpo.grad_accumulation = {config.grpo.grad_accumulation} micro-batches on {devices} devices)"
        )


def check_items(config: Config, items: int) -> None:
    """A beam search cannot find more items than there are."""
    wanted = {"eval.beams": config.eval.beams}
    if config.grpo.candidates == "beam":
        wanted["grpo.group_size"] = config.grpo.group_size
    for name, count in wanted.items():
        if count > items:
            raise ConfigError(f"{name}: {count} is more than the {items} items")
