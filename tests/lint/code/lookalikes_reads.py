"""Floats and reads that wait for nothing, or must."""

import argparse
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .model import eval_step, sample_step, train_step


def configure(cfg, argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=str, default="3e-4")
    args = parser.parse_args(argv)
    schedules = []
    for peak in (float(args.lr), float(cfg.lr), float("3e-4")):  # lookalike: SL103
        schedules.append(optax.constant_schedule(float(peak)))  # lookalike: SL103
    return schedules


def parse(lines):
    rows = []
    for line in lines:
        name, value = line.split("=")
        rows.append({"name": name, "loss": float(value)})  # lookalike: SL103
    return rows


def host_statistics(batches):
    out = []
    for batch in batches:
        lengths = np.array([len(row) for row in batch])
        out.append({"mean": lengths.mean().item(), "std": float(np.std(lengths))})  # lookalike: SL103
        out.append(np.asarray(batch).max().item())  # lookalike: SL103
    return out


def train(state, loader, cfg):
    metrics = None
    for step, batch in enumerate(loader):
        scale = float(np.sqrt(batch["tokens"].shape[0]))  # lookalike: SL103
        state, metrics = train_step(state, batch, scale)
        shapes = float(metrics["loss"].size)  # lookalike: SL103
        assert shapes == 1.0
    final = jax.device_get(metrics)  # lookalike: SL103
    return state, float(final["loss"])  # lookalike: SL103


def evaluate(params, batches):
    total, count = jnp.zeros(()), 0
    for batch in batches:
        total += eval_step(params, batch)["loss"]
        count += 1
    return float(total) / count  # lookalike: SL103


def train_until(state, loader, target):
    for batch in loader:
        state, loss = train_step(state, batch)
        if float(loss) < target:  # lookalike: SL103
            break
        if not np.isfinite(np.asarray(loss)):  # lookalike: SL103
            raise FloatingPointError("loss is not finite")
    return state


@jax.jit
def newton(x):
    return x - (x**2 - 2.0) / (2.0 * x), jnp.abs(x**2 - 2.0)


def solve(x, tolerance):
    while True:
        x, error = newton(x)
        if error.item() < tolerance:  # lookalike: SL103
            return x


def generate(params, prompts, tokenizer, reward_fn, key):
    rewards = []
    for step, prompt in enumerate(prompts):
        tokens = np.asarray(sample_step(params, prompt, jax.random.fold_in(key, step)))  # lookalike: SL103
        texts = tokenizer.batch_decode(tokens)
        rewards.append(reward_fn(texts))
    return {"reward": float(np.mean(rewards))}  # lookalike: SL103


def rollout(policy, env, steps):
    observation, total = env.reset(), 0.0
    for _ in range(steps):
        observation, reward, done, _ = env.step(policy(observation))
        total += float(reward)  # lookalike: SL103
        if done:
            observation = env.reset()
    return total


def checkpointed(state, loader, manager, every):
    for step, batch in enumerate(loader):
        state, _ = train_step(state, batch)
        if step % every == 0:
            jax.block_until_ready(state)  # lookalike: SL103
            manager.save(step, jax.device_get(state.params))  # lookalike: SL103
    jax.block_until_ready(state)  # lookalike: SL103
    return state


def profiled(state, loader):
    for step, batch in enumerate(loader):
        if step == 10:
            jax.profiler.start_trace("traces")
        state, loss = train_step(state, batch)
        if step == 15:
            loss.block_until_ready()  # lookalike: SL103
            jax.profiler.stop_trace()
    return state


def measure_dispatch(f, x, repeats=100):
    compiled = jax.jit(f)
    compiled(x).block_until_ready()  # lookalike: SL103
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(x))  # lookalike: SL103
        seconds.append(time.perf_counter() - begin)  # lookalike: SL104
    return sorted(seconds)[len(seconds) // 2]


@jax.jit
def cast(tree):
    scale = float(2**8)  # lookalike: SL103
    return jax.tree.map(lambda x: jnp.float32(x) / scale, tree)


def load(paths):
    for path in paths:
        with open(path) as file:
            record = json.load(file)
        yield {"loss": float(record["loss"]), "step": int(record["step"])}  # lookalike: SL103


def update_config(config, overrides):
    for name, value in overrides.items():
        config.update({name: float(value) if "." in value else int(value)})  # lookalike: SL103
    return config


def gumbel(key, logits, temperature):
    samples = []
    for subkey in jax.random.split(key, 4):
        samples.append(jax.random.gumbel(subkey, logits.shape) + logits / float(temperature))  # lookalike: SL103
    return samples
