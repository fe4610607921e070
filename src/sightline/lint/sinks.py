"""SL101: trackers that are called directly."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.lint import words
from sightline.lint.values import Value

_TENSORBOARD = (
    "add_scalar add_scalars add_histogram add_histogram_raw add_text add_image add_images add_figure "
    "add_video add_audio add_mesh add_pr_curve add_embedding"
)
_FLAX_TENSORBOARD = "scalar histogram text image audio"
_WRITER_METHODS = frozenset(_TENSORBOARD.split())
_SINKS = re.compile(
    r"wandb(?:\.run|\.init\(\)|(?:\.\w+)*\.Run\(\))?\.log"
    r"|swanlab(?:\.run|\.init\(\)|\.get_run\(\)|(?:\.\w+)*\.(?:SwanLabRun|Run)\(\))?\.log"
    r"|trackio(?:\.run|\.init\(\)|(?:\.\w+)*\.Run\(\))?\.log"
    r"|mlflow(?:\.\w+)*\.log_metrics?"
    r"|mlflow(?:\.\w+)*\.MlflowClient\(\)\.(?:log_metric|log_batch)"
    r"|(?:torch\.utils\.tensorboard|tensorboardX)(?:\.\w+)*\.(?:Global)?SummaryWriter\(\)\."
    rf"(?:{'|'.join(_TENSORBOARD.split())})"
    rf"|flax\.metrics\.tensorboard\.SummaryWriter\(\)\.(?:{'|'.join(_FLAX_TENSORBOARD.split())})"
    r"|clu\.metric_writers(?:\.\w+)*\(\)\.write_(?:scalars|histograms|texts|images|audios|videos)"
    r"|tensorflow(?:\.compat\.v2)?\.summary\.(?:scalar|histogram|text|image)"
)

#: What a variable or an attribute of this name is taken for, if nothing else is known of it.
_GUESSES = {
    "wandb": "wandb",
    "wandb_run": "wandb.run",
    "wb_run": "wandb.run",
    "swanlab": "swanlab",
    "swanlab_run": "swanlab.run",
    "trackio": "trackio",
    "mlflow": "mlflow",
    "mlflow_client": "mlflow.MlflowClient()",
}


def is_sink(path: str) -> bool:
    """Whether a function hands metrics to a tracker.

    Example:
        >>> is_sink("wandb.init().log"), is_sink("wandb.init"), is_sink("numpy.log")
        (True, False, False)
    """
    return _SINKS.fullmatch(path) is not None


def guessed(name: str, attr: str, value: Value) -> str | None:
    """The method that ``name.attr`` is taken for, if nothing says what ``name`` is.

    A parameter, or what a function of another file gives: ``wandb = maybe_init_wandb(cfg)``.
    """
    name = name.lstrip("_")
    if name in _GUESSES:
        path = f"{_GUESSES[name]}.{attr}"
    elif attr in _WRITER_METHODS and words.is_writer(name):
        path = f"torch.utils.tensorboard.SummaryWriter().{attr}"
    else:
        return None
    return path if _may_be_anything(value) else None


def _may_be_anything(value: Value) -> bool:
    if value.functions or value.classes or value.instances or value.constant or value.items is not None:
        return False
    return all(
        path.endswith("()") and not path.startswith("sightline.") and not words.is_stand_in(path)
        for path in value.paths
    )


def metric_arguments(path: str, node: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a sink's call that are metrics: neither keys nor steps."""
    method = path.rpartition(".")[2]
    at = 0
    if method.startswith("add_") or method in ("log_metric", "scalar", "histogram", "text", "image", "audio"):
        at = 2 if "MlflowClient" in path else 1
    elif method.startswith("write_"):
        at = 1
    steps = ("step", "global_step", "epoch", "tag", "name", "key", "commit", "run_id", "walltime")
    if at < len(node.args):
        yield node.args[at]
    for keyword in node.keywords:
        if keyword.arg not in steps:
            yield keyword.value
