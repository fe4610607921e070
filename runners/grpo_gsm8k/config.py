"""The runner's config: frozen dataclasses, each key with its meaning. YAML and `--set` lay over these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runners.common import sections
from runners.common.config import ConfigError
from runners.common.sections import CheckpointConfig, ModelConfig, at_least


@dataclass(frozen=True)
class DataConfig:
    train_file: str | None = None  # GSM8K JSONL; none: generated problems
    test_file: str | None = None
    train_problems: int = 12_000  # how many to generate; of a file, how many to use (0: all)
    test_problems: int = 512
    max_words: int = 2048  # words of the training text that are one token each
    prompt_tokens: int = 38  # longer questions lose their beginning
    completion_tokens: int = 32  # sampling stops here; longer worked answers are cut

    def __post_init__(self) -> None:
        at_least(self, 0, "train_problems", "test_problems")
        for split in ("train", "test"):
            if getattr(self, f"{split}_file") is None:
                at_least(self, 1, f"{split}_problems")
        at_least(self, 2, "prompt_tokens")  # the beginning, and one of the question
        at_least(self, 1, "completion_tokens")


@dataclass(frozen=True)
class WarmupConfig:
    """Supervised training on worked answers before GRPO (Muon for the matrices, Adam for the rest)."""

    steps: int = 300
    batch_size: int = 64  # over all processes
    learning_rate: float = 0.02
    adam_learning_rate: float = 3e-3
    log_every: int = 25

    def __post_init__(self) -> None:
        at_least(self, 0, "steps", "learning_rate", "adam_learning_rate")
        at_least(self, 1, "batch_size", "log_every")


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the reward functions in the total."""

    correct: float = 1.0
    format: float = 0.1
    tag_count: float = 0.1


@dataclass(frozen=True)
class GrpoConfig:
    steps: int = 100
    prompts_per_step: int = 32  # over all processes
    group_size: int = 8  # completions per prompt
    temperature: float = 1.0
    learning_rate: float = 1e-4
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    lr_warmup_steps: int = 0
    max_grad_norm: float = 1.0
    ppo_epochs: int = 1  # optimiser steps per rollout
    grad_accumulation: int = 1  # micro-batches per optimiser step
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_beta: float = 0.0  # 0: no KL term, and no reference model is kept
    reward: RewardConfig = field(default_factory=RewardConfig)

    def __post_init__(self) -> None:
        at_least(self, 0, "steps", "learning_rate", "lr_warmup_steps", "max_grad_norm", "kl_beta")
        at_least(self, 0, "clip_low", "clip_high")
        at_least(self, 1, "prompts_per_step", "ppo_epochs", "grad_accumulation")
        at_least(self, 2, "group_size")
        if self.temperature <= 0:
            raise ConfigError(f"temperature: expected more than 0, found {self.temperature}")


@dataclass(frozen=True)
class EvalConfig:
    every: int = 20  # GRPO steps; 0: only the full evaluations
    problems: int = 128  # of the test set, its first ones
    batch_size: int = 256  # over all processes
    full: bool = True  # the whole test set before and after GRPO

    def __post_init__(self) -> None:
        at_least(self, 0, "every")
        at_least(self, 1, "problems", "batch_size")


@dataclass(frozen=True)
class OutputConfig(sections.OutputConfig):
    dir: str = "runs/grpo_gsm8k"


@dataclass(frozen=True)
class Config:
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        at_least(self, 0, "seed")


def check_divisible(config: Config, devices: int, processes: int) -> None:
    """Every global batch must split evenly over the devices; what does not is named with its numbers."""
    local = config.grpo.prompts_per_step * config.grpo.group_size // processes
    for name, rows, by in (
        ("warmup.batch_size", config.warmup.batch_size, devices),
        ("grpo.prompts_per_step", config.grpo.prompts_per_step, devices),
        ("eval.batch_size", config.eval.batch_size, devices),
        (
            "grpo.grad_accumulation: completions per process",
            local,
            config.grpo.grad_accumulation * (devices // processes),
        ),
    ):
        if rows % by:
            raise ConfigError(f"{name}: {rows} rows do not split evenly into {by}")
