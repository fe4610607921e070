"""A pre-training loop in the manner of MaxText: AOT-compiled step, buffered metrics, clu and tf.summary."""

import datetime

import jax
import numpy as np
import tensorflow as tf
from clu import metric_writers
from tensorboardX import writer as tbx

from .input_pipeline import create_data_iterator
from .train_utils import setup_train_state


class MetricLogger:
    def __init__(self, config):
        self.config = config
        self.buffered = None
        self.writer = tbx.SummaryWriter(config.tensorboard_dir) if jax.process_index() == 0 else None

    def record(self, metrics, step, step_time_delta):
        metrics["scalar"].update({"perf/step_time_seconds": step_time_delta.total_seconds()})
        metrics["scalar"].update(
            {"perf/per_device_tokens_per_sec": self.config.tokens / step_time_delta.total_seconds()}
        )
        if self.buffered is not None:
            self.write(*self.buffered)
        self.buffered = metrics, step

    def write(self, metrics, step):
        if self.writer is None:
            return
        for name, value in metrics["scalar"].items():
            self.writer.add_scalar(name, np.array(value), step)  # expect: SL101, SL103
        for name, values in metrics["scalars"].items():
            self.writer.add_scalars(name, values, step)  # expect: SL101


def train_loop(config):
    state, mesh, step_fn, shardings = setup_train_state(config)
    p_train_step = jax.jit(step_fn, in_shardings=shardings, donate_argnums=(0,)).lower(config.shapes).compile()
    logger = MetricLogger(config)
    clu_writer = metric_writers.create_default_writer(config.workdir)
    tf_writer = tf.summary.create_file_writer(config.workdir)
    data_iterator = create_data_iterator(config, mesh)

    last_step_completion = datetime.datetime.now()
    for step in range(config.steps):
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            batch = next(data_iterator)
            state, metrics = p_train_step(state, batch)
        step_time_delta = datetime.datetime.now() - last_step_completion  # expect: SL104
        last_step_completion = datetime.datetime.now()
        logger.record(metrics, step, step_time_delta)

        if step % config.log_period == 0:
            scalars = jax.tree.map(float, metrics["scalar"])  # expect: SL103
            clu_writer.write_scalars(step, scalars)  # expect: SL101
            with tf_writer.as_default():
                tf.summary.scalar("learning/loss", scalars["learning/loss"], step=step)  # expect: SL101
        if step % config.checkpoint_period == 0:
            jax.block_until_ready(state)
            config.checkpoint_manager.save(step, state)
    return state
