"""Callbacks that a trainer calls: nothing here sees the loop."""

import time

import mlflow
import wandb
from mlflow import MlflowClient
from torch.utils import tensorboard
from transformers import TrainerCallback


class ThroughputCallback(TrainerCallback):
    """Tokens per second, from step to step."""

    def __init__(self, tokens_per_step: int, run: "wandb.sdk.wandb_run.Run"):
        self.tokens_per_step = tokens_per_step
        self.run = run
        self._step_began = None
        self._epoch_began = 0.0

    def on_epoch_begin(self, args, state, control, **kwargs):
        self._epoch_began = time.monotonic()

    def on_step_begin(self, args, state, control, **kwargs):
        self._step_began = time.perf_counter_ns()

    def on_step_end(self, args, state, control, **kwargs):
        seconds = (time.perf_counter_ns() - self._step_began) / 1e9  # expect: SL104
        self.run.log(  # expect: SL101
            {"throughput/tokens_per_s": self.tokens_per_step / seconds}, step=state.global_step
        )

    def on_epoch_end(self, args, state, control, logs=None, **kwargs):
        if logs is not None:
            logs["epoch_duration"] = time.monotonic() - self._epoch_began  # expect: SL104


class MlflowCallback(TrainerCallback):
    def __init__(self, experiment: str):
        self.client = MlflowClient()
        self.run_id = self.client.create_run(experiment).info.run_id

    def on_train_begin(self, args, state, control, **kwargs):
        mlflow.log_params(vars(args))

    def on_log(self, args, state, control, logs=None, **kwargs):
        for name, value in (logs or {}).items():
            self.client.log_metric(self.run_id, name, value, step=state.global_step)  # expect: SL101

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        mlflow.log_metric("eval_loss", metrics["eval_loss"], step=state.global_step)  # expect: SL101


class HistogramCallback:
    def __init__(self, writer: tensorboard.SummaryWriter | None = None):
        self.writer = writer

    def after_update(self, trainer):
        if self.writer is None:
            return
        for name, parameter in trainer.model.named_parameters():
            self.writer.add_histogram(f"weights/{name}", parameter.detach().cpu(), trainer.step)  # expect: SL101
        self.writer.add_text("sample", trainer.last_sample, trainer.step)  # expect: SL101


class EvalCallback:
    """Logs through whatever run is active."""

    def __call__(self, step: int, scores: dict[str, float]) -> None:
        if wandb.run is not None:
            wandb.run.log({f"eval/{name}": score for name, score in scores.items()}, step=step)  # expect: SL101
