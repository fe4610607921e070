"""Calls that sound like trackers and are none."""

import logging
import math
from math import log

import jax.numpy as jnp
import numpy as np
import torch
import wandb
from lightning import LightningModule

logger = logging.getLogger("wandb")


def entropy(p):
    return -(p * jnp.log(p)).sum()  # lookalike: SL101


def perplexity(losses):
    return math.exp(np.log(losses).mean()) + log(2.0)  # lookalike: SL101


class Classifier(LightningModule):
    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train/loss", loss, prog_bar=True)  # lookalike: SL101
        self.log_dict({"train/accuracy": self.accuracy(batch)})  # lookalike: SL101
        return loss


class FakeWandb:
    """For tests: keeps what it is told."""

    def __init__(self):
        self.rows = []

    def log(self, row, step=None):
        self.rows.append((step, row))


def test_logging():
    run = FakeWandb()
    run.log({"train/loss": 1.0}, step=3)  # lookalike: SL101
    assert run.rows == [(3, {"train/loss": 1.0})]


def offline(metrics):
    wandb = FakeWandb()
    wandb.log(metrics, step=0)  # lookalike: SL101
    return wandb.rows


class AuditTrail:
    def log(self, entry):
        self.entries = [*getattr(self, "entries", ()), entry]


def review(trail: AuditTrail, change):
    trail.log({"change": change, "by": change.author})  # lookalike: SL101


def kl(p, q):
    writer = torch.log(p)
    return (p * (writer - torch.log(q))).sum().log()  # lookalike: SL101


def start(config):
    run = wandb.init(project="p", config=config)  # lookalike: SL101
    wandb.define_metric("*", step_metric="train/step")  # lookalike: SL101
    run.config.update({"params": 124e6})  # lookalike: SL101
    run.summary["best"] = 0.0
    run.watch(None)
    artifact = wandb.Artifact("model", type="model")
    run.log_artifact(artifact)  # lookalike: SL101
    return run


def finish(run: wandb.Run) -> None:
    run.finish()  # lookalike: SL101
    logger.log(logging.INFO, "run %s is over", run.name)  # lookalike: SL101
    logger.info("loss %.3f", 0.5)


def scalar_multiply(vectors, add_scalar):
    return [add_scalar(vector, 2.0) for vector in vectors]  # lookalike: SL101


class Ledger:
    """Keeps accounts; its writer writes CSV."""

    def __init__(self, writer):
        self.writer = writer

    def add(self, amount):
        self.writer.writerow({"amount": amount})
        self.writer.add_row(amount)  # lookalike: SL101


def export(mlflow_runs, client):
    for each in mlflow_runs:
        client.log(each)  # lookalike: SL101
        print(each.data.metrics)


def shadowed(wandb: bool, log=print):
    if wandb:
        log({"train/loss": 0.1})  # lookalike: SL101
