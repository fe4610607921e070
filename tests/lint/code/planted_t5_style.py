"""Trainer and metrics manager in separate classes; a summary dict that travels; host callbacks."""

from __future__ import annotations

import abc
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from clu import metric_writers
from jax.experimental import multihost_utils

Metrics = Mapping[str, Any]


class MetricsManager:
    """Buffers what the trainer gives it, and writes it on host 0."""

    def __init__(self, name: str, summary_dir: str | None):
        self._name = name
        self._writer: metric_writers.MetricWriter | None = None
        if summary_dir is not None and jax.process_index() == 0:
            self._writer = metric_writers.create_default_writer(summary_dir, collection=name)
        self._lock = threading.RLock()
        self._duration_timer_start = None

    def start_duration_timer(self):
        self._duration_timer_start = time.time()

    def write_scalar(self, key, val, step):
        with self._lock:
            if self._writer:
                self._writer.write_scalars(int(step), {key: val})  # expect: SL101

    def write_metrics_summary(self, metrics: Metrics, step: int, num_steps: int):
        fetched = jax.device_get(metrics)
        summary = {}
        for name, metric in fetched.items():
            summary[name] = metric.compute_value() / num_steps
        summary["timing/seconds_per_step"] = (time.time() - self._duration_timer_start) / num_steps  # expect: SL104
        with self._lock:
            if self._writer:
                self._writer.write_scalars(step, summary)  # expect: SL101
        return summary


class BaseTrainer(abc.ABC):
    def __init__(self, model, state, eval_names, summary_dir, checkpointer):
        self._model, self.state, self._checkpointer = model, state, checkpointer
        self.train_metrics_manager = MetricsManager("train", summary_dir)
        self.eval_metrics_managers = {name: MetricsManager(name, summary_dir) for name in eval_names}
        self._compiled_train_step: Callable | None = None

    def train(self, batch_iter: Iterator, num_steps: int):
        losses = []
        self.train_metrics_manager.start_duration_timer()
        for _ in range(num_steps):
            batch = next(batch_iter)
            self.state, metrics = self._compiled_train_step(self.state, batch)
            losses.append(metrics["loss"].item())  # expect: SL103
        mean = np.mean(multihost_utils.process_allgather(np.asarray(losses)))  # expect: SL102
        logging.info("mean loss over hosts: %.4f", mean)
        return self.train_metrics_manager.write_metrics_summary(metrics, 0, num_steps)

    def compile_train(self, batch):
        tick = time.time()
        self._compiled_train_step = jax.jit(self._train_step).lower(self.state, batch).compile()
        tock = time.time()
        self.train_metrics_manager.write_scalar("timing/compilation_seconds", tock - tick, 0)  # expect: SL104

    def eval(self, batch_iters: Mapping[str, Iterator]) -> Mapping[str, Metrics]:
        results = {}
        for name, batches in batch_iters.items():
            total = 0.0
            for batch in batches:
                out = self._partitioned_eval_step(self.state, batch)
                total += jax.device_get(out["loss"])  # expect: SL103
            results[name] = {"loss": total}
            with contextlib.suppress(KeyError):
                self.eval_metrics_managers[name].write_scalar("loss", total, 0)
        return results

    @abc.abstractmethod
    def _train_step(self, state, batch): ...

    def _partitioned_eval_step(self, state, batch):
        return jax.jit(self._model.eval_fn)(state.params, batch)
