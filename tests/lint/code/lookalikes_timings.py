"""Clocks that are no metrics: deadlines, back-off, ages, progress that is printed, benchmarks."""

import logging
import random
import time
from datetime import datetime, timedelta

import numpy as np

logger = logging.getLogger(__name__)


def wait_for(path, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not path.exists():
        remaining = deadline - time.monotonic()  # lookalike: SL104
        if remaining <= 0:
            raise TimeoutError(f"{path} did not come in {timeout} s")
        time.sleep(min(0.1, remaining))


def with_backoff(call, attempts=5):
    start = time.time()
    for attempt in range(attempts):
        try:
            return call()
        except ConnectionError:
            if time.time() - start > 60:  # lookalike: SL104
                raise
            time.sleep(2**attempt + random.random())
    return None


class RateLimiter:
    def __init__(self, per_second):
        self.interval = 1.0 / per_second
        self.last = {}

    def acquire(self, key):
        now = time.monotonic()
        since = now - self.last.get(key, 0.0)  # lookalike: SL104
        if since < self.interval:
            time.sleep(self.interval - since)
        self.last[key] = time.monotonic()  # lookalike: SL104


class Cache:
    def __init__(self, ttl):
        self.ttl, self.entries = ttl, {}

    def get(self, key):
        value, stored = self.entries.get(key, (None, 0.0))
        return value if time.time() - stored < self.ttl else None  # lookalike: SL104

    def put(self, key, value):
        self.entries[key] = value, time.time()  # lookalike: SL104


def load_dataset(path):
    begin = time.perf_counter()
    data = np.load(path)
    print(f"loaded {len(data)} rows in {time.perf_counter() - begin:.1f} s")  # lookalike: SL104
    return data


def compile_step(step, example):
    t0 = time.time()
    compiled = step.lower(example).compile()
    logger.info("compiled in %.1f s", time.time() - t0)  # lookalike: SL104
    return compiled


def train(loader, step_fn, save, every_seconds=600.0):
    last_save = time.time()
    for step, batch in enumerate(loader):
        step_fn(batch)
        if time.time() - last_save > every_seconds:  # lookalike: SL104
            save(step)
            last_save = time.time()


def event(name, payload):
    return {"name": name, "time": time.time(), "payload": payload}  # lookalike: SL104


def run_name(prefix):
    return {"name": f"{prefix}-{time.strftime('%Y%m%d')}", "created": int(time.time())}  # lookalike: SL104


def nap(metrics):
    time.sleep(0.5)  # lookalike: SL104
    metrics["slept"] = 0.5
    return metrics


def is_stale(heartbeats, worker, limit):
    age = datetime.now() - heartbeats[worker]  # lookalike: SL104
    return age > timedelta(seconds=limit)


def benchmark_tokenizer(tokenize, texts):
    results = {}
    for name, lines in texts.items():
        t0 = time.perf_counter()
        for line in lines:
            tokenize(line)
        results[name] = len(lines) / (time.perf_counter() - t0)  # lookalike: SL104
    return results


class Animation:
    def __init__(self):
        self.began = time.monotonic()

    def angle(self):
        elapsed = time.monotonic() - self.began  # lookalike: SL104
        return (elapsed * 90.0) % 360.0


def seeded(seed=None):
    return np.random.default_rng(seed if seed is not None else time.time_ns() - 1_600_000_000)  # lookalike: SL104


def temperature_drop(readings):
    metrics = {"temperature/drop": readings["start"] - readings["end"]}  # lookalike: SL104
    return metrics
