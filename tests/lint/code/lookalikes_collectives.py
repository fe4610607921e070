"""Collectives that computation needs: padding, agreement, gradients, normalisation, whole results."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.distributed as dist
from jax.experimental import multihost_utils
from jax.experimental.multihost_utils import process_allgather

from .model import train_step


def pad_to_longest(tokens, pad_id):
    longest = int(np.asarray(process_allgather(np.asarray([tokens.shape[1]], np.int32))).max())  # lookalike: SL102
    return np.pad(tokens, ((0, 0), (0, longest - tokens.shape[1])), constant_values=pad_id)


def bucket(batch, buckets):
    lengths = multihost_utils.process_allgather(batch["lengths"])  # lookalike: SL102
    width = next(b for b in buckets if b >= lengths.max())
    out = np.zeros((len(batch["tokens"]), width), np.int32)
    out[:, : batch["tokens"].shape[1]] = batch["tokens"]
    return out


def max_length_over_hosts(lengths):
    return int(process_allgather(np.max(lengths)).max())  # lookalike: SL102


def steps_this_epoch(dataset, batch_size):
    smallest = int(process_allgather(np.int32(len(dataset) // batch_size)).min())  # lookalike: SL102
    for step in range(smallest):
        yield dataset.batch(step)


def everyone_done(done):
    return bool(process_allgather(np.asarray(done)).all())  # lookalike: SL102


def check_same_config(digest):
    digests = process_allgather(np.frombuffer(digest, np.uint8))  # lookalike: SL102
    if not (digests == digests[0]).all():
        raise RuntimeError("the hosts run different configs")


def newest_common_checkpoint(steps):
    padded = np.array(sorted(steps)[-64:] + [-1] * max(0, 64 - len(steps)), np.int32)
    everyone = np.asarray(process_allgather(padded))  # lookalike: SL102
    common = set.intersection(*({int(s) for s in row if s >= 0} for row in everyone))
    return max(common) if common else None


def global_advantages(rewards, group):
    everyone = np.asarray(process_allgather(rewards)).reshape(-1)  # lookalike: SL102
    mean, std = everyone.mean(), everyone.std()
    return np.clip((rewards - mean) / (std + 1e-6), -5.0, 5.0)


def train_on_valid_tokens(state, batch):
    tokens = process_allgather(batch["mask"].sum()).sum()  # lookalike: SL102
    state, metrics = train_step(state, batch, tokens)
    return state, metrics


def write_predictions(path, predictions):
    everyone = multihost_utils.process_allgather(predictions, tiled=True)  # lookalike: SL102
    if jax.process_index() == 0:
        np.save(path, everyone)


@partial(jax.pmap, axis_name="batch")
def update(params, opt_state, batch):
    loss, grads = jax.value_and_grad(lambda p: jnp.mean(p["w"] * batch))(params)
    grads = jax.lax.pmean(grads, axis_name="batch")  # lookalike: SL102
    loss = jax.lax.pmean(loss, axis_name="batch")  # lookalike: SL102
    count = jax.lax.psum(1, "batch")  # lookalike: SL102
    return jax.tree.map(lambda p, g: p - 0.1 * g / count, params, grads), opt_state, {"loss": loss}


def contrastive_loss(a, b):
    others = jax.lax.all_gather(b, "batch", tiled=True)  # lookalike: SL102
    logits = a @ others.T
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(a)), jnp.arange(len(a))])


sync_batch_stats = jax.pmap(lambda x: jax.lax.pmean(x, "x"), "x")


def before_evaluation(state):
    return state.replace(batch_stats=sync_batch_stats(state.batch_stats))  # lookalike: SL102


def average_gradients(model, world_size):
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad.data)  # lookalike: SL102
        parameter.grad /= world_size


def stop_together(flag, loss):
    signal = torch.tensor(flag, device="cuda")
    dist.all_reduce(signal, op=dist.ReduceOp.MAX)  # lookalike: SL102
    if signal.item() > 0:
        return None
    return loss


def merge_vocabularies(words):
    gathered = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, words)  # lookalike: SL102
    return sorted(set().union(*gathered))


def wait_for_all():
    multihost_utils.sync_global_devices("checkpoint")  # lookalike: SL102
    seed = multihost_utils.broadcast_one_to_all(np.int32(7))  # lookalike: SL102
    return jax.random.key(int(seed))


def reduce_vector(values):
    return functools_reduce(lambda a, b: a + b, values)  # lookalike: SL102


def functools_reduce(function, values):
    first, *rest = values
    for value in rest:
        first = function(first, value)
    return first
