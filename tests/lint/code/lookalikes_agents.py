"""Agents, servers and tools around training: much that has a clock, a log or a float, and no metric by hand."""

import asyncio
import contextlib
import csv
import dataclasses
import signal
import threading
import time
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils

from .model import policy_step, train_step


class TokenBucket:
    def __init__(self, rate, burst):
        self.rate, self.burst, self.level = rate, burst, burst
        self.updated = time.monotonic()

    def take(self, n):
        now = time.monotonic()
        self.level = min(self.burst, self.level + (now - self.updated) * self.rate)  # lookalike: SL104
        self.updated = now
        if self.level < n:
            return (n - self.level) / self.rate
        self.level -= n
        return 0.0


class Lease:
    """A lock that is lost when it is not renewed."""

    def __init__(self, seconds):
        self.seconds, self.taken_at = seconds, time.time()

    @property
    def left(self):
        return self.seconds - (time.time() - self.taken_at)  # lookalike: SL104

    def describe(self):
        return {"holder": threading.get_ident(), "expires": self.taken_at + self.seconds}  # lookalike: SL104


class LruWithAges:
    def __init__(self):
        self.entries = OrderedDict()

    def add(self, key, value):
        self.entries[key] = (value, time.monotonic())  # lookalike: SL104

    def drop_older_than(self, seconds):
        now = time.monotonic()
        for key, (_, added) in list(self.entries.items()):
            if now - added > seconds:  # lookalike: SL104
                del self.entries[key]


async def poll(fetch, timeout):
    started = asyncio.get_running_loop().time()
    while (left := timeout - (asyncio.get_running_loop().time() - started)) > 0:  # lookalike: SL104
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(fetch(), timeout=left)
    return None


def play(params, env, episodes):
    """Acting: the action is needed on the host."""
    scores = []
    for _ in range(episodes):
        observation, score, done = env.reset(), 0.0, False
        while not done:
            action = int(policy_step(params, observation))  # lookalike: SL103
            observation, reward, done = env.step(action)
            score += float(reward)  # lookalike: SL103
        scores.append(score)
    return scores


def adapt(state, loader, kl_controller, early_stopping):
    for batch in loader:
        state, info = train_step(state, batch)
        kl_controller.update(float(info["kl"]), len(batch))  # lookalike: SL103
        if early_stopping.should_stop(info["loss"].item()):  # lookalike: SL103
            return state
    return state


def search(loss, points):
    best, where = float("inf"), None  # lookalike: SL103
    compiled = jax.jit(loss)
    for point in points:
        value = float(compiled(point))  # lookalike: SL103
        if value < best:
            best, where = value, point
    return where


def warm_up(state, example):
    state, loss = train_step(state, example)
    loss.block_until_ready()  # lookalike: SL103
    return state


def with_nan_guard(state, loader):
    for step, batch in enumerate(loader):
        new_state, loss = train_step(state, batch)
        if step % 50 == 0 and not jnp.isfinite(loss).item():  # lookalike: SL103
            return state
        state = new_state
    return state


def device_accumulated(state, loader, report):
    total = jnp.zeros(())
    for batch in loader:
        state, loss = train_step(state, batch)
        total = total + loss
    report({"loss": float(total)})  # lookalike: SL103
    return state


def schedule_table(cfg):
    schedule = optax.warmup_cosine_decay_schedule(0.0, float(cfg.peak), int(cfg.warmup), int(cfg.steps))
    return [{"step": n, "lr": float(schedule(n))} for n in range(0, cfg.steps, 100)]  # lookalike: SL103


def exchange(rows, pad):
    """Uneven rows to all hosts: lengths first, then the padded rows, all of them needed."""
    lengths = np.asarray(multihost_utils.process_allgather(np.int32(len(rows))))  # lookalike: SL102
    longest = lengths.max()
    padded = np.full((longest, rows.shape[1]), pad)
    padded[: len(rows)] = rows
    everyone = multihost_utils.process_allgather(padded)  # lookalike: SL102
    return np.concatenate([part[:n] for part, n in zip(everyone, lengths)])


def stop_on_signal(loader):
    """A preempted host takes the others along."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    for batch in loader:
        if multihost_utils.process_allgather(np.bool_(stopping.is_set())).any():  # lookalike: SL102
            return
        yield batch


def normalised_by_everyone(advantages):
    count, total = multihost_utils.process_allgather(np.array([advantages.size, advantages.sum()])).sum(0)  # lookalike: SL102
    return advantages - total / count


@dataclasses.dataclass
class Journal:
    """Writes what happened, to a file of its own."""

    path: str

    def log(self, kind, **fields):
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerow([kind, *fields.values()])


def supervise(workers, journal: Journal):
    for worker in workers:
        if not worker.alive:
            journal.log("restart", worker=worker.name)  # lookalike: SL101
            worker.restart()


class Plugin:
    """Somebody else's log method, by duck typing."""

    def __init__(self, host):
        self.host = host

    def emit(self, level, message):
        self.host.log(level, message)  # lookalike: SL101
        self.host.writer.add(message)  # lookalike: SL101


class Board:
    """A board game; it has a writer of notation."""

    def __init__(self, writer):
        self.writer = writer

    def move(self, piece, square):
        self.writer.add_move(piece, square)  # lookalike: SL101
        self.log = [*getattr(self, "log", []), (piece, square)]


def logits_and_logs(model, x):
    logits = model(x)
    log = jax.nn.log_softmax
    return log(logits), jnp.log(jnp.sum(jnp.exp(logits)))  # lookalike: SL101
