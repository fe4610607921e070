"""Checkpoints: numbers that decide which are kept, or belong to what is kept."""

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import torch
from flax.training import checkpoints

from .model import eval_step, train_step


def train(state, loader, path):
    options = ocp.CheckpointManagerOptions(
        max_to_keep=3, best_fn=lambda metrics: metrics["loss"], best_mode="min"
    )
    with ocp.CheckpointManager(path, options=options) as manager:
        for step, batch in enumerate(loader):
            state, loss = train_step(state, batch)
            manager.save(
                step,
                args=ocp.args.StandardSave(state),
                metrics={"loss": float(loss)},  # lookalike: SL103
            )
        manager.wait_until_finished()
        return manager.restore(manager.best_step()), manager.metrics(manager.best_step())


class Keeper:
    """A checkpoint manager that is handed in."""

    def __init__(self, manager, every):
        self._manager, self.every = manager, every

    def run(self, state, loader):
        for batch in loader:
            state, aux = train_step(state, batch)
            step = int(state.step)  # lookalike: SL103
            if self._manager.should_save(step):
                metrics = {
                    "eval/loss": aux["loss"].item(),
                    "eval/accuracy": aux["accuracy"].item(),
                }  # lookalike: SL103
                self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics)
        self._manager.wait_until_finished()
        return state

    def run_with_progress(self, state, loader):
        for batch in loader:
            state, aux = train_step(state, batch)
            args = ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                progress=ocp.args.JsonSave(
                    {"step": int(state.step), "loss": float(aux["loss"])}
                ),  # lookalike: SL103
            )
            self._manager.save(state.step.item(), args=args)  # lookalike: SL103
        return state


def keep_best(state, batches, mngr):
    for step, batch in enumerate(batches):
        state, loss = train_step(state, batch)
        if step % 500 == 0:
            jax.block_until_ready(state)  # lookalike: SL103
            mngr.wait_until_finished()
        scores = {name: float(value) for name, value in eval_step(state, batch).items()}  # lookalike: SL103
        mngr.save(step, state, metrics=scores)
    return state


def with_flax(state, loader, folder):
    for step, batch in enumerate(loader):
        state, loss = train_step(state, batch)
        checkpoints.save_checkpoint(folder, {"state": state, "loss": float(loss)}, step)  # lookalike: SL103
    return state


def with_torch(model, optimizer, loader, path):
    for epoch, batch in enumerate(loader):
        loss = model(batch)
        loss.backward()
        optimizer.step()
        torch.save(
            {"model": model.state_dict(), "epoch": epoch, "loss": loss.item()}, path
        )  # lookalike: SL103


def plateau(state, loader):
    lowered = optax.contrib.reduce_on_plateau(patience=3)
    for batch in loader:
        state, metrics = train_step(state, batch)
        scores = np.asarray(metrics["per_example"])  # lookalike: SL103
        np.save("scores.npy", scores)
    return state, lowered
