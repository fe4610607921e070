"""A trainer class in NNX that keeps its run, its clock and its step functions on self."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax
import optax
import wandb
from flax import nnx


@dataclasses.dataclass
class TrainerConfig:
    steps: int = 1000
    log_every: int = 10
    eval_every: int = 200
    lr: float = 3e-4


def loss_fn(model, batch):
    logits = model(batch["inputs"])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
    return loss.mean(), logits


@nnx.jit
def train_step(model, optimizer, batch):
    (loss, _), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, batch)
    optimizer.update(grads)
    return loss


class Trainer:
    def __init__(self, model: nnx.Module, config: TrainerConfig):
        self.model = model
        self.config = config
        self.optimizer = nnx.Optimizer(model, optax.adamw(config.lr))
        self.eval_fn = nnx.jit(loss_fn)
        self.run = wandb.init(project="nnx-lm", config=dataclasses.asdict(config))
        self.started_at = None
        self.history: dict[str, list[float]] = {"train_loss": [], "val_loss": []}

    def fit(self, train_loader, val_loader):
        self.started_at = time.perf_counter()
        for step, batch in enumerate(train_loader):
            loss = train_step(self.model, self.optimizer, batch)
            if step % self.config.log_every == 0:
                self.history["train_loss"].append(loss.item())  # expect: SL103
                self.report(step, loss)
            if step % self.config.eval_every == 0:
                val = self.evaluate(val_loader)
                self.history["val_loss"].append(val)
                self.run.log({"val/loss": val}, step=step)  # expect: SL101
            if step >= self.config.steps:
                break
        self.run.finish()

    def report(self, step: int, loss: Any) -> None:
        elapsed = time.perf_counter() - self.started_at  # expect: SL104
        self.run.log(  # expect: SL101
            {
                "train/loss": float(loss),  # expect: SL103
                "train/elapsed": elapsed,
                "train/lr": self.config.lr,
            },
            step=step,
        )

    def evaluate(self, loader) -> float:
        total, count = 0.0, 0
        for batch in loader:
            loss, _ = self.eval_fn(self.model, batch)
            total += float(loss)  # expect: SL103
            count += 1
        return total / max(count, 1)


def main(config: TrainerConfig, model, loaders):
    trainer = Trainer(model, config)
    trainer.fit(*loaders)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "bfloat16")
