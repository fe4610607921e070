"""A harness with coroutines: generation over HTTP, scores over processes, mlflow as a context."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from functools import reduce, wraps

import jax
import mlflow
import numpy as np
from jax.experimental.multihost_utils import process_allgather


@asynccontextmanager
async def stopwatch(into, key):
    start = time.perf_counter_ns()
    try:
        yield
    finally:
        into[key] = (time.perf_counter_ns() - start) / 1e6  # expect: SL104


def timed(function):
    @wraps(function)
    async def inner(*args, stats=None, **kwargs):
        t_start = time.time()
        result = await function(*args, **kwargs)
        if stats is not None:
            stats.setdefault("latency_s", []).append(time.time() - t_start)  # expect: SL104
        return result

    return inner


@timed
async def complete(session, prompt):
    async with session.post("/v1/completions", json={"prompt": prompt}) as response:
        return (await response.json())["choices"][0]["text"]


async def score_all(session, problems, judge):
    stats = {}
    async with stopwatch(stats, "generate_ms"):
        texts = await asyncio.gather(*(complete(session, p.prompt, stats=stats) for p in problems))
    scores = np.array([judge(text, p) for text, p in zip(texts, problems)])
    everyone = process_allgather(scores)  # expect: SL102
    stats["accuracy"] = float(everyone.mean())
    stats["pass_any"] = (everyone > 0).any(axis=0).mean()
    return stats


def evaluate(params, suites, forward, step):
    forward = jax.jit(forward)
    with mlflow.start_run(run_name="eval"):
        for name, batches in suites.items():
            nll = 0.0
            for batch in itertools.islice(batches, 100):
                nll += float(forward(params, batch)["nll"])  # expect: SL103
            worst = reduce(max, process_allgather(np.float64(nll)))  # expect: SL102
            metrics = {"nll": nll, "nll_worst": worst}
            match name:
                case "math" | "code":
                    mlflow.log_metrics({f"{name}/{k}": v for k, v in metrics.items()}, step)  # expect: SL101
                case _:
                    [mlflow.log_metric(f"{name}/{k}", v, step) for k, v in metrics.items()]  # expect: SL101


def main(session, problems, judge, params, suites, forward):
    stats = asyncio.run(score_all(session, problems, judge))
    mlflow.log_metrics(stats)  # expect: SL101
    evaluate(params, suites, forward, step=0)
