"""Evaluation over all hosts: sums that are gathered to be divided."""

from time import perf_counter as now

import jax
import jax.experimental.multihost_utils as mhu
import jax.numpy as jnp
import numpy as np
from wandb import init, log

from .steps import eval_step


def global_mean(x):
    return float(np.mean(mhu.process_allgather(x)))  # expect: SL102


def gather(x):
    return np.asarray(mhu.process_allgather(x))


def evaluate(params, batches, name):
    results = {}
    t = now()
    loss_sum, token_sum, hits = 0.0, 0, 0
    for batch in batches:
        out = eval_step(params, batch)
        loss_sum += out["loss_sum"].item()  # expect: SL103
        token_sum += int(batch["mask"].sum())
        hits += out["hits"]
    sums = gather(np.array([loss_sum, token_sum]))  # expect: SL102
    total_loss, total_tokens = sums.sum(axis=0)
    results[f"{name}/loss"] = total_loss / total_tokens
    results[f"{name}/perplexity"] = np.exp(total_loss / total_tokens)
    results[f"{name}/accuracy"] = global_mean(hits / token_sum)
    results[f"{name}/took"] = now() - t  # expect: SL104
    return results


def validate(params, suites, step):
    if jax.process_index() == 0:
        init(project="evals")
    for name, batches in suites.items():
        metrics = evaluate(params, batches, name)
        if jax.process_index() == 0:
            log(metrics, step=step)  # expect: SL101


def reward_margins(chosen, rejected):
    margins = chosen - rejected
    everyone = jax.tree.map(mhu.process_allgather, {"margin": margins, "accuracy": margins > 0})  # expect: SL102
    metrics = {f"rewards/{key}": value.mean() for key, value in everyone.items()}
    return metrics


sync = jax.pmap(lambda x: jax.lax.pmean(x, "hosts"), axis_name="hosts")


def replicated_metrics(metrics, step, writer):
    metrics = sync(metrics)  # expect: SL102
    writer.add_scalar("loss", metrics["loss"][0], step)  # expect: SL101
    return jnp.exp(metrics["loss"])
