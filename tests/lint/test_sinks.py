"""SL101: calls of trackers, whatever they are called by."""

import pytest

from tests.lint.marked import assert_as_marked, instead


@pytest.mark.parametrize(
    "code",
    [
        """
        import wandb as wb
        wb.log({"train/loss": loss}, step=step)  # expect: SL101
        """,
        """
        from wandb import log as send
        send({"train/loss": loss})  # expect: SL101
        """,
        """
        import wandb
        report = wandb.log
        report({"train/loss": loss})  # expect: SL101
        """,
        """
        import functools, wandb
        report = functools.partial(wandb.log, commit=False)
        report({"train/loss": loss})  # expect: SL101
        getattr(wandb, "log")({"train/loss": loss})  # expect: SL101
        """,
        """
        import importlib
        tracker = importlib.import_module("wandb")
        tracker.log({"train/loss": loss})  # expect: SL101
        """,
        """
        from wandb import *
        init(project="p")
        log({"train/loss": loss})  # expect: SL101
        """,
        """
        try:
            import wandb
        except ImportError:
            wandb = None
        if wandb is not None:
            wandb.log({"train/loss": loss})  # expect: SL101
        """,
        """
        import wandb
        (run := wandb.init(project="p")).log({"a": 1})  # expect: SL101
        run.log({"a": 2})  # expect: SL101
        wandb.init().log({"a": 3})  # expect: SL101
        wandb.run.log({"a": 4})  # expect: SL101
        """,
        """
        import wandb
        with wandb.init(project="p") as run:
            [run.log({"loss": each}) for each in losses]  # expect: SL101
            later = lambda: run.log({"done": 1})  # expect: SL101
        """,
        """
        import wandb
        def start(cfg):
            return wandb.init(project=cfg.project) if cfg.wandb else None
        def main(cfg):
            run = start(cfg)
            async def report(loss):
                if run:
                    run.log({"loss": await loss})  # expect: SL101
            return report
        """,
        """
        import wandb
        run = None
        def setup():
            global run
            run = wandb.init(project="p")
        def report(loss):
            run.log({"loss": loss})  # expect: SL101
        """,
        """
        from __future__ import annotations
        from typing import Optional
        import wandb
        def report(run: wandb.Run, other: Optional[wandb.sdk.wandb_run.Run], third: "wandb.Run | None"):
            run.log({})  # expect: SL101
            other.log({})  # expect: SL101
            third.log({})  # expect: SL101
        """,
        """
        import wandb
        from dataclasses import dataclass
        @dataclass
        class Logger:
            run: wandb.Run
            def write(self, metrics):
                self.run.log(metrics)  # expect: SL101
        class Other:
            def report(self):
                self._run.log({})  # expect: SL101
            def start(self):
                self._run = wandb.init()
        class Child(Other):
            def again(self):
                self._run.log({})  # expect: SL101
        """,
        """
        import wandb
        def report(run, metrics):
            match run:
                case wandb.Run():
                    run.log(metrics)  # expect: SL101
                case wandb.Run() as other if metrics:
                    other.log(metrics)  # expect: SL101
                case _:
                    run.log(metrics)
        """,
        """
        from torch.utils.tensorboard import SummaryWriter as SW
        writers = {"train": SW("a"), "eval": SW("b")}
        writers["train"].add_scalar("loss", 1.0, 3)  # expect: SL101
        for writer in writers.values():
            writer.add_histogram("w", w, 3)  # expect: SL101
        class Quiet(SW):
            pass
        Quiet("c").add_scalars("loss", {"a": 1.0}, 3)  # expect: SL101
        """,
        """
        import tensorboardX, swanlab, trackio, mlflow
        tensorboardX.SummaryWriter().add_text("sample", text)  # expect: SL101
        swanlab.init(project="p").log({"loss": 1.0})  # expect: SL101
        trackio.log({"loss": 1.0})  # expect: SL101
        mlflow.log_metric("loss", 1.0)  # expect: SL101
        mlflow.tracking.MlflowClient().log_metric(run_id, "loss", 1.0)  # expect: SL101
        """,
        """
        import wandb
        backends = []
        backends.append(wandb)
        class Tracking:
            def __init__(self):
                self.logger = {}
                self.logger["wandb"] = wandb
            def log(self, data, step):
                for name, each in self.logger.items():
                    each.log(data=data, step=step)  # expect: SL101
        for backend in backends:
            backend.log({"a": 1})  # expect: SL101
        """,
        """
        from utils import maybe_init_wandb, get_writer
        wandb = maybe_init_wandb(cfg)
        wandb.log({"loss": 1.0})  # expect: SL101
        def train(writer, wandb_run=None):
            writer.add_scalar("loss", 1.0, 1)  # expect: SL101
            wandb_run.log({"loss": 1.0})  # expect: SL101
        """,
        """
        from pytorch_lightning.loggers import WandbLogger as Logger
        Logger(project="p").experiment.log({"loss": 1.0})  # expect: SL101
        class Callback:
            def on_end(self, trainer):
                trainer.logger.experiment.log({"loss": 1.0})  # expect: SL101
        """,
        """
        from accelerate import Accelerator
        Accelerator(log_with="all").log({"loss": 1.0}, step=3)  # expect: SL101
        def train(self, accelerator):
            accelerator.log({"loss": 1.0}, step=3, log_kwargs={"wandb": {"commit": False}})  # expect: SL101
            self.accelerator.log(self.scores)  # expect: SL101
        """,
        """
        def fit(config, metrics):
            from verl.utils.tracking import Tracking
            logger = Tracking(project_name="p", experiment_name="e", default_backend=["console"])
            logger.log(data=metrics, step=3, backend=["console"])  # expect: SL101
        """,
    ],
)  # fmt: skip
def test_a_tracker_is_known_by_any_name(code: str) -> None:
    """Aliases, attributes, annotations, containers, what functions return; and by its usual names at last."""
    assert_as_marked(code)


@pytest.mark.parametrize(
    "code",
    [
        """
        import math, numpy as np, jax.numpy as jnp, torch, logging
        from math import log
        def entropy(p, self, logger):
            self.log("train/loss", 1.0)
            logger.log(logging.INFO, "text")
            return log(2) + math.log(p) + np.log(p) + jnp.log(p) + torch.log(p) + p.log()
        """,
        """
        import wandb
        class Recorder:
            def log(self, metrics): ...
        wandb = Recorder()
        wandb.log({"loss": 1.0})
        """,
        """
        import wandb
        def log(message): print(message)
        def report(wandb):
            log({"loss": 1.0})
            wandb = log
            wandb({"loss": 1.0})
        """,
        """
        import wandb
        wandb.init(project="p")
        wandb.config.update({"lr": 1e-3})
        wandb.define_metric("*", step_metric="step")
        wandb.save("model.pt")
        wandb.finish()
        """,
        """
        import mlflow
        from torch.utils.tensorboard import SummaryWriter
        with mlflow.start_run():
            mlflow.log_params({"lr": 1e-3})
            mlflow.log_artifact("config.yaml")
        writer = SummaryWriter("runs")
        writer.add_graph(model)
        writer.flush()
        writer.close()
        """,
        """
        def update(stats, add_scalar, table):
            add_scalar("loss", 1.0)
            stats.add("loss", 1.0)
            table.add_text("a cell")
            table.add_scalar("loss", 1.0)
        """,
        """
        import sightline as sl
        from my_project import wandb
        run = sl.start("runs")
        sl.scalar("train/loss", 1.0)
        run.commit(1)
        wandb.log("a module of our own")
        """,
        """
        from parcels.tracking import Tracking
        from lightning.pytorch.loggers import WandbLogger
        from lab import accelerator
        Tracking("a parcel").log("it left")
        WandbLogger(project="p").experiment.config.update({"lr": 1e-3})
        accelerator.log("a module of our own")
        class Experiment:
            def run(self):
                self.experiment.log("a note")
                self.logger.experiment.log_artifact("model.pt")
        """,
    ],
)
def test_what_is_only_called_alike_is_left_alone(code: str) -> None:
    """Logarithms, loggers, names that are bound anew, set-up calls, sightline itself."""
    assert_as_marked(code)


def test_the_call_to_write_instead_uses_the_expressions_that_are_there() -> None:
    """Keys, values and step as in the code, without what reads values from their devices."""
    assert instead(
        """
        import wandb
        wandb.log({"train/loss": float(loss), "lr": lr(it), f"eval/{name}": x.item(), **more}, step=it + 1)
        """
    ) == [
        'sl.scalar("train/loss", loss)\n'
        "sl.last(lr=lr(it))\n"
        'sl.scalar(f"eval/{name}", x)\n'
        "sl.scalar(**more)\n"
        "run.commit(it + 1)"
    ]
    assert instead("import wandb\nwandb.log(dict(loss=x.item(), **more), step=n)") == [
        "sl.scalar(loss=x)\nsl.scalar(**more)\nrun.commit(n)"
    ]
    assert instead("import wandb\nwandb.log({'loss': x}, step=None)") == [
        "sl.scalar(loss=x)\nrun.commit(step)"
    ]
    assert instead("import wandb\nwandb.log(metrics)") == ["sl.scalar(**metrics)\nrun.commit(step)"]
    assert instead("import mlflow\nmlflow.log_metric('kl', kl, 7)") == ["sl.scalar(kl=kl)\nrun.commit(7)"]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ('w.add_scalar("train/loss", loss.item(), n)', 'sl.scalar("train/loss", loss)'),
        ('w.add_scalar(tag="loss", scalar_value=loss, global_step=n)', "sl.scalar(loss=loss)"),
        ('w.add_histogram("train/length", lengths, n)', 'sl.histogram("train/length", lengths)'),
        (
            'w.add_histogram_raw("train/length", min=0, max=9, num=3, sum=4, global_step=n)',
            'sl.histogram("train/length", …)  # the values themselves',
        ),
        ('w.add_text("sample", text, n)', 'sl.text("sample", text)'),
        ('w.add_scalars("losses", {"a": 1}, n)', "sl.scalar(**{\"a\": 1})"),
    ],
)  # fmt: skip
def test_tensorboards_calls_have_their_counterparts(call: str, line: str) -> None:
    """Scalars, histograms and texts; with the step that was given."""
    found = instead(f"import tensorboardX\nw = tensorboardX.SummaryWriter()\n{call}")
    assert found == [f"{line}\nrun.commit(n)"]


def test_what_sightline_has_not_is_said_plainly() -> None:
    """Images can only stay, with an allow; the rows of a table are samples."""
    (said,) = instead(
        'import wandb\nwandb.log({"samples": wandb.Table(data=rows), "x": wandb.Image(y)}, step=3)'
    )
    assert said.splitlines() == [
        'sl.sample("samples", …)  # its columns by name: prompt=prompts, reward=rewards',
        "# sightline has no images and the like; what stays needs an allow with its reason",
        "run.commit(3)",
    ]


def test_the_keys_to_write_keep_the_conventions() -> None:
    """Where the old ones do not, and where they stand in dicts within each other."""
    (said,) = instead(
        """
        import wandb
        wandb.log({"train": {"loss": loss, "Grad Norm": g}, "Train Loss": x, "Eval/Top-5": y, k: {"a": 1}})
        """
    )
    assert said.splitlines() == [
        'sl.scalar("train/loss", loss)',
        'sl.scalar("train/grad_norm", g)',
        'sl.scalar("train/loss", x)',
        'sl.scalar("eval/top_5", y)',
        "with sl.scope(k): …  # and in it a call for each of its entries",
        "run.commit(step)",
    ]


def test_a_sink_that_others_are_to_call_is_found() -> None:
    """In a thread of a pool, or by JAX; with what it will be given."""
    code = """
        import jax, wandb
        executor.submit(wandb.log, {"train/loss": loss}, step=3)
        loop.run_in_executor(None, wandb.log, {"train/loss": loss})
        @jax.jit
        def update(x):
            jax.debug.callback(wandb.log, {"train/loss": x})
        """
    assert instead(code) == [
        'sl.scalar("train/loss", loss)\nrun.commit(3)',
        'sl.scalar("train/loss", loss)\nrun.commit(step)',
        'sl.scalar("train/loss", x)\nrun.commit(step)',
    ]
    assert instead("import wandb\nexecutor.submit(wandb.init, project='p')") == []


def test_what_other_libraries_add_to_a_trackers_call_is_left_out() -> None:
    """Settings for back ends are no metrics."""
    assert instead(
        """
        from accelerate import Accelerator
        from verl.utils.tracking import Tracking
        Accelerator().log({"train/loss": loss}, 3, {"wandb": {"commit": False}})
        Tracking("p", "e").log(data={"train/loss": loss}, step=7, backend=["wandb"])
        """
    ) == [
        'sl.scalar("train/loss", loss)\nrun.commit(3)',
        'sl.scalar("train/loss", loss)\nrun.commit(7)',
    ]


def test_a_batch_for_mlflow_without_metrics_is_none() -> None:
    """Tags and parameters set a run up."""
    client = "from mlflow import MlflowClient\nclient = MlflowClient()\n"
    assert instead(f"{client}client.log_batch(run_id, tags=tags)") == []
    assert instead(f"{client}client.log_batch(run_id=run_id, metrics=[], params=params)") == []
    (said,) = instead(f"{client}client.log_batch(run_id, metrics=found)")
    assert said == "sl.scalar(…)  # for each of found\nrun.commit(step)"
