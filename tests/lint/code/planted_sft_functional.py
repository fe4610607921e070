"""Supervised fine-tuning without a trainer: callbacks as lambdas, a helper that starts W&B, Equinox."""

import time
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .wandb_utils import maybe_init_wandb


def loss_fn(model, batch):
    logits = jax.vmap(model)(batch["input_ids"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()


def make_step(optim):
    @eqx.filter_jit
    def step(model, opt_state, batch):
        loss, grads = eqx.filter_value_and_grad(loss_fn)(model, batch)
        updates, opt_state = optim.update(grads, opt_state, model)
        return eqx.apply_updates(model, updates), opt_state, loss, optax.global_norm(grads)

    return step


def to_float(x):
    return float(np.asarray(x))


def run_training(model, loader, *, cfg, log_cb=None):
    optim = optax.adamw(cfg.lr)
    opt_state = optim.init(eqx.filter(model, eqx.is_array))
    advance = make_step(optim)
    losses = []
    for step, batch in enumerate(loader):
        model, opt_state, loss, norm = advance(model, opt_state, batch)
        losses.append(to_float(loss))  # expect: SL103
        if step % cfg.log_every == 0 and log_cb is not None:
            log_cb(step, sum(losses) / len(losses), norm.item())  # expect: SL103
            losses.clear()
    return model


def evaluate(model, loader, infer):
    jitted = jax.jit(infer)
    hits, seen = 0.0, 0
    while (batch := next(loader, None)) is not None:
        out = jitted(model, batch)
        hits += np.asarray(out["hits"]).sum()  # expect: SL103
        seen += batch["input_ids"].shape[0]
    return hits / seen


def main(cfg, model, train_loader, eval_loader, infer):
    wandb = maybe_init_wandb(cfg=cfg, project=cfg.project, name=cfg.name, mode=cfg.mode)
    began = time.time()
    model = run_training(
        model,
        train_loader,
        cfg=cfg,
        log_cb=(
            (lambda step, loss, norm: wandb.log({"train/loss": loss, "train/grad_norm": norm}, step=step))  # expect: SL101
            if wandb is not None
            else None
        ),
    )
    log = {"eval/hr@10": evaluate(model, eval_loader, infer)}
    log["train/total_seconds"] = round(time.time() - began, 1)  # expect: SL104
    if wandb is not None:
        wandb.log(log)  # expect: SL101
        wandb.finish()


def sweep(cfg, models, loader, train=partial(run_training, log_cb=None)):
    return [train(model, loader, cfg=cfg) for model in models]
