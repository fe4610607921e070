"""SL101: trackers that are called directly."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator

from sightline.lint import advice, words
from sightline.lint.findings import SINK_CALL, Finding
from sightline.lint.frames import Called
from sightline.lint.source import Source
from sightline.lint.syntax import last_name
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
    r"|accelerate(?:\.accelerator)?\.Accelerator\(\)(?:\.get_tracker\(\))?\.log"
    r"|(?:lightning|pytorch_lightning|lightning_fabric)(?:\.\w+)*\.\w+Logger\(\)\.log_metrics"
    r"|(?:verl(?:\.\w+)*|(?:\w+\.)+utils\.tracking)\.Tracking\(\)\.log"
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


_OF_ONE_KEY = words.named("log_metric scalar histogram text image audio")
_NO_METRICS = words.named("step global_step epoch tag name key commit run_id walltime log_kwargs backend")
_TRACKERS = {
    "wandb": "W&B",
    "swanlab": "SwanLab",
    "trackio": "trackio",
    "mlflow": "MLflow",
    "accelerate": "Accelerate's trackers",
    "lightning": "a logger of Lightning",
    "pytorch_lightning": "a logger of Lightning",
    "lightning_fabric": "a logger of Lightning",
}


@functools.cache
def is_sink(path: str) -> bool:
    """Whether a function hands metrics to a tracker.

    Example:
        >>> is_sink("wandb.init().log"), is_sink("wandb.init"), is_sink("numpy.log")
        (True, False, False)
    """
    return _SINKS.fullmatch(path) is not None


def guessed(node: ast.expr, attr: str, value: Value) -> str | None:
    """The method that an attribute of ``node`` is taken for, if nothing says what ``node`` is.

    A parameter, or what a function of another file gives: ``wandb = maybe_init_wandb(cfg)``.
    """
    name = last_name(node).lstrip("_")
    if attr == "log" and name == "accelerator":
        path = "accelerate.Accelerator().log"
    elif attr == "log" and name == "experiment" and isinstance(node, ast.Attribute):
        if not words.is_logger(last_name(node.value)):
            return None
        path = "wandb.run.log"
    elif name in _GUESSES:
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
    if method == "log_batch":
        given = node.args[1:2] or [each.value for each in node.keywords if each.arg in ("metrics", None)]
        yield from (each for each in given if not isinstance(each, (ast.List, ast.Tuple)) or each.elts)
        return
    at = 0
    if _has_key(method):
        at = 2 if "MlflowClient" in path else 1
    elif method.startswith("write_"):
        at = 1
    if at < len(node.args):
        yield node.args[at]
    for keyword in node.keywords:
        if keyword.arg not in _NO_METRICS:
            yield keyword.value


def _has_key(method: str) -> bool:
    """Whether a method takes a key and its value, and no dict: TensorBoard's, MLflow's ``log_metric``."""
    return method.startswith("add_") or method in _OF_ONE_KEY


def findings(source: Source, called: Iterable[Called]) -> Iterator[Finding]:
    """The calls of sinks, and the recording calls to write instead."""
    for each in called:
        path = next(filter(is_sink, sorted(each.paths)), None)
        is_batch = path is not None and path.endswith(".log_batch")  # of metrics, or of tags and parameters
        if path is not None and (not is_batch or any(metric_arguments(path, each.node))):
            instead = "\n".join(
                [*_recorded(source, path, each.node), f"run.commit({_step(source, path, each.node)})"]
            )
            yield source.finding(SINK_CALL, each.node, instead, why=_why(path))


def _why(path: str) -> str:
    tracker = _TRACKERS.get(path.partition(".")[0], "TensorBoard")
    if ".Tracking()" in path:
        tracker = "the trackers of verl"
    return (
        f"What goes straight to {tracker} is of this process alone, under keys and steps of its own, and a "
        f"tracker that hangs or raises does so in the training loop."
    )


def _step(source: Source, path: str, node: ast.Call) -> str:
    method = path.rpartition(".")[2]
    for keyword in node.keywords:
        if keyword.arg in ("step", "global_step"):
            is_none = isinstance(keyword.value, ast.Constant) and keyword.value.value is None
            return "step" if is_none else source.expression(keyword.value)
    at = {"write": 0, "add": 2, "log": 1}.get(method.partition("_")[0], 2)
    if method in ("log_metric", "log_metrics", "log_batch"):
        at = {"log_metric": 2, "log_metrics": 1}.get(method, 9) + ("MlflowClient" in path)
        at += "MlflowClient" in path and method == "log_metric"  # a timestamp stands before it
    if at < len(node.args) and not isinstance(node.args[at], ast.Starred):
        return source.expression(node.args[at])
    return "step"


def _recorded(source: Source, path: str, node: ast.Call) -> Iterator[str]:
    method = path.rpartition(".")[2]
    values = list(metric_arguments(path, node))
    if not values:
        yield "sl.scalar(…)"
        return
    value = values[0]
    at = 1 if "MlflowClient" in path else 0
    key = node.args[at] if at < len(node.args) else None
    for keyword in node.keywords:
        if keyword.arg in ("tag", "name", "key", "main_tag"):
            key = keyword.value
    if method == "log_batch":
        yield f"sl.scalar(…)  # for each of {source.expression(value)}"
    elif method == "write_texts":
        yield f"sl.text(**{source.expression(value)})"
    elif method.startswith("write_") and method != "write_scalars":
        yield (
            f"sl.histogram(…)  # for each of {source.expression(value)}"
            if "hist" in method
            else advice.NO_MEDIA
        )
    elif _has_key(method):
        yield _one(source, method, key, value)
    elif isinstance(value, ast.Dict):
        for name, each in zip(value.keys, value.values, strict=True):
            yield advice.entry(source, name, each)
    elif isinstance(value, ast.Call) and last_name(value.func) == "dict" and not value.args:
        for keyword in value.keywords:
            named = None if keyword.arg is None else ast.Constant(keyword.arg)
            yield advice.entry(source, named, keyword.value)
    else:
        yield f"sl.scalar(**{source.expression(value)})"


def _one(source: Source, method: str, key: ast.expr | None, value: ast.expr) -> str:
    if key is None or method in ("add_scalars",):
        return f"sl.scalar(**{source.expression(value)})"
    if method == "add_histogram_raw":
        return f"sl.histogram({_quoted(source, key)}, …)  # the values themselves"
    if "histogram" in method:
        return f"sl.histogram({_quoted(source, key)}, {advice.value_text(source, value)})"
    if "text" in method:
        return f"sl.text({_quoted(source, key)}, {source.expression(value)})"
    if "scalar" in method or method == "log_metric":
        return advice.entry(source, key, value)
    return advice.NO_MEDIA


def _quoted(source: Source, key: ast.expr) -> str:
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        return f'"{key.value}"'
    return source.expression(key)
