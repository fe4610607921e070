"""Distillation on a mesh: metrics named tuples, a reporter thread, psum-only helpers."""

import queue
import threading
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import trackio
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from distill.losses import kd_loss


class StepOutput(NamedTuple):
    state: object
    loss: jax.Array
    kl: jax.Array
    tokens: jax.Array


def build(mesh: Mesh, tx):
    data = NamedSharding(mesh, P("data"))

    def one(state, teacher, batch):
        (loss, kl), grads = jax.value_and_grad(kd_loss, has_aux=True)(state.params, teacher, batch)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        return StepOutput(state.apply(updates, opt_state), loss, kl, batch["mask"].sum())

    return jax.jit(one, in_shardings=(None, None, data), donate_argnums=0)


class Reporter(threading.Thread):
    """Hands rows to trackio from a thread of its own."""

    def __init__(self):
        super().__init__(daemon=True)
        self.rows: queue.Queue = queue.Queue()
        self.run_handle = trackio.init(project="distill")

    def run(self):
        while (row := self.rows.get()) is not None:
            self.run_handle.log(row)  # expect: SL101


def host_sum(x):
    return multihost_utils.process_allgather(jnp.asarray(x)).sum()  # expect: SL102


def distill(mesh, tx, state, teacher, loader, config):
    advance = build(mesh, tx)
    reporter = Reporter()
    reporter.start()
    clock = time.perf_counter
    mark = clock()
    for n, batch in enumerate(loader):
        out = advance(state, teacher, batch)
        state = out.state
        if n % config.report_every:
            continue
        out.loss.block_until_ready()  # expect: SL103
        now = clock()
        seconds, mark = now - mark, now  # expect: SL104
        tokens = host_sum(out.tokens)
        reporter.rows.put(
            {
                "loss": float(out.loss),  # expect: SL103
                "kl": out.kl.item(),  # expect: SL103
                "tokens_per_second": tokens / seconds,
                "learning_rate": float(config.schedule(n)),
            }
        )
    reporter.rows.put(None)
    norms = jax.tree.map(lambda x: float(jnp.linalg.norm(x)), state.params)
    np.savez("norms.npz", **norms)
    return state
