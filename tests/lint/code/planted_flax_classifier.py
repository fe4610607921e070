"""An image classifier in Linen: pmap, an epoch loop, TensorBoard."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import jax_utils
from flax.metrics import tensorboard
from flax.training import common_utils, train_state


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def compute_metrics(logits, labels):
    metrics = {"loss": cross_entropy(logits, labels), "accuracy": jnp.mean(jnp.argmax(logits, -1) == labels)}
    return jax.lax.pmean(metrics, axis_name="batch")


@functools.partial(jax.pmap, axis_name="batch", donate_argnums=(0,))
def train_step(state, batch):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, batch["image"])
        return cross_entropy(logits, batch["label"]), logits

    (_, logits), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    grads = jax.lax.pmean(grads, axis_name="batch")
    return state.apply_gradients(grads=grads), compute_metrics(logits, batch["label"])


@functools.partial(jax.pmap, axis_name="batch")
def eval_step(state, batch):
    logits = state.apply_fn({"params": state.params}, batch["image"])
    return compute_metrics(logits, batch["label"])


def train_and_evaluate(config, workdir, state: train_state.TrainState, train_iter, eval_iter):
    writer = tensorboard.SummaryWriter(workdir)
    writer.hparams(dict(config))
    state = jax_utils.replicate(state)
    train_metrics_last_t = time.time()
    train_metrics = []
    for step, batch in zip(range(config.num_train_steps), train_iter):
        state, metrics = train_step(state, batch)
        train_metrics.append(metrics)
        if (step + 1) % config.log_every_steps == 0:
            train_metrics = common_utils.get_metrics(train_metrics)  # expect: SL103
            summary = {
                f"train_{k}": v for k, v in jax.tree_util.tree_map(lambda x: x.mean(), train_metrics).items()
            }
            summary["steps_per_second"] = config.log_every_steps / (time.time() - train_metrics_last_t)  # expect: SL104
            for key, value in summary.items():
                writer.scalar(key, value, step + 1)  # expect: SL101
            train_metrics = []
            train_metrics_last_t = time.time()

        if (step + 1) % config.steps_per_epoch == 0:
            eval_metrics = []
            for _ in range(config.steps_per_eval):
                metrics = eval_step(state, next(eval_iter))
                eval_metrics.append(jax.device_get(metrics))  # expect: SL103
            summary = jax.tree_util.tree_map(np.mean, common_utils.stack_forest(eval_metrics))
            logging.info("eval loss: %.4f, accuracy: %.2f", summary["loss"], summary["accuracy"] * 100)
            for key, value in summary.items():
                writer.scalar(f"eval_{key}", value, step + 1)  # expect: SL101
            writer.flush()
    return state
