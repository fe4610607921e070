"""What the runner trains, and no phase touches: a tiny policy that learns to add digits, by GRPO.

A prompt is two or three digits up to 4; a completion is up to 8 tokens, digits and an end. Right is the last
digit of the sum, and then the end. Rows (completions) are divided over the processes, and the random numbers
of a row do not depend on how.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

LENGTH, VOCABULARY, END = 8, 11, 10
PROMPTS, GROUP = 16, 8  # prompts of a step over all processes, and completions of each
TEST_PROMPTS = 24
LEARNING_RATE = 20.0


class Completions(NamedTuple):
    """R rows of this process."""

    prompts: np.ndarray  # (R, 3) digits, −1 after the last one
    tokens: np.ndarray  # (R, LENGTH)
    mask: np.ndarray  # (R, LENGTH) bool: up to the end, inclusive


class Batch(NamedTuple):
    """Rows of all processes, as global arrays."""

    sums: jax.Array  # (R,)
    tokens: jax.Array  # (R, T)
    mask: jax.Array  # (R, T)
    advantages: jax.Array  # (R,)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", default="runs", help="where logs lie [runs]")
    parser.add_argument("--name", default="adding", help="of the run [adding]")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--eval-every", type=int, default=4)
    parser.add_argument(
        "--wandb-mode", default="disabled", choices=["online", "offline", "disabled"], help="[disabled]"
    )
    parser.add_argument("--profile-steps", type=int, nargs="*", default=[], help="phase 6: to profile [none]")
    return parser.parse_args(arguments)


def initialize() -> None:
    """Joins the JAX job of `sightline launch`, if there is one."""
    if (processes := int(os.environ.get("JAX_NUM_PROCESSES", "1"))) > 1:
        jax.distributed.initialize(num_processes=processes, process_id=int(os.environ["JAX_PROCESS_ID"]))


def my_rows(rows: int) -> range:
    """This process's share of so many rows, which divide by the number of processes."""
    share = rows // jax.process_count()
    return range(jax.process_index() * share, (jax.process_index() + 1) * share)


def gather(values: np.ndarray) -> np.ndarray:
    """The rows of all processes, on all of them. A collective: everyone waits for everyone."""
    return np.asarray(multihost_utils.process_allgather(values)).reshape(-1, *values.shape[1:])


def longest(lengths: np.ndarray) -> int:
    """The longest of all processes' completions, rounded up: global arrays must have one shape."""
    return -(-int(np.max(multihost_utils.process_allgather(lengths.max()))) // 4) * 4


# --- rollout -----------------------------------------------------------------------------------------------


def draw_prompts(step: int) -> np.ndarray:
    """This process's prompts, each GROUP times: (R, 3)."""
    rows = my_rows(PROMPTS)
    return np.repeat(np.stack([_prompt([step, row]) for row in rows]), GROUP, axis=0)


def test_prompts() -> np.ndarray:
    """This process's share of the prompts of evaluations, (TEST_PROMPTS / processes, 3)."""
    return np.stack([_prompt([row]) for row in my_rows(TEST_PROMPTS)])


def _prompt(seed: list[int]) -> np.ndarray:
    random = np.random.default_rng(seed)
    digits = random.integers(0, 5, 3)
    digits[2:] = np.where(random.random() < 0.5, -1, digits[2:])
    return digits


def rollout(params: Any, prompts: np.ndarray, step: int) -> Completions:
    """Samples a completion for each row."""
    first = my_rows(PROMPTS)[0] * GROUP
    noise = [np.random.default_rng([7, step, first + row]).gumbel(size=(LENGTH, VOCABULARY))
             for row in range(len(prompts))]  # fmt: skip
    return _complete(params, prompts, np.stack(noise))


def texts(completions: Completions) -> dict[str, list[str]]:
    """The rows as people read them: prompts as `"1+2"`, completions as `"3."`."""
    prompts = ["+".join(str(digit) for digit in row if digit >= 0) for row in completions.prompts]
    ended = zip(completions.tokens, completions.mask, strict=True)
    answers = ["".join("0123456789."[token] for token in row[mask]) for row, mask in ended]
    return {"prompt": prompts, "completion": answers}


def evaluate(params: Any, prompts: np.ndarray) -> np.ndarray:
    """Whether the best completion of each prompt is right, float64 (rows,)."""
    completions = _complete(params, prompts, np.zeros((len(prompts), LENGTH, VOCABULARY)))
    return _correct(completions)


def _complete(params: Any, prompts: np.ndarray, noise: np.ndarray) -> Completions:
    prompt, position = (np.asarray(jax.device_get(params[name])) for name in ("prompt", "position"))
    tokens = (prompt[_sums(prompts)][:, None] + position[None] + noise).argmax(axis=2)
    ended = np.cumsum(tokens == END, axis=1) - (tokens == END)
    return Completions(prompts, tokens, ended == 0)


def _sums(prompts: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(prompts >= 0, prompts, 0).sum(axis=1))


# --- rewards -----------------------------------------------------------------------------------------------


def score(completions: Completions) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The total reward of each row, and its parts; float64 (R,)."""
    well_formed = completions.mask.sum(axis=1) == 2  # a digit and the end
    parts = {"correct": _correct(completions), "format": np.asarray(well_formed, np.float64)}
    return parts["correct"] + 0.5 * parts["format"], parts


def _correct(completions: Completions) -> np.ndarray:
    right = completions.tokens[:, 0] == _sums(completions.prompts) % 10
    return np.asarray(right, np.float64)


def group_advantages(rewards: np.ndarray) -> np.ndarray:
    """Rewards against their group's mean, by its standard deviation; float64 (R,)."""
    groups = rewards.reshape(-1, GROUP)
    deviations = groups - groups.mean(axis=1, keepdims=True)
    return np.asarray(deviations / (groups.std(axis=1, keepdims=True) + 1e-6)).ravel()


# --- update ------------------------------------------------------------------------------------------------


def make_mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), ("data",))


def initial_params(mesh: Mesh) -> Any:
    params = {"prompt": np.zeros((13, VOCABULARY)), "position": np.zeros((LENGTH, VOCABULARY))}
    return jax.tree.map(lambda x: _global(mesh, P(), x), params)


def shard(mesh: Mesh, completions: Completions, advantages: np.ndarray, length: int) -> Batch:
    """This process's rows into global arrays."""
    rows = _sums(completions.prompts), completions.tokens[:, :length], completions.mask[:, :length]
    return Batch(*(_global(mesh, P("data"), x) for x in (*rows, advantages)))


def _global(mesh: Mesh, spec: P, values: np.ndarray) -> jax.Array:
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    array: jax.Array = jax.make_array_from_process_local_data(NamedSharding(mesh, spec), values)
    return array


@jax.jit
def update(params: Any, batch: Batch) -> tuple[Any, dict[str, jax.Array]]:
    """One step of gradient descent; the parameters, and loss and entropy over all processes' tokens."""
    (loss, entropy), gradients = jax.value_and_grad(_loss, has_aux=True)(params, batch)
    params = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradients)
    return params, {"loss": loss, "entropy": entropy}


def _loss(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
    logits = params["prompt"][batch.sums][:, None] + params["position"][None, : batch.tokens.shape[1]]
    logprobs = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(logprobs, batch.tokens[..., None], axis=2)[..., 0]
    tokens = batch.mask.sum()
    entropy = -(jnp.exp(logprobs) * logprobs).sum(axis=2)
    loss = -(chosen * batch.advantages[:, None] * batch.mask).sum() / tokens
    return loss, (entropy * batch.mask).sum() / tokens
